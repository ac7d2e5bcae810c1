"""The page in a real Chromium: the actions of users, from the first look on.

Needs gradio, playwright and a Chromium; `.ci/run` installs them. CHROMIUM names the
browser, else it is looked for on the PATH.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image

from ltx_jax.data import video
from sample import settings
from sample.options import Options

pytest.importorskip("gradio")
sync_api = pytest.importorskip("playwright.sync_api")

PROMPT = "a large red circle moving right on a navy background"
QUIET = (
  "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
  "--disable-background-networking --disable-component-update"
).split()
PATIENCE = 150_000  # Milliseconds; the first video is compiled.


def free_port():
  with contextlib.closing(socket.socket()) as listener:
    listener.bind(("127.0.0.1", 0))
    return listener.getsockname()[1]


@contextlib.contextmanager
def served(folder, *options):
  """Returns the page's address; it is served by a process of its own."""
  port = free_port()
  command = [sys.executable, "-m", "sample.app", "--port", str(port)]
  command += ["--folder", str(folder), *options]
  environment = os.environ | {"HF_HUB_OFFLINE": "1"}
  with open(folder / "log.txt", "w") as log:
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
  address, deadline = f"http://127.0.0.1:{port}/", time.monotonic() + 180
  try:
    while True:
      with contextlib.suppress(OSError), urllib.request.urlopen(address):
        break
      assert server.poll() is None and time.monotonic() < deadline, (
        folder / "log.txt"
      ).read_text()
      time.sleep(0.3)
    yield address
  finally:
    server.terminate()
    server.wait(20)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
  with served(tmp_path_factory.mktemp("served")) as address:
    yield address


@pytest.fixture(scope="module")
def browser():
  path = os.environ.get("CHROMIUM") or shutil.which("chromium")
  if path is None:
    pytest.skip("There is no Chromium; CHROMIUM may name one.")
  with sync_api.sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=path, args=QUIET)
    yield browser
    browser.close()


@pytest.fixture
def page(browser, address):
  """Returns a page that fails on errors, and on any request to another server."""
  page = browser.new_page(viewport={"width": 1280, "height": 1000})
  page.set_default_timeout(PATIENCE)
  wrong = []
  own = (address, "data:", "blob:")
  page.on("request", lambda r: None if r.url.startswith(own) else wrong.append(r.url))
  page.on("pageerror", lambda error: wrong.append(str(error)))
  page.goto(address)
  page.wait_for_selector("#prompt textarea")
  yield page
  page.close()
  assert wrong == []


def status(page, pattern):
  """Waits until the status says it."""
  expected = sync_api.expect(page.locator("#status"))
  expected.to_have_text(re.compile(pattern), timeout=PATIENCE)


def test_a_prompt_becomes_a_preview_and_a_video_that_plays(page):
  about = page.locator("#about")
  sync_api.expect(about).to_contain_text("128x128 pixels, 25 frames")
  page.fill("#prompt textarea", PROMPT)
  page.click("#generate")
  page.wait_for_selector("#preview img")
  status(page, "Done:")
  page.wait_for_selector("#video video")
  page.wait_for_function("document.querySelector('#video video').readyState == 4")
  duration, color = page.evaluate(
    """async () => {
      const video = document.querySelector('#video video');
      video.pause();
      const seeked = new Promise(done => video.onseeked = done);
      video.currentTime = 0.5;
      await seeked;
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
      const context = canvas.getContext('2d');
      context.drawImage(video, 0, 0);
      const middle = context.getImageData(64, 64, 1, 1).data;
      return [video.duration, [...middle.slice(0, 3)]];
    }"""
  )
  assert abs(duration - 25 / 24) < 0.1
  red, green, blue = color
  assert red > 150 and green < 100 and blue < 100
  sync_api.expect(about).to_contain_text("it starts at once")
  assert page.locator("#gallery video, #gallery img, #gallery button").count() > 0
  page.locator("text=Make it again from a shell or from Python").click()
  command = page.locator("#command textarea").input_value()
  assert command.startswith("python -m sample.generate") and PROMPT in command


