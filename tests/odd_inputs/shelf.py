"""The shelf: files that odd inputs are about, made once and then only copied.

Models are random and tiny, made by the library itself, and so are the records and the
runs; media are made by PyAV and Pillow as cameras, phones and browsers would.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import av
import jax
import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file

from ltx_jax.checkpoints import lightricks, upsampler
from ltx_jax.checkpoints.t5 import save_t5
from ltx_jax.config import ModelConfig, SchedulerConfig, TextEncoderConfig
from ltx_jax.models import text_encoder
from ltx_jax.moving_shapes import world
from ltx_jax.releases.presets import ASSETS
from tests import pipeline_case, tasks_case
from tests.data import media_case
from tests.models import upsampler_case
from tests.train import records_case, trainer_case
from tests.train.processes_case import ROOT

SHIPPED = ASSETS / "moving_shapes"
RUN_STEPS = 4


def fill(shelf: Path) -> None:
  """Makes all of it in an empty folder."""
  for make in (models, checkpoints, loras, pictures, clips, datasets, runs):
    make(shelf)


# --- Models ---------------------------------------------------------------------------


def models(shelf: Path) -> None:
  """A model with its text encoder, one in the layout of diffusers, and a VAE alone."""
  config = dataclasses.replace(pipeline_case.config(), name="moving-shapes")
  shutil.copytree(SHIPPED, shelf / "shipped")
  (shelf / "model").mkdir()
  lightricks.save_checkpoint(
    shelf / "model" / "model.safetensors", config, pipeline_case.params()
  )
  text = TextEncoderConfig(
    vocab_size=512, d_model=10, d_kv=4, d_ff=12, num_layers=1, num_heads=2
  )
  params = text_encoder.init(text, jax.random.key(1))
  save_t5(shelf / "model" / "text_encoder", text, params)
  shutil.copytree(SHIPPED / "tokenizer", shelf / "model" / "tokenizer")
  vae = trainer_case.frozen_vae()
  alone = ModelConfig(transformer=None, vae=vae.config, scheduler=SchedulerConfig())
  lightricks.save_checkpoint(
    shelf / "vae.safetensors", alone, {"vae": vae.params}, dtype="float32"
  )
  changed = {"vae": jax.tree.map(lambda leaf: np.asarray(leaf * 1.01), vae.params)}
  lightricks.save_checkpoint(
    shelf / "other-vae.safetensors", alone, changed, dtype="float32"
  )
  kind = tasks_case.UPSAMPLER
  upsampler.save_upsampler(
    shelf / "upscaler.safetensors", kind, upsampler_case.random_params(kind)
  )
  wide = dataclasses.replace(kind, in_channels=kind.in_channels + 2)
  upsampler.save_upsampler(
    shelf / "wide-upscaler.safetensors", wide, upsampler_case.random_params(wide)
  )


Tensors = dict[str, np.ndarray]


def _first(tensors: Tensors, part: str) -> str:
  return next(name for name in tensors if part in name and tensors[name].ndim == 2)


def _nan(tensors: Tensors) -> Tensors:
  name = _first(tensors, "attn1.to_q")
  return tensors | {name: np.full_like(tensors[name], np.nan)}


def _missing(tensors: Tensors) -> Tensors:
  return {k: v for k, v in tensors.items() if "transformer_blocks.1." not in k}


def _turned(tensors: Tensors) -> Tensors:
  name = _first(tensors, "ff.net.0.proj")
  return tensors | {name: np.ascontiguousarray(tensors[name].T)}


def _whole(tensors: Tensors) -> Tensors:
  return {k: np.zeros(v.shape, np.int32) for k, v in tensors.items()}


def _renamed(tensors: Tensors) -> Tensors:
  return {f"module.{k}": v for k, v in tensors.items()}


DAMAGES: Mapping[str, Callable[[Tensors], Tensors]] = {
  "nan": _nan,
  "missing": _missing,
  "extra": lambda tensors: tensors | {"audio_head.weight": np.zeros((3, 3), "f4")},
  "turned": _turned,
  "whole": _whole,
  "renamed": _renamed,
  "transformer-only": lambda tensors: {
    k: v for k, v in tensors.items() if not k.startswith("vae.")
  },
  "vae-only": lambda tensors: {
    k: v for k, v in tensors.items() if k.startswith("vae.")
  },
}
"""What people's own programs do to a checkpoint."""


