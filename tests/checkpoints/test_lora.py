import dataclasses
import json

import ml_dtypes
import numpy as np
import pytest

import ltx_jax
from ltx_jax.checkpoints import diffusers, lightricks
from ltx_jax.checkpoints.lora import WRITERS, Update, merge, read_loras
from ltx_jax.checkpoints.safetensors_io import write_safetensors
from ltx_jax.checkpoints.trees import flatten, nest
from ltx_jax.config.lora import LAYERS, LoRAConfig
from ltx_jax.training import lora as training
from tests.checkpoints import folders, small

CONFIG = small.TRANSFORMER  # Width 24, 3 layers, 8 channels.
SHAPES = {
  "transformer_blocks.1.attn1.to_q": (24, 24),
  "transformer_blocks.2.attn2.to_out.0": (24, 24),
  "transformer_blocks.0.ff.net.0.proj": (24, 96),
  "proj_out": (24, 8),
}


def pairs(shapes=SHAPES, rank=2, seed=0):
  """A and B of every layer, by its name."""
  rng = np.random.default_rng(seed)
  draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
  return {name: (draw(rank, i), draw(o, rank)) for name, (i, o) in shapes.items()}


def write(path, tensors, **metadata):
  listed = [(k, v.shape, v.dtype, lambda v=v: v) for k, v in tensors.items()]
  write_safetensors(path, listed, metadata)
  return path


def as_file(path, prefix, sides, layers=None, **metadata):
  """Writes pairs under a prefix, with the names that a layout gives A and B."""
  tensors = {
    f"{prefix}{name}.{side}.weight": half
    for name, halves in (layers or pairs()).items()
    for side, half in zip(sides, halves, strict=True)
  }
  return write(path, tensors, **metadata)


def deltas(loras, config=CONFIG):
  """Returns what LoRAs add to kernels of zeros, by path and layer."""
  found = {}
  for path, updates in read_loras(loras, config).items():
    for update in updates:
      halves = update.down.shape[1], update.up.shape[0]
      kernel = np.zeros(halves, np.float32)
      merge(kernel, [update._replace(layer=None)])
      found[path.removeprefix("transformer/"), update.layer] = kernel
  return found


@pytest.mark.parametrize(
  ("prefix", "sides"),
  [
    ("transformer.", ("lora_A", "lora_B")),
    ("transformer.", ("lora.down", "lora.up")),
    ("diffusion_model.", ("lora_A", "lora_B")),
    ("diffusion_model.", ("lora_down", "lora_up")),
    ("base_model.model.", ("lora_A.default", "lora_B.default")),
    ("", ("lora_A", "lora_B")),
  ],
)
def test_every_layout_means_the_same(tmp_path, prefix, sides):
  path = as_file(tmp_path / "x.safetensors", prefix, sides)
  found = deltas([(path, 0.5)])
  expected = {name: 0.5 * (b @ a).T for name, (a, b) in pairs().items()}
  places = (
    ("blocks/attn1/to_q/kernel", 1),
    ("blocks/attn2/to_out/kernel", 2),
    ("blocks/ff/proj_in/kernel", 0),
    ("proj_out/kernel", None),
  )
  assert found.keys() == set(places)
  for name, place in zip(SHAPES, places, strict=True):
    np.testing.assert_allclose(found[place], expected[name], rtol=1e-5, atol=1e-6)


def test_names_outside_the_blocks_are_official_or_of_diffusers(tmp_path):
  for official, theirs in (
    ("patchify_proj", "proj_in"),
    ("adaln_single.linear", "time_embed.linear"),
  ):
    shape = (8, 24) if official == "patchify_proj" else (24, 144)
    found = []
    for name in (official, theirs):
      path = tmp_path / f"{name}.safetensors"
      layers = pairs({name: shape})
      found.append(deltas([(as_file(path, "", ("lora_A", "lora_B"), layers), 1.0)]))
    assert found[0].keys() == found[1].keys() and len(found[0]) == 1
    for place in found[0]:
      np.testing.assert_array_equal(found[0][place], found[1][place])


