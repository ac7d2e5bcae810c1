"""The differences between CPU, GPU and TPU, as one named policy per platform.

Models are the same code everywhere. A policy says in which precision they compute,
which attention and convolution kernels they use, and whether buffers are donated. The
caller who builds a model passes it in; it is never read from `jax.devices()` while
tracing, so a program can be compiled for a machine that is not there.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, Literal

import jax
from jax.sharding import Mesh

Attention = Literal["xla", "cudnn", "splash"]
Convolution = Literal["direct", "measured"]
Dense = Literal["derived", "measured"]
Rotation = Literal["flip", "shift"]
Options = tuple[tuple[str, str], ...]

TRAINING_ROWS = ("data", "fsdp")
"""Axes of the mesh that shard rows in training, which has many rows."""


@dataclasses.dataclass(frozen=True)
class Policy:
  """How a platform runs the networks.

  Attributes:
    name: The platform, as `jax.default_backend()` names it.
    dtype: Compute dtype of matmuls and convolutions, and of weights when sampling.
    attention: `xla` works in chunks of queries; `cudnn` is the fused kernel of GPUs,
      `splash` that of TPUs.
    convolution: `direct` is XLA's 3-D convolution; `measured` picks, per shape, the
      form that was fastest on a CPU (see `models.convolution`).
    dense: `derived` leaves gradients of dense layers to JAX; `measured` computes them
      as the products that are fastest on a CPU (see `models.linear`).
    rotation: How rotary embedding finds the other channel of a pair (`models.rope`).
    unroll: Whether the scanned blocks of VAE and transformer are unrolled; those of the
      text encoder, which runs once per prompt, never are. XLA's CPU backend runs the
      gradient of a convolution 30 to 90 times slower inside a loop than outside, and
      the transformer 1.2 times; elsewhere a loop costs nothing and compiles faster.
    donate: Whether compiled steps reuse their inputs' buffers.
    compiler_options: Extra options for XLA in sampling. On a CPU they order operations
      to save memory: a velocity of 2B takes 0.03 GB instead of 0.11. They also turn off
      YNNPACK, which takes a tenth more time for the small model's steps and a sixth
      more for VAEs than XLA's own loops.
    mesh_options: Further options for XLA if there is a mesh. On TPUs sharded weights
      are gathered before they are multiplied, and buffers are laid out in an order that
      leaves few gaps.
    step_options: Options for XLA for a training step. On TPUs the weights of a mesh are
      gathered, and gradients summed, with each number sent once. On a CPU they make
      compilation faster where the result runs as fast.
    mesh: Devices that work together on one program (`parallel.mesh.make_mesh`,
      `models.sharded`); None uses a single device.
    rows: Axes of the mesh that shard clips and the rows of a batch. Sampling has few
      rows, so there `fsdp` shards tokens instead.
  """

  name: str
  dtype: Literal["float32", "bfloat16", "float16"]
  attention: Attention
  convolution: Convolution
  dense: Dense = "derived"
  rotation: Rotation = "flip"
  unroll: bool = False
  donate: bool = True
  compiler_options: Options = ()
  mesh_options: Options = ()
  step_options: Options = ()
  mesh: Mesh | None = None
  rows: tuple[str, ...] = ("data",)

  def in_dtype(self, dtype: str) -> Policy:
    """Returns the policy with another compute dtype, and attention that supports it."""
    # cuDNN supports only 16 bits, and a TPU's kernel multiplies float32 in 16 bits.
    attention = "xla" if dtype == "float32" else self.attention
    return dataclasses.replace(self, dtype=dtype, attention=attention)

  def for_training(self, mesh: Mesh) -> Policy:
    """Returns the policy of training steps over a mesh; a single device needs no mesh.

    Rows are sharded over `fsdp` as well.
    """
    over = mesh if mesh.size > 1 else None
    return dataclasses.replace(self, mesh=over, rows=TRAINING_ROWS)

  @property
  def options(self) -> dict[str, str]:
    """XLA options for compiling a sampling program."""
    return dict(self.compiler_options + (self.mesh_options if self.mesh else ()))

  @property
  def training_options(self) -> dict[str, str]:
    """XLA options for compiling a training step."""
    return dict(self.step_options + (self.mesh_options if self.mesh else ()))

  @property
  def reads_tokens_last(self) -> bool:
    """Whether attention reads keys and values as [b k x m], like the TPU's kernel."""
    return self.attention == "splash"

  @property
  def stream(self) -> str:
    """Dtype of the transformer's residual stream, and of what is added to it.

    Released models were trained in bfloat16, and float16 lacks its range: the stream is
    an unbounded sum over all blocks. Inputs of products are normed, so they fit.
    """
    return "float32" if self.dtype == "float16" else self.dtype