def checkpoints(shelf: Path) -> None:
  """Checkpoints as other programs leave them, and other programs' files."""
  folder = shelf / "checkpoints"
  folder.mkdir()
  whole = shelf / "model" / "model.safetensors"
  with whole.open("rb") as file:
    size = int.from_bytes(file.read(8), "little")
    metadata = json.loads(file.read(size))["__metadata__"]
  tensors = load_file(whole)
  for name, damage in DAMAGES.items():
    save_file(damage(tensors), folder / f"{name}.safetensors", metadata)
  save_file(tensors, folder / "bare.safetensors")
  save_file(tensors, folder / "notes.safetensors", {"config": "{not json"})
  save_file(tensors, folder / "list.safetensors", {"config": "[1, 2]"})
  save_file({}, folder / "none.safetensors")
  image = {
    "model.diffusion_model.input_blocks.0.0.weight": np.zeros((4, 4, 3, 3), "f4")
  }
  save_file(image, folder / "sd15.safetensors")
  text = {"model.layers.0.self_attn.q_proj.weight": np.zeros((8, 8), "f4")}
  save_file(text, folder / "llama.safetensors", {"format": "pt"})
  (folder / "model.ckpt").write_bytes(b"PK\x03\x04" + b"archive/data.pkl" * 20)
  (folder / "model.gguf").write_bytes(b"GGUF\x03\x00\x00\x00" + bytes(200))
  (folder / "pointer.safetensors").write_text(
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    "size 9384201948\n"
  )
  (folder / "page.safetensors").write_text("<!DOCTYPE html>\n<html>Sign in</html>\n")
  diffusers = folder / "diffusers"
  (diffusers / "transformer").mkdir(parents=True)
  (diffusers / "model_index.json").write_text('{"_class_name": "LTXPipeline"}')


def _update(layer: str, n_in: int, n_out: int, value: float = 0.1) -> Tensors:
  down, up = np.full((2, n_in), value, "f4"), np.full((n_out, 2), value, "f4")
  name = f"diffusion_model.{layer}"
  return {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}


def loras(shelf: Path) -> None:
  """LoRAs for the model, for another one, and for other programs' models."""
  folder = shelf / "loras"
  folder.mkdir()
  layer = "transformer_blocks.1.attn1.to_q"
  fits = _update(layer, 24, 24)
  for name, tensors in {
    "fits": fits,
    "wide": _update(layer, 48, 48),
    "deep": _update("transformer_blocks.27.attn1.to_q", 24, 24),
    "flux": _update("double_blocks.0.img_attn.qkv", 24, 72),
    "nan": _update(layer, 24, 24, np.nan),
    "half": dict(list(fits.items())[:1]),
  }.items():
    save_file(tensors, folder / f"{name}.safetensors")


# --- Media ----------------------------------------------------------------------------


def _scene(height: int = 48, width: int = 64, frames: int = 9) -> np.ndarray:
  return world.clip(world.train_captions()[0], 0, frames, height, width)


def pictures(shelf: Path) -> None:
  """Images of every kind that people have."""
  folder = shelf / "images"
  folder.mkdir()
  image = Image.fromarray(_scene()[0])
  for name in ("plain.png", "plain.jpg", "plain.bmp", "plain.tiff", "plain.webp"):
    image.save(folder / name)
  image.save(folder / "plain.avif")
  image.save(folder / "really.png", format="JPEG")
  image.convert("CMYK").save(folder / "cmyk.jpg")
  image.convert("L").save(folder / "gray.png")
  image.convert("1").save(folder / "scan.tiff")
  image.convert("P").save(folder / "palette.gif")
  image.convert("RGBA").save(folder / "alpha.png")
  Image.fromarray(np.full((48, 64), 30_000, np.uint16)).save(folder / "deep.png")
  exif = Image.Exif()
  exif[0x0112] = 6
  image.save(folder / "turned.jpg", exif=exif)
  image.resize((1, 1)).save(folder / "dot.png")
  image.resize((4000, 2)).save(folder / "strip.png")
  Image.new("1", (30_000, 30_000)).save(folder / "bomb.png")
  image.save(folder / "progressive.jpg", progressive=True)
  (folder / "drawing.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
  (folder / "error.png").write_text("<html><title>404 Not Found</title></html>")
  (folder / "photo.heic").write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(400))
  (folder / "raw.cr2").write_bytes(b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(400))
  (folder / "layers.psd").write_bytes(b"8BPS\x00\x01" + bytes(400))
  (folder / "page.pdf").write_bytes(b"%PDF-1.7\n" + bytes(400))