def test_alpha_is_a_tensor_or_in_the_metadata(tmp_path):
  (name, (a, b)), *_ = pairs().items()
  base = {f"diffusion_model.{name}.lora_down.weight": a}
  base[f"diffusion_model.{name}.lora_up.weight"] = b
  path = tmp_path / "x.safetensors"

  def scale(tensors=base, **settings):
    metadata = {"lora_adapter_metadata": json.dumps(settings)} if settings else {}
    write(path, tensors, **metadata)
    ((updates,),) = [read_loras([(path, 1.0)], CONFIG).values()]
    return updates[0].scale

  assert scale() == 1
  tensor = {f"diffusion_model.{name}.alpha": np.asarray(8.0, np.float32)}
  assert scale(base | tensor) == 8 / 2
  assert scale(**{"transformer.lora_alpha": 6, "transformer.r": 2}) == 3
  assert scale(lora_alpha=6, alpha_pattern={"attn1.to_q": 10}) == 5
  assert scale(lora_alpha=6, alpha_pattern={"attn2.to_q": 10}) == 3
  assert scale(lora_alpha=6, use_rslora=True) == pytest.approx(6 / 2**0.5)
  with pytest.raises(ValueError, match="is a DoRA"):
    scale(use_dora=True)


def test_numbers_that_are_none_are_refused_by_file_and_layer(tmp_path):
  layer = "transformer_blocks.1.attn1.to_q"
  bad = {layer: tuple(np.full_like(half, np.nan) for half in pairs()[layer])}
  path = as_file(tmp_path / "a.safetensors", "", ("lora_A", "lora_B"), bad)
  with pytest.raises(
    ValueError, match=f"a.safetensors has NaN .* for {layer}.weight; "
  ):
    read_loras([(path, 1.0)], CONFIG)


def test_merging_rounds_once_and_works_in_place():
  rng = np.random.default_rng(0)
  stack = rng.standard_normal((3, 4, 5)).astype(ml_dtypes.bfloat16)
  before = stack.copy()
  down = rng.standard_normal((2, 4)).astype(np.float32)
  up = rng.standard_normal((5, 2)).astype(np.float32)
  merge(stack, [Update(1, down, up, 0.3), Update(1, down, up, -0.1)])
  for layer in (0, 2):
    np.testing.assert_array_equal(stack[layer], before[layer])
  expected = before[1].astype(np.float32) + np.float32(0.2) * (up @ down).T
  error = np.abs(stack[1].astype(np.float32) - expected)
  assert (error <= 2.0**-8 * np.abs(expected) + 1e-6).all()


@pytest.mark.parametrize(
  "layout", ["lightricks", pytest.param("diffusers", marks=pytest.mark.slow)]
)
def test_load_merges_several(tmp_path, layout):
  path, config = tmp_path / "model.safetensors", folders.config(newer=True)
  writer = diffusers if layout == "diffusers" else lightricks
  writer.save_checkpoint(path, config, folders.params(config))
  width = config.transformer.width
  name = "transformer_blocks.1.attn1.to_q"
  files, added = [], 0
  for seed, strength in ((1, 0.5), (2, -2.0)):
    layers = pairs({name: (width, width)}, seed=seed)
    file = tmp_path / f"{seed}.safetensors"
    as_file(file, "diffusion_model.", ("lora_A", "lora_B"), layers)
    files.append((file, strength))
    a, b = layers[name]
    added = added + strength * (b @ a).T
  plain, changed = ltx_jax.load(path), ltx_jax.load(path, loras=files)
  before, after = flatten(plain.params), flatten(changed.params)
  touched = "transformer/blocks/attn1/to_q/kernel"
  for key, array in before.items():
    expected = np.array(array)
    if key == touched:
      expected[1] += added
    np.testing.assert_allclose(after[key], expected, rtol=1e-5, atol=1e-5, err_msg=key)