_SAVE_MEMORY = ("xla_cpu_scheduler_type", "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED")
_NO_YNNPACK = ("xla_cpu_experimental_ynn_fusion_type", "")
# LLVM at its first level: the small model's steps were measured to run as fast, and
# compile in three quarters of the time.
COMPILE_FAST = ("xla_backend_optimization_level", "1")
# Steps have hundreds of small loops. Those of a VAE compile in half the time without
# MLIR; later versions of XLA no longer have this option.
_NO_MLIR: Options = ()
if jax.__version_info__ < (0, 11):
  _NO_MLIR = (("xla_cpu_use_fusion_emitters", "False"),)

CPU = Policy(
  "cpu",
  "float32",
  "xla",
  "measured",
  "measured",
  unroll=True,
  compiler_options=(_SAVE_MEMORY, _NO_YNNPACK),
  step_options=(_NO_YNNPACK, COMPILE_FAST, *_NO_MLIR),
)
GPU = Policy("gpu", "bfloat16", "cudnn", "direct")
T4 = Policy("gpu", "float16", "xla", "direct")
"""Policy of GPUs before compute capability 8.0, which have neither bfloat16 nor cuDNN's
fused attention. Their float16 products are summed in float32."""
# Over eight chips XLA would multiply by each chip's part of a weight in turn, in a loop
# with two thirds more work and seven times the traffic (2B, fsdp=8, compiled).
_GATHER_FIRST = ("xla_jf_spmd_threshold_for_windowed_einsum_mib", "1000000")

# A heuristic packs buffers into memory and leaves gaps, in an order that depends on
# this number. Of those tried, 0 to 7 and 42, this one leaves the fewest: for 2B over
# four chips, temporaries take 0.21 GB instead of 0.34 in the default order.
_PACK_WELL = ("xla_tpu_buffer_assignment_randomization_salt", "1")

# Over all three sides of a torus the compiler gathers weights by a sum over all chips,
# which sends each number twice, unless gathers overlap with products. It also sums
# whole gradients on every chip, although each chip keeps only its own part, unless the
# sparse cores scatter them. With these options a step of 13B on 64 chips sends 86 GB.
# Four of its blocks sent 14.8 GB without and 7.4 GB with them (compiled, with one more
# option).
_SENT_ONCE = tuple(
  (f"xla_{name}", "true")
  for name in (
    "enable_async_all_gather",
    "tpu_prefer_async_allgather_to_allreduce",
    "tpu_enable_async_collective_fusion",
    "tpu_enable_async_collective_fusion_fuse_all_gather",
    "tpu_enable_sparse_core_collective_offload_reduce_scatter",
    "tpu_enable_sparse_core_collective_offload_nd_reduce_scatter",
  )
)

TPU = Policy(
  "tpu",
  "bfloat16",
  "splash",
  "direct",
  rotation="shift",
  mesh_options=(_GATHER_FIRST, _PACK_WELL),
  step_options=_SENT_ONCE,
)

POLICIES = {policy.name: policy for policy in (CPU, GPU, TPU)}


def unless_flagged(options: Mapping[str, str]) -> dict[str, str]:
  """Drops options that XLA_FLAGS sets, so that the user's flags win."""
  flags = os.environ.get("XLA_FLAGS", "")
  return {name: value for name, value in options.items() if f"--{name}=" not in flags}


def policy_for(platform: str, capability: str | None = None) -> Policy:
  """Returns the policy of `platform` ("cpu", "gpu" or "tpu").

  Args:
    capability: Compute capability of an NVIDIA GPU as its device reports it, such as
      "7.5".

  Raises:
    ValueError: If the name is another one.
  """
  if platform not in POLICIES:
    raise ValueError(
      f"No policy for platform {platform!r}; known are {', '.join(POLICIES)}."
    )
  major = (capability or "").split(".")[0]  # Other makers' GPUs have names there.
  if platform == "gpu" and major.isdecimal() and int(major) < 8:
    return T4
  return POLICIES[platform]


def policy_of(device: Any) -> Policy:
  """Returns the policy of a JAX device; see `policy_for`."""
  return policy_for(device.platform, getattr(device, "compute_capability", None))
