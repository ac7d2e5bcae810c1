"""The compiled programs of a sampling run, by stage, from shapes alone.

    text       prompts' tokens -> embeddings                       once a prompt
    keys       embeddings -> keys and values of all blocks         once a run
    denoise    one step, its branches of guidance in one batch     every step
    decode     latents -> video, whole                             once a run
    tiled      the same, first stages and then tiles               where memory is short

Nothing is allocated: weights are shapes, in the dtype that a policy loads them in, on
devices that need not be there (`devices`). Over a policy's mesh every argument is split
as it is when a model is sampled: weights as they are loaded, the text's keys and values
and the tables of positions as the programs before leave them, and all else whole.
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
"""How an array of a shape lies over a mesh."""

STAGES = ("text", "keys", "denoise", "decode", "tiled")


def _whole(mesh: Mesh, shape: tuple[int, ...]) -> PartitionSpec:
  """Every device has all of it."""
  return PartitionSpec()


@dataclasses.dataclass(frozen=True)
class Stage:
  """A program that is to be compiled.

  Attributes:
    name: Name of the stage.
    program: The compiled function, to be lowered.
    arguments: Shapes of its arguments.
    minimum: Floating-point operations that its mathematics takes, by formula: of one
      device, its share.
    tokens: Video tokens, where the stage attends to them.
    queries: Video tokens that are a device's own.
    heads: Heads of its attention that are a device's own.
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
    """Compiles it for the device that its arguments are on."""
    return self.program.lower(*self.arguments, **self.keywords).compile()


@dataclasses.dataclass(frozen=True)
class SamplingRun:
  """What is sampled, and where.

  Attributes:
    config: Config of the networks; a text encoder that it lacks is T5-XXL.
    policy: How they run, and over which mesh.
    device: What programs are compiled for where there is no mesh; None: what JAX runs
      on.
    canvas: The size.
    branches: Number of branches of guidance that a step evaluates: 1 plain, 2 with
      classifier-free guidance, 3 with spatiotemporal guidance as well.
    clips: Number of clips at a time.
    params: Parameters of a model that is loaded; None takes the shapes that they
      would have.
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
    """Config of the text encoder; T5-XXL's where the model's config has none."""
    return self.config.text_encoder or TextEncoderConfig()

  @property
  def texts(self) -> int:
    """Texts of a batch: with guidance an empty one beside each prompt."""
    return self.clips * (2 if self.branches > 1 else 1)

  def share(self, flops: int) -> int:
    """Returns what each device does of some work where they share it evenly."""
    mesh = self.policy.mesh
    return flops if mesh is None else flops // mesh.size

  def place(self, tree: Any, split: Split = _whole) -> Any:
    """Returns shapes on the devices, each split as is said; whole otherwise."""
    mesh = self.policy.mesh
    if mesh is None and self.device is not None:
      mesh, split = Mesh(np.array([self.device]), ("device",)), _whole

    def shape(x: Any) -> jax.ShapeDtypeStruct:
      spec = None if mesh is None else NamedSharding(mesh, split(mesh, x.shape))
      return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=spec)

    return jax.tree.map(shape, tree)

  def weights(self, part: str, init: Callable[[jax.Array], Params]) -> Params:
    """Returns a network's parameters as programs are called with them."""
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
    """Numbers of a step with all the branches that there are."""
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
  """Yields what is compiled, in the order that it runs in.

  Args:
    run: What is sampled, and where.
    names: Names of the stages to compile, from `STAGES`.
    memory: Bytes that the tiled decode may take; None: half of the whole decode's.

  Raises:
    ValueError: where the VAE cannot be tiled.
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
  """Shapes as they are loaded: floats in another dtype."""

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
  """Keys and values of the text for every block."""
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
  """The decoder in tiles: two programs, of which the first has freed its own.

  Raises:
    ValueError: where the VAE cannot be tiled.
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