def test_files_that_do_not_fit_are_refused(tmp_path):
  path = tmp_path / "x.safetensors"
  sides = ("lora_A", "lora_B")

  def refused(message, layers, prefix="transformer."):
    as_file(path, prefix, sides, layers)
    with pytest.raises(ValueError, match=message):
      read_loras([(path, 1.0)], CONFIG)

  other = {"double_blocks.0.img_attn.qkv": (24, 24)}
  refused(r"x.safetensors has nothing for a transformer of 3 layers", pairs(other))
  refused("2 of 10 tensors that belong to no layer", pairs(SHAPES | other))
  refused("has nothing for", pairs(), prefix="text_encoder.")
  deep = {"transformer_blocks.3.attn1.to_q": (24, 24)}
  refused("2 of 10 tensors that belong to no layer", pairs(SHAPES | deep))
  wide = {"transformer_blocks.0.attn1.to_q": (48, 48)}
  refused(r"A \(2, 48\) and B \(48, 2\); a layer from 24 to 24", pairs(wide))
  (name, (a, b)), *_ = pairs().items()
  write(path, {f"{name}.lora_A.weight": a})
  with pytest.raises(ValueError, match="but not the other half of it"):
    read_loras([(path, 1.0)], CONFIG)
  both = {f"{name}.lora_A.weight": a, f"transformer.{name}.lora_down.weight": a}
  write(path, both | {f"{name}.lora_B.weight": b})
  with pytest.raises(ValueError, match="has a second tensor like"):
    read_loras([(path, 1.0)], CONFIG)
  write(path, {f"{name}.lora_A.weight": a.astype(np.int8), f"{name}.lora_B.weight": b})
  with pytest.raises(ValueError, match="as int8, not floating point"):
    read_loras([(path, 1.0)], CONFIG)
  with pytest.raises(ValueError, match="strength of .* is nan; give a finite number"):
    read_loras([(path, float("nan"))], CONFIG)
  as_file(path, "transformer.", sides, lora_adapter_metadata="{")
  with pytest.raises(ValueError, match="that is not JSON"):
    read_loras([(path, 1.0)], CONFIG)


def test_a_checkpoint_without_a_transformer_takes_no_lora(tmp_path):
  config = dataclasses.replace(small.CONFIG, transformer=None)
  path = tmp_path / "vae.safetensors"
  lightricks.save_checkpoint(path, config, small.params())
  with pytest.raises(ValueError, match="has no transformer, which a LoRA needs"):
    ltx_jax.load(path, loras=[(tmp_path / "x.safetensors", 1.0)])


@pytest.mark.parametrize("reader", WRITERS)
def test_what_was_trained_is_written_and_read_back(tmp_path, reader):
  config = LoRAConfig(rank=3, alpha=1.5, layers=LAYERS)
  rng = np.random.default_rng(0)
  flat = {}
  for layer, (stack, n_in, n_out) in training.layers(CONFIG, config).items():
    flat[f"{layer}/lora_down"] = rng.standard_normal((stack, n_in, 3), np.float32)
    flat[f"{layer}/lora_up"] = rng.standard_normal((stack, 3, n_out), np.float32)
  path = tmp_path / "lora.safetensors"
  WRITERS[reader](path, nest(flat), CONFIG, config, {"steps": "7"})
  found = deltas([(path, 1.0)])
  assert len(found) == 10 * CONFIG.num_layers  # Two attentions of four, and two.
  for (kernel, layer), change in found.items():
    name = kernel.removesuffix("/kernel")
    down, up = flat[f"{name}/lora_down"][layer], flat[f"{name}/lora_up"][layer]
    np.testing.assert_allclose(change, 0.5 * down @ up, rtol=1e-5, atol=1e-5)
