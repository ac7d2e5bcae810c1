"""The two-way map between the tensors of the official file and our parameter trees.

Each network's map is a list of `Entry`, derived from its config: the official name and
shape of a tensor, its path in our tree, its axis order there, and its layer in a stack.
Reading, writing, and the required shapes of a tree all follow from this one list.

    transformer_blocks.3.attn1.to_q.weight (out, in)
      = blocks/attn1/to_q/kernel[3] (in, out)
    encoder.conv_in.conv.weight (out, in, t, h, w)
      = encoder/conv_in/kernel (t, h, w, in, out)

Source: the state dicts of the PyTorch original (`Transformer3DModel`,
`CausalVideoAutoencoder`); the tests hold manifests of them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Shaped

from ltx_jax.config import Block, TransformerConfig, VAEConfig

Shape = tuple[int, ...]
NpArray = Shaped[np.ndarray, "..."]

PREFIXES = {"transformer": "model.diffusion_model.", "vae": "vae."}
# Prefixes of keys in a file that holds one network alone, without the network's prefix.
MODULES = {
  "transformer": (
    "transformer_blocks",
    "patchify_proj",
    "proj_out",
    "adaln_single",
    "caption_projection",
    "scale_shift_table",
  ),
  "vae": (
    "encoder",
    "decoder",
    "quant_conv",
    "post_quant_conv",
    "latent_norm_out",
    "per_channel_statistics",
  ),
}
TIMESTEP_CHANNELS = 256  # Channels of the sinusoid; the original fixes them.

STATISTICS = "per_channel_statistics."
# Tensors in the official files that nothing uses.
IGNORED = (
  f"{STATISTICS}channel",
  f"{STATISTICS}mean-of-stds",
  f"{STATISTICS}mean-of-stds_over_std-of-means",
  "latent_norm_out.num_batches_tracked",
)
MEAN_OF_MEANS = f"{STATISTICS}mean-of-means"  # Zeros if a file lacks it.
# Measured, not trained: float32 in memory and in files, whatever the weights are.
MEASURED = ("per_channel_statistics/", "latent_norm_out/")
_RENAMED = {
  ".resnets.": ".res_blocks.",
  "downsamplers.0": "downsample",
  "upsamplers.0": "upsample",
}


@dataclasses.dataclass(frozen=True)
class Layout:
  """An axis order: `axes[k]` is the official axis that becomes our axis k.

  Attributes:
    axes: The permutation of the first `len(axes)` axes; None keeps the order.
    trailing: Number of axes of length 1 at the end of the official shape, which ours
      lacks.
  """

  axes: tuple[int, ...] | None = None
  trailing: int = 0

  def shape(self, official: Shape) -> Shape:
    """Returns our shape of a tensor that has shape `official` in the file."""
    kept = official[: len(official) - self.trailing]
    return kept if self.axes is None else tuple(kept[a] for a in self.axes)

  def view(self, array: NpArray) -> NpArray:
    """Returns a view, in our order, of an array in the file's order."""
    array = array.reshape(array.shape[: array.ndim - self.trailing])
    return array if self.axes is None else array.transpose(self.axes)

  def official_view(self, array: NpArray) -> NpArray:
    """Returns a view, in the file's order, of an array in our order."""
    if self.axes is not None:
      array = array.transpose(np.argsort(self.axes))
    return array.reshape(array.shape + (1,) * self.trailing)


SAME = Layout()
DENSE = Layout((1, 0))  # (out, in) -> (in, out)
CONV = Layout((2, 3, 4, 1, 0))  # (out, in, t, h, w) -> (t, h, w, in, out)
FRAME_CONV = Layout((2, 3, 1, 0))  # (out, in, h, w) -> (h, w, in, out)
COLUMN = Layout(trailing=2)  # (c, 1, 1) -> (c,)


@dataclasses.dataclass(frozen=True)
class Entry:
  """One tensor of the official file and its place in our tree.

  Attributes:
    key: Official name, without the network's prefix.
    path: Path of its array in our tree, with slashes.
    shape: Official shape.
    layout: Axis order in our tree.
    layer: Index in the stack; None if the array is not a stack.
    layers: Depth of the stack.
  """

  key: str
  path: str
  shape: Shape
  layout: Layout = SAME
  layer: int | None = None
  layers: int = 0

  @property
  def our_shape(self) -> Shape:
    """The shape of the array at `path`, stack axis included."""
    shape = self.layout.shape(self.shape)
    return shape if self.layer is None else (self.layers, *shape)


Entries = Iterator[Entry]