def test_a_video_that_is_cancelled_ends_and_the_next_one_is_made(page):
  page.fill("#prompt textarea", PROMPT)
  page.locator("text=Model and sampling").click()
  steps = page.get_by_label("number input for Steps (0: the model's own)")
  steps.fill("100")
  steps.blur()
  page.click("#generate")
  status(page, "step")
  page.click("#cancel")
  status(page, "Cancelled")
  steps.fill("3")
  steps.blur()
  page.click("#generate")
  status(page, "Done:")
  seed = page.locator("#seed input")
  assert seed.input_value() == "0"
  page.click("#again")
  sync_api.expect(seed).not_to_have_value("0", timeout=PATIENCE)
  status(page, "Done:")


def test_an_uploaded_image_is_the_first_frame(page, tmp_path):
  Image.fromarray(np.full((128, 128, 3), (200, 60, 60), np.uint8)).save(
    tmp_path / "red.png"
  )
  page.fill("#prompt textarea", PROMPT)
  page.locator("text=Image to video").click()
  page.locator("#image input[type=file]").set_input_files(tmp_path / "red.png")
  sync_api.expect(page.locator("#image")).to_contain_text("red", timeout=PATIENCE)
  page.click("#generate")
  status(page, "Done:")


def test_settings_of_a_video_fill_the_fields(page, tmp_path):
  options = Options(prompts=(PROMPT,), seed=(7,), frames=9, negative="a star")
  black = np.zeros((2, 16, 16, 3), np.uint8)
  video.write(tmp_path / "a.mp4", black, 8.0, comment=settings.as_json(options))
  page.locator("text=Settings of a video").click()
  page.locator("#settings input[type=file]").set_input_files(tmp_path / "a.mp4")
  status(page, "The settings of that video are in the fields now.")
  assert page.locator("#prompt textarea").input_value() == PROMPT
  assert page.locator("#seed input").input_value() == "7"
  sync_api.expect(page.locator("#about")).to_contain_text("9 frames")
  video.write(tmp_path / "b.mp4", black, 8.0)
  page.locator("#settings button[aria-label*=emove], #settings button").first.click()
  page.locator("#settings input[type=file]").set_input_files(tmp_path / "b.mp4")
  status(page, "b.mp4 carries no settings")


def test_mistakes_are_answered_in_a_sentence_without_a_folder(page, tmp_path):
  page.click("#generate")
  status(page, "There is no prompt; write what the video is to show.")
  (tmp_path / "page.png").write_text("<html>no image</html>")
  page.fill("#prompt textarea", PROMPT)
  page.locator("text=Image to video").click()
  page.locator("#image input[type=file]").set_input_files(tmp_path / "page.png")
  sync_api.expect(page.locator("#image")).to_contain_text("page", timeout=PATIENCE)
  page.click("#generate")
  status(page, "page.png cannot be read")
  assert page.locator("#status [role=alert]").count() == 1
  text = page.inner_text("#status")
  assert "Traceback" not in text and "/tmp" not in text


def test_the_page_fits_a_phone_and_the_keyboard(browser, address):
  page = browser.new_page(viewport={"width": 390, "height": 800})
  page.goto(address)
  page.wait_for_selector("#prompt textarea")
  width = page.evaluate("document.documentElement.scrollWidth")
  assert width <= 390
  page.keyboard.type(PROMPT)  # The prompt has the focus.
  assert page.locator("#prompt textarea").input_value() == PROMPT
  page.keyboard.press("Tab")
  focused = page.evaluate("document.activeElement.id")
  assert focused == "generate"
  unnamed = page.evaluate(
    """[...document.querySelectorAll('input, textarea, button')].filter(e =>
      e.offsetParent && !(e.labels && e.labels.length) && !e.innerText.trim()
      && !e.ariaLabel && !e.title).length"""
  )
  assert unnamed == 0
  page.close()


def test_a_page_for_others_asks_for_the_password(browser, tmp_path):
  with served(tmp_path, "--password", "secret") as address:
    page = browser.new_page()
    page.goto(address)
    page.wait_for_selector("input[type=password]")
    assert page.locator("#prompt").count() == 0
    page.close()


def test_files_of_the_machine_are_not_served(address):
  for path in ("/etc/passwd", __file__, "../../../../etc/passwd"):
    for route in ("gradio_api/file=", "file="):
      with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{address}{route}{path}")
      with refused.value as answer:  # An error is an open connection, too.
        assert answer.code in (403, 404)