def clips(shelf: Path) -> None:
  """Clips of every kind that people have."""
  folder = shelf / "clips"
  folder.mkdir()
  scene = _scene()
  write = media_case.write
  for suffix in (".mp4", ".mkv", ".mov", ".webm", ".avi", ".mpg", ".ts"):
    write(folder / f"plain{suffix}", scene)
  write(folder / "turned.mp4", scene, rotation=90)
  write(folder / "one.mp4", scene[:1])
  write(folder / "short.mp4", scene[:3])
  write(folder / "odd.mp4", _scene(50, 66, 12))
  write(folder / "small.mp4", _scene(16, 16, 9))
  write(folder / "slow.mp4", scene, 1)
  write(folder / "fast.mp4", scene, 120)
  uneven = [0, 10, 50, 60, 200, 240, 290, 300, 400]
  write(folder / "uneven.mkv", scene, times=uneven)
  write(folder / "pause.mkv", scene[:3], times=[0, 40, 8_000_000])
  media_case.write_sound(folder / "sound.mp4")
  shutil.copyfile(folder / "plain.webm", folder / "really.mp4")
  frames = [Image.fromarray(frame) for frame in scene]
  frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
  frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:])
  whole = (folder / "plain.mp4").read_bytes()
  (folder / "no-index.mp4").write_bytes(whole.replace(b"moov", b"xxxx"))
  (folder / "zeros.mp4").write_bytes(bytes(5000))
  (folder / "page.mp4").write_text("<!DOCTYPE html><html>Video unavailable</html>")
  (folder / "part.mp4.part").write_bytes(whole[:800])
  with av.open(str(folder / "subtitles.mp4"), "w") as container:
    container.add_stream("libx264", 24)


# --- Data sets and runs ---------------------------------------------------------------


def _row(name: str, number: int) -> str:
  return json.dumps({"path": f"{name}.mp4", "caption": world.train_captions()[number]})


def datasets(shelf: Path) -> None:
  """Clips with captions as a folder and as a manifest, and records of latents."""
  folder = shelf / "data"
  folder.mkdir()
  for number, name in enumerate(("cat", "dog", "fox")):
    clip = world.clip(world.train_captions()[number], number, 9, 32, 32)
    media_case.write(folder / f"{name}.mp4", clip)
    (folder / f"{name}.txt").write_text(world.train_captions()[number])
  rows = [_row(name, number) for number, name in enumerate(("cat", "dog", "fox"))]
  (folder / "list.jsonl").write_text("\n".join(rows) + "\n")
  vae = trainer_case.frozen_vae()
  records_case.write(shelf / "records", vae)


def _train(shelf: Path, program: str, name: str, *options: str) -> None:
  words = [*("tiny", "--steps", str(RUN_STEPS), "--output.folder"), str(shelf / name)]
  command = [sys.executable, "-m", program, *words, *options]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  if done.returncode:
    raise RuntimeError(f"{program} ended with {done.returncode}: {done.stderr}")


def runs(shelf: Path) -> None:
  """A run of each trainer that has ended."""
  rare = "--output.sample-every", "1000", "--output.evaluate-every", "1000"
  _train(shelf, "train.vae", "vae-run", *rare)
  given = "--vae", str(shelf / "vae.safetensors"), "--data", str(shelf / "records")
  _train(shelf, "train.transformer", "run", *given, *rare)
