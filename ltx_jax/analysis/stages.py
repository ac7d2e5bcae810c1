"""The compiled programs of a sampling run, by stage, from shapes alone.

    text       tokens of prompts -> embeddings                     once per prompt
    keys       embeddings -> keys and values of all blocks         once per run
    denoise    one step, its branches of guidance in one batch     every step
    decode     latents -> video, whole                             once per run
    tiled      the same, first stages and then tiles               if memory is short

Nothing is allocated: weights are shapes, in the dtype in which a policy loads them, on
devices that need not exist (`devices`). With a mesh, every argument is sharded as in
sampling: weights as they are loaded; the text's keys and values, and the position
tables, as the previous programs leave them; everything else is replicated.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ltx_jax import programs
from ltx_jax.config import ModelConfig, TextEncoderConfig
from ltx_jax.diffusion.branches import Setting, guidance_of
from ltx_jax.diffusion.sampler import Context, Control
from ltx_jax.models import text_encoder, transformer, vae
from ltx_jax.models.sharded import (
  devices_of,
  padded_tokens,
  parts_of_stream,
  positions_spec,
  text_spec,
)
from ltx_jax.models.tiles import Tiles
from ltx_jax.models.transformer import TextState
from ltx_jax.parallel import sharding
from ltx_jax.planning import decoding, flops
from ltx_jax.platforms import Policy
from ltx_jax.programs.stacks import take_apart
from ltx_jax.sizes import Canvas
from ltx_jax.typing import Params

Split = Callable[[Mesh, tuple[int, ...]], PartitionSpec]
"""Returns the sharding over a mesh of an array of a shape."""

STAGES = ("text", "keys", "denoise", "decode", "tiled")


def _whole(mesh: Mesh, shape: tuple[int, ...]) -> PartitionSpec:
  """Replicates an array on every device."""
  return PartitionSpec()


@dataclasses.dataclass(frozen=True)
class Stage:
  """A program to compile.

  Attributes:
    name: Name of the stage.
    program: The jitted function to lower.
    arguments: Shapes of its arguments.
    minimum: Floating-point operations of the mathematics, by formula: the share of one
      device.
    tokens: Number of video tokens, if the stage attends to them.
    queries: Number of video tokens that a device holds itself.
    heads: Number of attention heads that a device holds itself.
    width: Width of its layers.
    keywords: Shapes of arguments that are passed by name.
  """

  name: str
  program: Callable
  arguments: tuple[Any, ...]
  minimum: int
  tokens: int | None = None
  queries: int = 0
  heads: int = 0
  width: int = 0
  keywords: dict[str, Any] = dataclasses.field(default_factory=dict)

  def compile(self) -> jax.stages.Compiled:
    """Compiles it for the devices of its arguments."""
    return self.program.lower(*self.arguments, **self.keywords).compile()


@dataclasses.dataclass(frozen=True)
class SamplingRun:
  """A sampling run to compile: networks, devices and sizes.

  Attributes:
    config: Config of the networks; T5-XXL replaces a missing text encoder.
    policy: How the networks run, and over which mesh.
    device: Device to compile for if there is no mesh; None takes the one that JAX runs
      on.
    canvas: The size.
    branches: Number of branches of guidance per step: 1 without guidance, 2 with
      classifier-free guidance, 3 with spatiotemporal guidance as well.
    clips: Number of clips in a batch.
    params: Parameters of a loaded model; None takes the shapes that they would have.
  """

  config: ModelConfig
  policy: Policy
  device: jax.Device | None
  canvas: Canvas
  branches: int
  clips: int = 1
  params: Params | None = None

  @property
  def grid(self) -> tuple[int, int, int]:
    """Frames, height and width of the latents."""
    return self.config.vae.latent_shape(*self.canvas.used)

  @property
  def text_config(self) -> TextEncoderConfig:
    """Config of the text encoder; that of T5-XXL if the model's config has none."""
    return self.config.text_encoder or TextEncoderConfig()

  @property
  def texts(self) -> int:
    """Number of texts in a batch: with guidance, an empty one for each prompt too."""
    return self.clips * (2 if self.branches > 1 else 1)

  def share(self, flops: int) -> int:
    """Returns the work of each device if they share some work evenly."""
    mesh = self.policy.mesh
    return flops if mesh is None else flops // mesh.size

  def place(self, tree: Any, split: Split = _whole) -> Any:
    """Returns shapes on the devices, sharded by `split`; replicated by default."""
    mesh = self.policy.mesh
    if mesh is None and self.device is not None:
      mesh, split = Mesh(np.array([self.device]), ("device",)), _whole

    def shape(x: Any) -> jax.ShapeDtypeStruct:
      spec = None if mesh is None else NamedSharding(mesh, split(mesh, x.shape))
      return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=spec)

    return jax.tree.map(shape, tree)

  def weights(self, part: str, init: Callable[[jax.Array], Params]) -> Params:
    """Returns a network's parameters as the programs take them."""
    if self.params is not None:
      params = self.params[part]
      if part != "text_encoder":
        params = take_apart(params, self.policy)
    else:
      params = _cast(jax.eval_shape(init, jax.random.key(0)), self.policy.dtype)
    if self.policy.mesh is None:
      return self.place(params)
    tree = {part: params}
    return sharding.abstract(tree, self.policy.mesh, sharding.RULES[part])[part]

  @property
  def setting(self) -> Setting:
    """Guidance settings of a step with `branches` branches."""
    perturbed = self.branches > 2
    return Setting(
      guidance=3.0 if self.branches > 1 else 1.0,
      star=False,
      stg=1.0 if perturbed else 0.0,
      rescale=0.7 if perturbed else 1.0,
      mode="attention_values",
      blocks=(self.config.transformer.num_layers - 1,),
    )


