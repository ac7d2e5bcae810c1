"""Shared by the tests of precomputing: a tiny VAE's model, options, and a count."""

import functools

import jax
from rich.console import Console

from configs import tiny
from ltx_jax.checkpoints import lightricks
from ltx_jax.config import ModelConfig, SchedulerConfig
from ltx_jax.data.records import Records
from ltx_jax.models import vae as vae_lib
from ltx_jax.releases.presets import ASSETS
from tests.policies import QUICK
from train.harness import precomputing
from train.harness.encoding import ClipEncoder


@functools.cache
def params():
  return vae_lib.init_vae(jax.random.key(0), tiny.VAE)


def write_model(folder):
  """Writes the VAE as a model, and returns the file."""
  path = folder / "vae.safetensors"
  config = ModelConfig(transformer=None, vae=tiny.VAE, scheduler=SchedulerConfig())
  lightricks.save_checkpoint(path, config, {"vae": params()}, dtype="float32")
  return path


def options_of(manifest, output, model, buckets):
  """Options that encode a few clips, by tokens alone."""
  return precomputing.Options(
    str(manifest),
    output=output,
    model=str(model),
    text_encoder="none",
    tokenizer=ASSETS / "moving_shapes" / "tokenizer",
    buckets=buckets,
    clips_per_call=2,
    shard=2,
    samples=2,
  )


def run(options):
  precomputing.precompute(options, Console(quiet=True))
  return Records(options.output)


def be_quick(monkeypatch):
  """Has the VAE compiled by the quick policy."""
  monkeypatch.setattr(precomputing, "policy_of", lambda device: QUICK)


def count_encoded(monkeypatch):
  """Returns a list that takes the shape of each clip that the VAE is given."""
  shapes, encode = [], ClipEncoder.encode

  def counted(self, videos):
    def each():
      for clip in videos:
        shapes.append(clip.shape)
        yield clip

    return encode(self, each())

  monkeypatch.setattr(ClipEncoder, "encode", counted)
  return shapes
