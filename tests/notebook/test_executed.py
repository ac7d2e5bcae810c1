"""The notebook, executed whole as on Colab, with a stand-in for the released weights.

Its kernel is a Python of its own that already holds other versions of JAX, NumPy and
Pillow, as Colab's does: of Python 3.12 where NOTEBOOK_PYTHON names one, else of the
Python that runs the tests. Needs nbclient, git and PyPI; `.ci/run` has them.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

from ltx_jax.data import video
from ltx_jax.moving_shapes.judge import judge
from tests import notebook_case as case
from tests.notebook import stand_ins

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

HELD = ("jax==0.7.2", "numpy==2.0.2", "pillow==11.3.0")
NEEDED = ("ltx_jax", "sample", "train", "configs")
FILES = ("pyproject.toml", "README.md", "LICENSE")
SIZE = {"WIDTH": 64, "HEIGHT": 64, "FRAMES": 9}
MODEL = case.settings(dict(case.code_cells(case.read()))["released-settings"])["MODEL"]


def run(*command, cwd=None):
  done = subprocess.run(
    [str(word) for word in command], cwd=cwd, capture_output=True, text=True
  )
  assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def write_kernel(folder, python):
  """Lets Jupyter know the Python; pip takes the pins, and nothing asks the hub."""
  kernel = folder / "share" / "kernels" / "colab"
  kernel.mkdir(parents=True)
  kernel.joinpath("kernel.json").write_text(
    json.dumps(
      {
        "argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "As on Colab",
        "language": "python",
        "env": {
          "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
          "PIP_CONSTRAINT": str(case.ROOT / "constraints.txt"),
          "PYTHONPATH": "",
          "HF_HUB_OFFLINE": "1",
          "XLA_FLAGS": quick_flags(),
        },
      }
    )
  )


def quick_flags():
  """Those of `tests.conftest` that every version of XLA knows, on one device."""
  left_out = "device_count", "fusion_emitters"
  flags = os.environ["XLA_FLAGS"].split()
  return " ".join(flag for flag in flags if not any(word in flag for word in left_out))


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
  """(folder that notebooks are executed in, git address of this code)."""
  folder = tmp_path_factory.mktemp("colab")
  source = os.environ.get("NOTEBOOK_PYTHON") or sys.executable
  run(source, "-m", "venv", folder / "python")
  python = folder / "python" / "bin" / "python"
  run(python, "-m", "pip", "install", "-qq", "ipykernel", "ipywidgets", *HELD)
  write_kernel(folder, python)
  code = folder / "code"
  ignored = shutil.ignore_patterns("__pycache__")
  for name in NEEDED:
    shutil.copytree(case.ROOT / name, code / name, ignore=ignored)
  for name in FILES:
    shutil.copy(case.ROOT / name, code / name)
  run("git", "init", "-q", cwd=code)
  run("git", "add", "-A", cwd=code)
  author = "-c", "user.name=test", "-c", "user.email=test@localhost"
  run("git", *author, "commit", "-q", "-m", "code", cwd=code)
  content = folder / "content"
  content.mkdir()
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("JUPYTER_PATH", str(folder / "share"))
    yield content, code.as_uri()


def execute(notebook, folder, **options):
  """Executes a notebook in a kernel of its own; returns its cells by their ids."""
  made = nbformat.reads(json.dumps(notebook), as_version=4)
  nbformat.validate(made)
  client = nbclient.NotebookClient(
    made,
    kernel_name="colab",
    timeout=1800,
    resources={"metadata": {"path": str(folder)}},
    **options,
  )
  client.execute()
  if os.environ.get("NOTEBOOK_EXECUTED"):  # For those who want to look at it.
    nbformat.write(made, os.environ["NOTEBOOK_EXECUTED"])
  return {cell["id"]: cell for cell in made["cells"]}


def printed(cell):
  """What a cell wrote and showed, as one text."""
  texts = [output.get("text", "") for output in cell["outputs"]]
  for output in cell["outputs"]:
    texts += [str(value) for value in output.get("data", {}).values()]
  return "".join(texts)


def test_a_session_that_holds_old_packages_is_to_be_restarted(colab):
  folder, address = colab
  cells = {cell["id"]: cell for cell in case.read()["cells"]}
  held = {**cells["install"], "id": "held"}
  held["source"] = "import jax, numpy\nprint(jax.__version__, numpy.__version__)"
  notebook = case.with_settings(
    {**case.read(), "cells": [held, cells["install"]]},
    {"install": {"REPOSITORY": address}},
  )
  done = execute(notebook, folder, allow_errors=True)
  assert printed(done["held"]).split() == ["0.7.2", "2.0.2"]
  error = done["install"]["outputs"][-1]
  assert error["output_type"] == "error"
  assert "the old numpy loaded. Restart it" in error["evalue"]


@pytest.fixture(scope="module")
def executed(colab, tmp_path_factory):
  """(the executed cells, the folder that they wrote to)."""
  folder, address = colab
  files = tmp_path_factory.mktemp("stand-ins")
  prompt = "a large red circle moving right on a navy background"
  values = {
    "install": {"REPOSITORY": address},
    "small": {"PROMPT": prompt},
    "released-settings": {
      "LICENCE_READ": True,
      "MODEL": str(stand_ins.write_checkpoint(files / "model.safetensors", MODEL)),
      "TEXT_ENCODER": str(stand_ins.write_text(files / "text")),
      "PRECISION": "float16",  # What a T4 would find by itself.
      "PROMPT": prompt,
      "IMAGE_PROMPT": prompt,
      "LORA_PROMPT": prompt,
      **SIZE,
    },
    "lora": {"LORA": str(stand_ins.write_lora(files / "lora.safetensors"))},
    "train-transformer": {"STEPS": 20},
  }
  notebook = case.with_settings(case.read(), values)
  return execute(notebook, folder), folder / "ltx-jax"


def test_the_install_ends_with_the_small_model_s_video(executed):
  cells, folder = executed
  assert "Installed: ltx-jax" in printed(cells["install"])
  clip = video.read(folder / "small.mp4")[0]
  prompt = "a large red circle moving right on a navy background"
  assert all(judge(clip).agreement(prompt).values())
  assert "step 25 of 25" in printed(cells["small"])


@pytest.mark.parametrize("name", ["small", "released-generate", "image", "lora"])
def test_a_video_is_shown_with_a_preview_before_it(executed, name):
  text = printed(executed[0][name])
  assert "<progress" in text and "data:image/png;base64," in text
  assert "data:video/mp4;base64," in text


def test_the_stand_in_takes_the_way_of_the_released_weights(executed):
  cells, folder = executed
  assert "in float16 on a cpu" in printed(cells["released-load"])
  assert len(list((folder / "texts").iterdir())) == 1  # All prompts are the same.
  shown = "released", "image", "lora"
  clips = [video.read(folder / f"{name}.mp4")[0] for name in shown]
  for name, clip in zip(shown, clips, strict=True):
    assert clip.shape == (SIZE["FRAMES"], SIZE["HEIGHT"], SIZE["WIDTH"], 3)
    assert "step 8 of 8" in printed(cells["lora" if name == "lora" else "image"])
    assert clip.std() > 1, f"{name}.mp4 is a plain colour"
  for other in clips[1:]:  # From an image, and with a LoRA: not the same video.
    assert (other != clips[0]).mean() > 0.1


def test_the_tiny_model_is_trained_and_its_curve_shown(executed):
  cells, folder = executed
  assert "Wrote runs/tiny/vae/vae.safetensors" in printed(cells["train-vae"])
  assert "step 20/20" in printed(cells["train-transformer"])
  assert (folder / "runs/tiny/transformer/model/model.safetensors").is_file()
  kinds = [set(o.get("data", ())) for o in cells["train-curve"]["outputs"]]
  assert any("image/png" in each for each in kinds)