def stages(
  run: SamplingRun, names: tuple[str, ...], memory: int | None
) -> Iterator[Stage]:
  """Yields the stages to compile, in the order in which they run.

  Args:
    run: The sampling run.
    names: Names of the stages to compile, from `STAGES`.
    memory: Bytes that the tiled decode may use; None is half of the whole decode's.

  Raises:
    ValueError: If the VAE cannot be tiled.
  """
  if "text" in names:
    yield text(run)
  if "keys" in names:
    yield keys(run)
  if "denoise" in names:
    yield denoise(run)
  if "decode" in names:
    yield decode(run)
  if "tiled" in names:
    yield from tiled(run, memory)


def _cast(tree: Any, dtype: str) -> Any:
  """Returns shapes as they are loaded: floats in another dtype."""

  def cast(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    return x.update(dtype=jnp.dtype(dtype)) if floating else x

  return jax.tree.map(cast, tree)


def _numbers(*shape: int, dtype: Any = np.float32) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(shape, dtype)


def text(run: SamplingRun) -> Stage:
  """The text encoder, one prompt at a time, as `LTXVideo.encode_text` runs it."""
  config, length = run.text_config, run.text_config.max_text_tokens
  params = run.weights("text_encoder", functools.partial(text_encoder.init, config))
  inputs = run.place(
    (_numbers(1, length, dtype=np.int32), _numbers(1, length, dtype=bool))
  )
  program = programs.encode_text(config, run.policy)
  minimum = run.share(flops.text_encoder(config, length))
  return Stage("text", program, (params, *inputs), minimum)


def _text_inputs(run: SamplingRun) -> tuple[Any, Any]:
  length = run.text_config.max_text_tokens
  channels = run.config.transformer.caption_channels
  embeddings = _numbers(run.texts, length, channels, dtype=run.policy.dtype)
  return run.place((embeddings, _numbers(run.texts, length, dtype=bool)))


def _transformer_weights(run: SamplingRun) -> Params:
  init = functools.partial(transformer.init, run.config.transformer)
  return run.weights("transformer", init)


def keys(run: SamplingRun) -> Stage:
  """The keys and values of the text for every block."""
  config = run.config.transformer
  program = programs.text_state(config, run.policy)
  arguments = _transformer_weights(run), *_text_inputs(run)
  minimum = run.texts * flops.text_state(config, run.text_config.max_text_tokens)
  return Stage("keys", program, arguments, run.share(minimum))


def denoise(run: SamplingRun, setting: Setting | None = None) -> Stage:
  """One denoising step, by default with `run.branches` branches of guidance."""
  config, tokens = run.config.transformer, math.prod(run.grid)
  setting = setting or run.setting
  params = _transformer_weights(run)
  make_state = programs.text_state(config, run.policy)
  state = jax.eval_shape(make_state, params, *_text_inputs(run))
  keys_values = run.place((state.keys, state.values), text_spec)
  state = TextState(*keys_values, run.place(state.bias))
  make_tables = programs.positions(config, run.policy)
  tables = jax.eval_shape(make_tables, _numbers(1, tokens, 3))
  tables = run.place(tables, positions_spec)
  guidance = guidance_of(
    setting,
    clips=run.clips,
    layers=config.num_layers,
    unconditional_texts=run.branches > 1,
  )
  level = _numbers()
  x = _numbers(run.clips, tokens, config.in_channels)
  control = Control(level, level, jax.tree.map(jnp.asarray, guidance))
  rows = setting.branches * run.clips
  length = run.text_config.max_text_tokens
  tensor = devices_of(run.policy.mesh, ("tensor",))
  return Stage(
    "denoise",
    programs.step(config, run.policy),
    (Context(params, state, tables), *run.place((x, control)), None, None),
    run.share(rows * flops.denoise(config, tokens, length)),
    tokens,
    queries=padded_tokens(rows, tokens, run.policy)
    // parts_of_stream(run.policy, rows)[1],
    heads=config.num_attention_heads // tensor,
    width=config.width,
  )


def _decode_arguments(run: SamplingRun) -> tuple[Any, ...]:
  config = run.config.vae
  params = run.weights("vae", lambda key: vae.init_vae(key, config))
  latents = _numbers(run.clips, *run.grid, config.latent_channels)
  noise = latents if config.timestep_conditioning else None
  key = jax.eval_shape(lambda: jax.random.key(0))
  return params, *run.place((latents, _numbers(), noise, _numbers(), key))


def decode(run: SamplingRun) -> Stage:
  """The decoder, whole, to the uint8 video that `generate` returns."""
  config = run.config.vae
  minimum = run.share(run.clips * flops.decoder(config, *run.grid))
  program = programs.decode(config, run.policy, programs.to_uint8)
  named = {"tone_map": run.place(_numbers())}
  return Stage("decode", program, _decode_arguments(run), minimum, keywords=named)


def tiled(run: SamplingRun, memory: int | None) -> Iterator[Stage]:
  """The decoder in tiles: two programs; the first frees its memory before the second.

  Raises:
    ValueError: If the VAE cannot be tiled.
  """
  config = run.config.vae
  tiles = _tiles(run, memory)
  before, in_tiles = programs.tiled_decode(config, run.policy, tiles, programs.to_uint8)
  params, latents, sigma, noise, scale, key = _decode_arguments(run)
  arguments = params, latents, sigma, noise, scale, key
  cut = run.place(jax.eval_shape(before, *arguments))
  whole = run.clips * flops.decoder(config, *run.grid)
  layers, _, _ = decoding.walk_head(config, tiles.begin, run.grid)
  head = run.clips * sum(layer.flops for layer in layers)
  yield Stage("tiled decode, before", before, arguments, run.share(head))
  tail = params, cut, sigma, key
  yield Stage("tiled decode, tiles", in_tiles, tail, run.share(whole - head))


def _tiles(run: SamplingRun, memory: int | None) -> Tiles:
  config, policy = run.config.vae, run.policy
  if memory is None:
    memory = decoding.decode_bytes(config, policy, run.clips, run.grid) // 2
  tiles = decoding.choose(config, policy, run.clips, run.grid, free=memory)
  if tiles is None:
    raise ValueError(
      f"The whole decode fits in {memory / 1e9:.1f} GB, so there is nothing to tile; "
      "give less memory, or leave the tiled decode out."
    )
  return tiles
