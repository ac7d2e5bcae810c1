"""A study's page in a real Chromium: a whole session, cuts of the network, two tabs.

Needs playwright and a Chromium; `.ci/run` installs them. CHROMIUM names the browser,
else it is looked for on the PATH.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from ltx_jax.data import video
from ltx_jax.moving_shapes import world
from train.evaluate.study import design, ledger, making

sync_api = pytest.importorskip("playwright.sync_api")

QUIET = (
  "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
  "--disable-background-networking --disable-component-update"
).split()
PATIENCE = 60_000  # Milliseconds.
NAMES = "secret-alpha", "secret-beta"
ITEMS = 4


@pytest.fixture(scope="module")
def browser():
  path = os.environ.get("CHROMIUM") or shutil.which("chromium")
  if path is None:
    pytest.skip("There is no Chromium; CHROMIUM may name one.")
  with sync_api.sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=path, args=QUIET)
    yield browser
    browser.close()


class Study:
  """A study that is served, and the links of its raters."""

  def __init__(self, folder):
    self.folder = folder / "study"
    for seed, name in enumerate(NAMES):
      (folder / name).mkdir()
      for k in range(ITEMS):
        clip = world.clip(world.captions()[k], 7 * k + seed, 49, 96, 128)
        video.write(folder / name / f"secret-{k}.mp4", clip, 24.0)
    image = world.clip(world.captions()[0], 0, 1, 96, 128)
    video.write(folder / "secret-start.png", image, 1.0)
    rows = [{"id": f"secret-{k}", "prompt": f"clip <b>{k}</b>"} for k in range(ITEMS)]
    rows[0] |= {"image": "secret-start.png", "tags": ["secret-tag"]}
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "prompts.jsonl").write_text(lines)
    wanted = making.Wanted(
      models=[folder / name for name in NAMES],
      prompts=folder / "prompts.jsonl",
      output=self.folder,
      raters=4,
      votes=4,
      comparisons=None,
      question="Which clip is better?",
      seed=0,
      fps=None,
      drop=False,
      cut=False,
    )
    self.tokens = making.make(wanted, print)
    self.count = design.read(self.folder).rules.trials
    command = [sys.executable, "-m", "train.evaluate.study", "serve", str(self.folder)]
    self.server = subprocess.Popen(
      [*command, "--port", "0"],
      env=os.environ | {"PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
      stdout=subprocess.PIPE,
      text=True,
    )
    for line in self.server.stdout:
      if found := re.search(r"(http://127\.0\.0\.1:\d+/r/)", line):
        self.address = found[1]
        return
    raise AssertionError("The server does not start.")

  def link(self, rater):
    return self.address + self.tokens[rater]

  def votes(self, rater):
    chain = ledger.read(self.folder / design.VOTES, design.read(self.folder).sha256)
    assert chain.fault == ""
    name = f"r{rater + 1:03d}"
    return [row for row in chain.rows if row["rater"] == name]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
  made = Study(tmp_path_factory.mktemp("served"))
  yield made
  made.server.send_signal(signal.SIGTERM)
  made.server.communicate(timeout=30)


@contextlib.contextmanager
def opened(browser, study, rater, **how):
  """Opens a rater's page; notes all that the browser receives, and errors."""
  how = {"viewport": {"width": 1280, "height": 800}} | how
  context = browser.new_context(**how)
  page = context.new_page()
  page.set_default_timeout(PATIENCE)
  page.received, page.wrong = [], []
  page.on("response", lambda reply: note(page, reply))
  page.on("pageerror", lambda error: page.wrong.append(str(error)))
  own = (study.address, "blob:", "data:")
  page.on(
    "request", lambda r: None if r.url.startswith(own) else page.wrong.append(r.url)
  )
  page.goto(study.link(rater))
  yield page
  assert page.wrong == []
  context.close()


def note(page, reply):
  """Keeps address, headers and body of a reply."""
  with contextlib.suppress(sync_api.Error):  # A clip that was left half-way.
    page.received += [reply.url.encode(), str(reply.headers).encode()]
    page.received.append(reply.body())


def awake(page):
  """Waits until both clips were played once."""
  page.wait_for_selector("#left:enabled")


def expect(page, place):
  """Returns what waits for a text; the page's own policy forbids other ways to wait."""
  sync_api.expect.set_options(timeout=PATIENCE)
  return sync_api.expect(page.locator(place))


def shown(page):
  return page.text_content("#count")


def answer(page, key):
  """Answers by a key, and waits for what comes next."""
  awake(page)
  before = shown(page)
  page.keyboard.press(key)
  expect(page, "#count").not_to_have_text(before)


