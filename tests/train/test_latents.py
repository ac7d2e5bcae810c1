import dataclasses

import jax
import numpy as np
import pytest

from configs import tiny
from ltx_jax.models import vae as vae_lib
from ltx_jax.moving_shapes import world
from tests.train import trainer_case as case
from train import latents

CAPTIONS = world.train_captions()[:5]
SIZE = latents.bucket_size(tiny.CLIP)


def encode(folder, vae=None, captions=CAPTIONS, variants=2):
  # The same size twice, as in two stages of a run.
  buckets = [tiny.CLIP, dataclasses.replace(tiny.CLIP, weight=0.5)]
  vae = vae or case.frozen_vae()
  return latents.load_or_encode(vae, buckets, captions, variants, folder)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  folder = tmp_path_factory.mktemp("latents")
  return folder, encode(folder)


def test_latents_are_the_normalised_modes_of_the_clips(written):
  rows = written[1].latents[SIZE]
  assert list(written[1].latents) == [SIZE]
  assert rows.shape == (5, 2, 2, 2, 2, tiny.VAE.latent_channels)
  assert rows.dtype == np.float32
  vae = case.frozen_vae()
  # Clip i of all, counted variants first, has seed i.
  clip = world.clip(CAPTIONS[3], 7, *SIZE)
  mean, _ = vae_lib.encode_moments(
    vae.params, vae.config, vae.policy, np.float32(clip[None]) / 127.5 - 1
  )
  statistics = vae.params["per_channel_statistics"]
  expected = (np.asarray(mean[0]) - statistics["mean"]) / statistics["std"]
  np.testing.assert_allclose(rows[3, 1], expected, atol=1e-4)


def test_a_second_call_reads_the_files(written, monkeypatch):
  folder, first = written
  (file,) = folder.iterdir()
  assert file.name == f"latents-5x32x32-{first.fingerprint}.npy"
  monkeypatch.setattr(latents.FrozenVAE, "encode", None)
  second = encode(folder)
  assert second.fingerprint == first.fingerprint
  np.testing.assert_array_equal(second.latents[SIZE], first.latents[SIZE])


def test_other_weights_captions_and_variants_have_other_files(written, monkeypatch):
  folder, first = written
  vae = case.frozen_vae()

  def nudge(path, leaf):
    return leaf + 1e-6 if jax.tree_util.keystr(path).endswith("['std']") else leaf

  params = jax.tree.map_with_path(nudge, vae.params)
  nudged = dataclasses.replace(vae, params=params)
  causal = dataclasses.replace(vae.config, causal_decoder=True)
  other = dataclasses.replace(vae, config=causal)
  prints = {vae.fingerprint(), nudged.fingerprint(), other.fingerprint()}
  assert len(prints) == 3
  assert dataclasses.replace(vae).fingerprint() == vae.fingerprint()

  monkeypatch.setattr(
    latents, "_encode", lambda vae, size, captions, n: np.zeros((1, n, 1, 1, 1, 8))
  )
  changed = [
    encode(folder, vae=nudged),
    encode(folder, captions=CAPTIONS[::-1]),
    encode(folder, variants=3),
  ]
  assert len({first.fingerprint, *(c.fingerprint for c in changed)}) == 4
  assert len(list(folder.iterdir())) == 4


def test_too_little_memory_names_the_clips(tmp_path, monkeypatch):
  def encode_none(*_):
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory.")

  monkeypatch.setattr(latents.FrozenVAE, "encode", encode_none)
  message = "not enough memory for encoding 8 clips of 5x32x32; take smaller"
  with pytest.raises(ValueError, match=message):
    encode(tmp_path)


def test_a_network_is_known_by_its_config_and_its_last_bit():
  params = {"a": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}}
  known = latents.fingerprint("config", params)
  assert latents.fingerprint("config", jax.tree.map(jax.numpy.asarray, params)) == known
  half = params["a"]["kernel"].astype(jax.numpy.bfloat16)
  nudged = np.nextafter(params["a"]["kernel"], 9, dtype=np.float32)
  others = [("other", params), ("config", {"b": params["a"]})]
  others += [("config", {"a": {"kernel": k}}) for k in (nudged, half)]
  assert len({known, *(latents.fingerprint(*other) for other in others)}) == 5


def test_what_fails_leaves_no_file(tmp_path, monkeypatch):
  def fail(*_):
    raise MemoryError

  monkeypatch.setattr(latents, "_encode", fail)
  with pytest.raises(MemoryError):
    encode(tmp_path / "new")
  assert not list((tmp_path / "new").iterdir())
