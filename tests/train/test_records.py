"""The program that lists records, shows one, and decodes it back to a video."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from configs import tiny
from ltx_jax import platforms
from ltx_jax.checkpoints import lightricks
from ltx_jax.checkpoints.fingerprint import fingerprint
from ltx_jax.config import ModelConfig, SchedulerConfig
from ltx_jax.data import video
from ltx_jax.data.records import Record, SetInfo, Writer, write_index
from ltx_jax.models import vae as vae_lib
from ltx_jax.moving_shapes import world
from tests.policies import QUICK
from train import records
from train.harness.encoding import ClipEncoder

CAPTIONS = world.captions()[:7]
SHAPE = (*tiny.VAE.latent_shape(9, 32, 48), tiny.VAE.latent_channels)


def _write_vae(path, seed):
  """Writes the tiny VAE with random weights; drawn here, which compiles nothing."""
  draw = np.random.default_rng(seed)
  shapes = jax.eval_shape(lambda: vae_lib.init_vae(jax.random.key(0), tiny.VAE))

  def weights(leaf):
    values = np.asarray(0.2 * draw.standard_normal(leaf.shape, np.float32))
    return values if leaf.ndim > 1 else np.asarray(np.abs(values))  # Of spreads.

  params = jax.tree.map(weights, shapes)
  config = ModelConfig(transformer=None, vae=tiny.VAE, scheduler=SchedulerConfig())
  lightricks.save_checkpoint(path, config, {"vae": params}, dtype="float32")
  return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
  return _write_vae(tmp_path_factory.mktemp("model") / "vae.safetensors", 0)


@pytest.fixture(scope="module")
def decoder(model):
  _, params = lightricks.load_checkpoint(model, "float32", parts=("vae",))
  device = (jax.local_devices()[0],)
  return ClipEncoder(tiny.VAE, params["vae"], QUICK, devices=device)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, decoder):
  folder = tmp_path_factory.mktemp("records")
  made = fingerprint(decoder.config, decoder.params)
  draw = np.random.default_rng(0)
  with Writer(folder / "shard-00000.arrayrecord") as writer:
    for number, caption in enumerate(CAPTIONS):
      size = (9, 32, 48) if number % 2 else (1, 32, 48)
      shape = (*tiny.VAE.latent_shape(*size), tiny.VAE.latent_channels)
      latents = draw.standard_normal(shape, np.float32)
      record = Record(
        f"{number}.mp4",
        caption,
        latents,
        24.0,
        *size,
        vae=made,
        text_encoder="words",
        tokens=np.arange(number + 1, dtype=np.int32),
        start=0.5,
        crop=(0, 0, 64, 64),
        scores={"motion": float(number)},
      )
      writer.write(record)
  factors = (tiny.VAE.temporal_factor, tiny.VAE.spatial_factor)
  info = SetInfo(made, tiny.VAE.latent_channels, factors, "words")
  write_index(folder, info, {"tokens": np.ones(1, np.int32)})
  return folder


@pytest.fixture(autouse=True)
def quick_policy(monkeypatch):
  monkeypatch.setattr(platforms, "policy_of", lambda device: QUICK)


def _said(capsys):
  return " ".join(capsys.readouterr().out.split())


def test_a_folder_is_listed_by_size_with_some_captions(folder, capsys):
  records.main([str(folder)])
  said = _said(capsys)
  for words in ("7 records", "1x32x48", "9x32x48", "1 to 7", "2 to 6", "text words"):
    assert words in said
  assert "score motion: 0, 3, 6" in said
  assert f"4.mp4: {CAPTIONS[4]} and 2 more" in said and CAPTIONS[5] not in said


def test_a_record_is_shown_with_all_that_is_known_of_it(folder, capsys):
  records.main([str(folder), "3.mp4"])
  said = _said(capsys)
  for words in (
    f"caption {CAPTIONS[3]}",
    "crop (0, 0, 64, 64)",
    "start 0.5",
    "tokens int32, 4",
    "latents float32, " + "x".join(map(str, SHAPE)),
  ):
    assert words in said


def test_a_record_is_decoded_by_the_vae_that_made_it(folder, model, decoder, tmp_path):
  output = tmp_path / "again.png"
  records.main([str(folder), "3.mp4", "--model", str(model), "--output", str(output)])
  frames, fps = video.read(output)
  latents = records.Records(folder).record(3).latents
  np.testing.assert_array_equal(frames, decoder.decode(latents[None])[0])
  assert frames.shape == (9, 32, 48, 3) and fps == pytest.approx(24, abs=0.5)


def test_another_vae_is_refused(folder, tmp_path):
  path = _write_vae(tmp_path / "other.safetensors", 1)
  output = tmp_path / "again.mp4"
  with pytest.raises(ValueError, match="encoded by another VAE: its fingerprint is"):
    records.main([str(folder), "3.mp4", "--model", str(path), "--output", str(output)])
  assert not output.exists()


@pytest.mark.parametrize(
  ("arguments", "sentence"),
  [
    (["3.mp5"], r"has no record '3.mp5'; did you mean 3.mp4\?"),
    (["--output", "a.mp4"], "--output decodes one record: name its ID"),
    (["3.mp4", "--output", "a.mp4"], "and --model, whose VAE made it"),
    (["3.mp4", "--model", "m", "--output", "a.xyz"], "has the suffix '.xyz'"),
  ],
)
def test_what_cannot_be_done_is_refused_in_words(folder, arguments, sentence):
  with pytest.raises(ValueError, match=sentence):
    records.main([str(folder), *arguments])


def test_a_folder_without_records_is_refused(tmp_path):
  with pytest.raises(ValueError, match="has no index.safetensors"):
    records.main([str(tmp_path)])