def test_a_whole_session_by_keyboard_and_no_name_reaches_the_browser(browser, study):
  with opened(browser, study, 0) as page:
    awake(page)
    assert shown(page) == f"Pair 1 of {study.count}"
    assert page.text_content("#name1") == "Left"
    style = "getComputedStyle(document.getElementById('back'))"
    assert page.evaluate(f"{style}.color != {style}.backgroundColor")
    assert page.evaluate("document.getElementById('clip1').muted")
    page.keyboard.press("Space")
    assert page.evaluate("document.getElementById('clip1').paused")
    page.keyboard.press("r")
    sync_api.expect(page.locator("#pause")).to_contain_text("Pause")
    times = "['clip1', 'clip2'].map(n => document.getElementById(n).currentTime)"
    page.wait_for_timeout(300)
    one, two = page.evaluate(times)
    assert abs(one - two) < 0.25
    keys = ["ArrowLeft", "ArrowRight", "ArrowDown", "b"]
    for k in range(study.count):
      answer(page, keys[k % 4])
      if k == 0:  # The first answer is changed.
        page.keyboard.press("Backspace")
        awake(page)
        assert "Choose again" in page.text_content("#said")
        page.keyboard.press("ArrowDown")
        page.wait_for_selector("#left:disabled")
        awake(page)
    assert "Thank you" in page.text_content("#said")
    content = b"\n".join(page.received)
    assert b"mp4" in content and b"clip <b>" in content
    assert b"secret" not in content
    assert all(model.encode() not in content for model in NAMES)
  rows = study.votes(0)
  assert [row["choice"] for row in rows][:2] == ["left", "tie"]
  assert rows[1]["replaces"] == rows[0]["vote"]
  assert len(rows) == study.count + 1
  assert {row["screen"] for row in rows} == {"1280x800"}


def test_a_vote_outlives_a_cut_network_and_the_closed_page(browser, study):
  with opened(browser, study, 1) as page:
    awake(page)
    page.context.set_offline(True)
    page.keyboard.press("ArrowRight")
    expect(page, "#said").to_contain_text("Not yet saved")
    assert study.votes(1) == []
    assert page.evaluate("Object.values(localStorage).length") == 1
    page.context.set_offline(False)
    expect(page, "#count").to_contain_text("Pair 2 ")
    assert [row["choice"] for row in study.votes(1)] == ["right"]
    awake(page)
    page.context.set_offline(True)
    page.keyboard.press("ArrowLeft")
    expect(page, "#said").to_contain_text("Not yet saved")
    again = page.context.new_page()  # The browser's storage outlives the page.
    page.close()
    page.context.set_offline(False)
    again.goto(study.link(1))
    expect(again, "#count").to_contain_text("Pair 3 ")
    assert again.evaluate("Object.values(localStorage).length") == 0
  assert [row["choice"] for row in study.votes(1)] == ["right", "left"]


def test_two_tabs_give_one_vote_and_a_refresh_the_same_pair(browser, study):
  with opened(browser, study, 2) as page:
    awake(page)
    prompt = page.text_content("#prompt")
    page.reload()
    awake(page)
    assert page.text_content("#prompt") == prompt
    other = page.context.new_page()
    other.goto(study.link(2))
    awake(other)
    assert other.text_content("#prompt") == prompt
    answer(other, "ArrowLeft")
    page.bring_to_front()
    answer(page, "ArrowRight")  # It was answered; the next pair comes.
    assert shown(page) == shown(other) == f"Pair 2 of {study.count}"
  assert [row["choice"] for row in study.votes(2)] == ["left"]


def test_a_phone_shows_clips_above_one_another_with_buttons_for_thumbs(browser, study):
  phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
  with opened(browser, study, 3, is_mobile=True, **phone) as page:
    awake(page)
    assert page.text_content("#name1") == "Upper"
    boxes = [page.locator(f"#clip{k}").bounding_box() for k in (1, 2)]
    assert boxes[0]["y"] + boxes[0]["height"] <= boxes[1]["y"]
    footer = page.locator("footer").bounding_box()
    assert boxes[1]["y"] + boxes[1]["height"] <= footer["y"]  # Both are seen at once.
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for name in ("left", "tie", "right"):
      box = page.locator(f"#{name}").bounding_box()
      assert box["height"] >= 44 and box["y"] + box["height"] <= 844
    page.tap("#right")
    expect(page, "#count").to_contain_text("Pair 2 ")
  assert [row["choice"] for row in study.votes(3)] == ["right"]