def by_path(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
  """Groups entries by the array that they form, layers in order."""
  groups: dict[str, list[Entry]] = {}
  for entry in entries:
    groups.setdefault(entry.path, []).append(entry)
  return groups


def tree_shapes(entries: Iterable[Entry]) -> dict[str, Shape]:
  """Returns the path and shape of every array of the tree that `entries` describe."""
  return {path: group[0].our_shape for path, group in by_path(entries).items()}


def vae_key(key: str) -> str:
  """Returns the current name of a VAE's tensor that an older file names differently."""
  for old, new in _RENAMED.items():
    key = key.replace(old, new)
  return key


def stray_norms(found: Iterable[str], entries: Iterable[Entry]) -> set[str]:
  """Returns the keys that the original ignores: those of norms that its VAE lacks.

  Such a key contains "norm", and the module it belongs to does not exist. Norms without
  parameters do exist, so their keys are not ignored.
  """
  modules = set()
  for entry in entries:
    parts = entry.key.split(".")
    modules |= {".".join(parts[:n]) for n in range(1, len(parts))}
    if entry.key.endswith(".conv1.conv.weight"):
      block = entry.key.removesuffix(".conv1.conv.weight")
      modules |= {f"{block}.norm{n}" for n in (1, 2, 3)}
  modules |= {"encoder.conv_norm_out", "decoder.conv_norm_out", "latent_norm_out"}
  return {k for k in found if "norm" in k and k.rpartition(".")[0] not in modules}


def _under(entries: Iterable[Entry], key: str, path: str) -> Entries:
  """Puts entries below the module `key` of the file and the node `path` of the tree."""
  for entry in entries:
    yield dataclasses.replace(
      entry, key=f"{key}.{entry.key}", path=f"{path}/{entry.path}"
    )


def stacked(entries: Iterable[Entry], layers: int, key: str, path: str) -> Entries:
  """Repeats one layer's entries as `key`.0, `key`.1, ..., stacked below `path`."""
  layer_entries = list(entries)
  for layer in range(layers):
    for entry in _under(layer_entries, f"{key}.{layer}", path):
      yield dataclasses.replace(entry, layer=layer, layers=layers)


def _dense(key: str, name: str, n_in: int, n_out: int, bias: bool = True) -> Entries:
  yield Entry(f"{key}.weight", f"{name}/kernel", (n_out, n_in), DENSE)
  if bias:
    yield Entry(f"{key}.bias", f"{name}/bias", (n_out,))


def _conv(key: str, name: str, n_in: int, n_out: int, size: int = 3) -> Entries:
  shape = (n_out, n_in, size, size, size)
  yield Entry(f"{key}.weight", f"{name}/kernel", shape, CONV)
  yield Entry(f"{key}.bias", f"{name}/bias", (n_out,))


def _two_dense(name: str, n_in: int, n_out: int) -> Entries:
  """Returns linear_1 and linear_2 of a timestep embedder or a caption projection."""
  layers = [
    *_dense("linear_1", "linear_1", n_in, n_out),
    *_dense("linear_2", "linear_2", n_out, n_out),
  ]
  return _under(layers, name, name.replace(".", "/"))


def _time_embedder(name: str, width: int) -> Entries:
  return _two_dense(f"{name}.timestep_embedder", TIMESTEP_CHANNELS, width)


def _attention(d: int, context: int, bias: bool, qk_norm: bool) -> Entries:
  for name, n_in in (("to_q", d), ("to_k", context), ("to_v", context)):
    yield from _dense(name, name, n_in, d, bias)
  yield from _dense("to_out.0", "to_out", d, d)
  if qk_norm:
    for name in ("q_norm", "k_norm"):
      yield Entry(f"{name}.weight", f"{name}/scale", (d,))


def transformer_entries(config: TransformerConfig) -> list[Entry]:
  """Returns the map of the denoising transformer."""
  return list(_transformer(config))


def _transformer(config: TransformerConfig) -> Entries:
  d = config.width
  yield Entry("scale_shift_table", "scale_shift_table", (2, d))
  yield from _dense("patchify_proj", "patchify_proj", config.in_channels, d)
  yield from _dense("proj_out", "proj_out", d, config.out_channels)
  embedder = _time_embedder("emb", d)
  modulation = _dense("linear", "linear", d, 6 * d)
  yield from _under([*embedder, *modulation], "adaln_single", "adaln_single")
  yield from _two_dense("caption_projection", config.caption_channels, d)
  block = _transformer_block(config)
  yield from stacked(block, config.num_layers, "transformer_blocks", "blocks")


def _transformer_block(config: TransformerConfig) -> Entries:
  d = config.width
  bias, qk_norm = config.attention_bias, config.qk_norm is not None
  yield Entry("scale_shift_table", "scale_shift_table", (6, d))
  yield from _under(_attention(d, d, bias, qk_norm), "attn1", "attn1")
  cross = _attention(d, config.cross_attention_dim, bias, qk_norm)
  yield from _under(cross, "attn2", "attn2")
  yield from _under(_dense("net.0.proj", "proj_in", d, 4 * d), "ff", "ff")
  yield from _under(_dense("net.2", "proj_out", 4 * d, d), "ff", "ff")


def vae_entries(config: VAEConfig) -> list[Entry]:
  """Returns the map of the Video-VAE, per-channel statistics included."""
  return list(_vae(config))


def _vae(config: VAEConfig) -> Entries:
  yield from _under(_encoder(config), "encoder", "encoder")
  yield from _under(_decoder(config), "decoder", "decoder")
  c = config.latent_channels
  if config.use_quant_conv:
    yield from _conv("quant_conv", "quant_conv", 2 * c, 2 * c, size=1)
    yield from _conv("post_quant_conv", "post_quant_conv", c, c, size=1)
  if config.normalize_latent_channels:
    for name in ("mean", "var"):
      yield Entry(f"latent_norm_out.running_{name}", f"latent_norm_out/{name}", (c,))
  statistics = "per_channel_statistics"
  yield Entry(MEAN_OF_MEANS, f"{statistics}/mean", (c,))
  yield Entry(f"{STATISTICS}std-of-means", f"{statistics}/std", (c,))


def _norm(name: str, channels: int, kind: str) -> Entries:
  if kind == "pixel_norm":
    return
  key = f"{name}.norm" if kind == "layer_norm" else name
  yield Entry(f"{key}.weight", f"{name}/scale", (channels,))
  yield Entry(f"{key}.bias", f"{name}/bias", (channels,))


def _resnet(
  config: VAEConfig, c: int, out: int, conditioned: bool = False, noise: bool = False
) -> Entries:
  yield from _norm("norm1", c, config.norm_layer)
  yield from _conv("conv1.conv", "conv1", c, out)
  yield from _norm("norm2", out, config.norm_layer)
  yield from _conv("conv2.conv", "conv2", out, out)
  if noise:
    for name in ("per_channel_scale1", "per_channel_scale2"):
      yield Entry(name, name, (c, 1, 1), COLUMN)
  if c != out:
    yield from _conv("conv_shortcut", "conv_shortcut", c, out, size=1)
    yield from _norm("norm3", c, "layer_norm")
  if conditioned:
    yield Entry("scale_shift_table", "scale_shift_table", (4, c))


def _stage(config: VAEConfig, block: Block, c: int, conditioned: bool) -> Entries:
  """Returns the entries of a `res_x` or `attn_res_x` stage."""
  if conditioned:
    yield from _time_embedder("time_embedder", 4 * c)
  resnet = _resnet(config, c, c, conditioned, block.inject_noise)
  yield from stacked(resnet, block.num_layers, "res_blocks", "res_blocks")
  if block.attention_head_dim is not None:
    attention = _attention(c, c, bias=True, qk_norm=True)
    path = "res_blocks/attention"  # Scanned with the residual block that it follows.
    yield from stacked(attention, block.num_layers, "attention_blocks", path)


def _encoder(config: VAEConfig) -> Entries:
  c = config.encoder_base_channels
  yield from _conv("conv_in.conv", "conv_in", config.in_channels * _area(config), c)
  for i, block in enumerate(config.encoder_blocks):
    entries = _down(config, block, c)
    yield from _under(entries, f"down_blocks.{i}", f"down_blocks_{i}")
    c = block.channels_down(c)
  yield from _norm("conv_norm_out", c, config.norm_layer)
  yield from _conv("conv_out.conv", "conv_out", c, config.moment_channels)


def _down(config: VAEConfig, block: Block, c: int) -> Entries:
  """Returns the entries of an encoder's block whose input has c channels."""
  out = block.channels_down(c)
  if block.name == "attn_res_x":
    raise ValueError("An encoder has no 'attn_res_x' blocks; use 'res_x'.")
  if block.kind == "stage":
    plain = dataclasses.replace(block, inject_noise=False)
    return _stage(config, plain, c, conditioned=False)
  if block.kind == "resnet":
    return _resnet(config, c, out)
  if block.kind == "shuffle":
    return _conv("conv.conv", "conv", c, out // math.prod(block.strides))
  return _conv("conv", "conv", c, out)


def _decoder(config: VAEConfig) -> Entries:
  blocks = tuple(reversed(config.decoder_blocks))
  c = config.decoder_channels
  yield from _conv("conv_in.conv", "conv_in", config.latent_channels, c)
  for i, block in enumerate(blocks):
    entries = _up(config, block, c)
    yield from _under(entries, f"up_blocks.{i}", f"up_blocks_{i}")
    c = block.channels_up(c)
  yield from _norm("conv_norm_out", c, config.norm_layer)
  yield from _conv("conv_out.conv", "conv_out", c, config.out_channels * _area(config))
  if config.timestep_conditioning:
    yield Entry("timestep_scale_multiplier", "timestep_scale_multiplier", ())
    yield Entry("last_scale_shift_table", "last_scale_shift_table", (2, c))
    yield from _time_embedder("last_time_embedder", 2 * c)


def _up(config: VAEConfig, block: Block, c: int) -> Entries:
  """Returns the entries of a decoder's block whose input has c channels."""
  block.check_decoder()
  out = block.channels_up(c)
  if block.kind == "stage":
    return _stage(config, block, c, config.timestep_conditioning)
  if block.kind == "resnet":
    return _resnet(config, c, out, noise=block.inject_noise)
  return _conv("conv.conv", "conv", c, math.prod(block.strides) * out)


def _area(config: VAEConfig) -> int:
  return config.patch_size**2
