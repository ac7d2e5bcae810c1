"""A model over eight devices: loaded to its shards, and the same results as on one."""

import dataclasses

import jax
import numpy as np
import pytest

import ltx_jax
from ltx_jax.checkpoints.lightricks import save_checkpoint
from ltx_jax.checkpoints.t5 import save_t5
from ltx_jax.config import TextEncoderConfig
from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.models import text_encoder
from ltx_jax.parallel.mesh import make_mesh
from ltx_jax.releases.presets import ASSETS
from ltx_jax.sizes import Canvas
from tests import pipeline_case as case

TOKENIZER = ASSETS / "moving_shapes" / "tokenizer"
# 60 tokens, which 8 does not divide; an image is encoded; all three branches.
RUN = case.Run(
  "linear_quadratic",
  Sampling(steps=3, guidance=3.0, stg=1.0, stg_blocks=(1,)),
  strength=0.8,
)
CANVAS = Canvas.of(case.VAE, 5, 30, 37)  # Cropped: of pixels that 8 does not divide.


@pytest.fixture(scope="module")
def folder(tmp_path_factory, quick):
  folder = tmp_path_factory.mktemp("model")
  save_checkpoint(folder / "model.safetensors", case.config(), case.params())
  text = TextEncoderConfig(
    vocab_size=512, d_model=10, d_kv=4, d_ff=16, num_layers=1, num_heads=2
  )
  save_t5(folder / "text_encoder", text, text_encoder.init(text, jax.random.key(1)))
  (folder / "tokenizer").symlink_to(TOKENIZER)
  return folder


@pytest.fixture(scope="module")
def expected(folder):
  """Returns the results of one device: latents, the video cropped, the text."""
  model = ltx_jax.load(folder)
  latents = case.denoise(model, RUN)
  video = model.to_pixels(latents, RUN.sampling, canvas=CANVAS)
  return latents, video, model.encode_text(["a red circle"])[0]


def loaded(folder, **axes):
  return ltx_jax.load(folder, mesh=make_mesh(**axes))


def test_heads_tokens_and_rows_split_make_the_same_latents(folder, expected):
  model = loaded(folder, data=2, context=2, tensor=2)
  np.testing.assert_allclose(case.denoise(model, RUN), expected[0], atol=1e-4)


def test_results_are_those_of_one_device(folder, expected, compilations):
  model = loaded(folder, data=2, context=4)
  latents = case.denoise(model, RUN)
  np.testing.assert_allclose(latents, expected[0], atol=1e-4)
  video = model.to_pixels(latents, RUN.sampling, canvas=CANVAS)
  assert np.abs(video.astype(int) - expected[1]).max() <= 1
  text, _ = model.encode_text(["a red circle"])
  np.testing.assert_allclose(text, expected[2], atol=1e-4)
  # One step's program serves all steps, and a second run, with other numbers.
  other = dataclasses.replace(RUN.sampling, steps=4, guidance=5.0)
  with compilations() as programs:
    case.denoise(model, dataclasses.replace(RUN, sampling=other))
  assert programs == []


def shards(model, path):
  leaf = model.params
  for name in path.split("/"):
    leaf = leaf[name]
  assert len(leaf.sharding.device_set) == leaf.sharding.mesh.size
  return {shard.data.shape for shard in leaf.addressable_shards}


def test_tensors_go_straight_to_their_shards(folder, monkeypatch):
  put = []
  device_put = jax.device_put

  def record(array, where=None, **rest):
    put.append((type(array), where))
    return device_put(array, where, **rest)

  monkeypatch.setattr(jax, "device_put", record)
  model = ltx_jax.load(folder, mesh=make_mesh(fsdp=2, context=2, tensor=2))
  monkeypatch.undo()
  assert all(kind is np.ndarray and where is not None for kind, where in put)
  width = case.TRANSFORMER.width
  blocks = "transformer/blocks"
  half = width // 2
  assert shards(model, f"{blocks}/attn1/to_q/kernel") == {(2, half, half)}
  assert shards(model, f"{blocks}/attn2/to_out/kernel") == {(2, half, half)}
  assert shards(model, f"{blocks}/ff/proj_in/kernel") == {(2, half, 2 * width)}
  assert shards(model, f"{blocks}/ff/proj_out/kernel") == {(2, 2 * width, half)}
  assert shards(model, f"{blocks}/attn1/to_q/bias") == {(2, width)}
  assert shards(model, "vae/decoder/conv_in/kernel") == {(3, 3, 3, 6, 8)}
  assert shards(model, "text_encoder/blocks/q/kernel") == {(1, 5, 2)}
  assert shards(model, "text_encoder/blocks/wo/kernel") == {(1, 4, 5)}


def test_heads_that_cannot_be_split_are_refused_before_weights_are_read(
  folder, monkeypatch
):
  monkeypatch.delattr(ltx_jax.releases.loading.lightricks, "load_checkpoint")
  with pytest.raises(ValueError, match="tensor = 4, but .* has 2 attention heads"):
    ltx_jax.load(folder, mesh=make_mesh(tensor=4))


def test_other_axes_are_refused(folder):
  mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
  with pytest.raises(ValueError, match="axes x; make one with .*make_mesh"):
    ltx_jax.load(folder, mesh=mesh)


def test_memory_is_planned_for_a_device(folder, monkeypatch):
  """Devices of a CPU share its memory, and each needs less."""
  memory = ltx_jax.pipeline.model.memory
  monkeypatch.setattr(memory, "free_memory", lambda device: 8 * 10**6)
  model = ltx_jax.load(folder, mesh=make_mesh(context=8), text_encoder=False)
  assert memory.free_beside(model.params) == 10**6
  canvas = Canvas.of(case.VAE, 5, 256, 256)
  alone = dataclasses.replace(model.policy, mesh=None)
  parts = [
    memory.plan(model.config, policy, 1, canvas, 2) for policy in (alone, model.policy)
  ]
  assert parts[1].denoise < parts[0].denoise / 2
  assert parts[1].decode < parts[0].decode / 2
