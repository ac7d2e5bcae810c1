"""What differs between CPU, GPU and TPU, as one named policy a platform.

Models are the same code everywhere. A policy says in which precision they compute,
which attention and convolution kernels they use, and whether buffers are donated. It is
passed in by whoever builds a model, never read from `jax.devices()` while tracing, so a
program can be compiled for a machine that is not there.
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
"""Axes of the mesh that split rows in training, where there are many of them."""


@dataclasses.dataclass(frozen=True)
class Policy:
  """How a platform runs the networks.

  Attributes:
    name: The platform, as `jax.default_backend()` calls it.
    dtype: Compute dtype of matmuls and convolutions, and of weights when sampling.
    attention: `xla` works in chunks of queries; `cudnn` is the fused kernel of GPUs,
      `splash` that of TPUs.
    convolution: `direct` is XLA's 3-D convolution; `measured` picks, per shape, the
      form that was fastest on a CPU (see `models.convolution`).
    dense: `derived` leaves gradients of dense layers to JAX; `measured` has them as the
      products that a CPU is fastest at (see `models.linear`).
    rotation: How rotary embedding finds the other channel of a pair (`models.rope`).
    unroll: Whether the scanned blocks of VAE and transformer are unrolled; those of the
      text encoder, which runs once a prompt, never are. XLA's CPU backend runs the
      gradient of a convolution inside a loop 30 to 90 times slower than outside, and
      the transformer 1.2 times; elsewhere a loop costs nothing and compiles faster.
    donate: Whether compiled steps take over their inputs' buffers.
    compiler_options: What XLA is told beside, for sampling. On a CPU the order of
      operations that saves memory: of 2B, a velocity takes 0.03 GB where XLA's default
      takes 0.11. And not to multiply with YNNPACK, which does the small model's steps
      in a tenth more time and VAEs in a sixth more than XLA's own loops.
    mesh_options: What XLA is told as well where there is a mesh. On TPUs weights that
      are split are gathered before they are multiplied by, and buffers are laid in an
      order that leaves few gaps.
    step_options: What XLA is told of a training step. On TPUs weights of a mesh are
      gathered, and gradients summed, each number sent once. On a CPU it is to compile
      fast what runs as fast.
    mesh: Devices that work together on one program (`parallel.mesh.make_mesh`,
      `models.sharded`); None: one does it all.
    rows: Axes of the mesh that split clips and the rows of a batch. In sampling there
      are few of those, and `fsdp` splits tokens.
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
    """Returns the policy with another compute dtype, and attention that has it."""
    # cuDNN has halves only, and a TPU multiplies float32 in a kernel as halves.
    attention = "xla" if dtype == "float32" else self.attention
    return dataclasses.replace(self, dtype=dtype, attention=attention)

  def for_training(self, mesh: Mesh) -> Policy:
    """Returns the policy of steps over a mesh of training; a single device needs none.

    Its rows are split over `fsdp` as well.
    """
    over = mesh if mesh.size > 1 else None
    return dataclasses.replace(self, mesh=over, rows=TRAINING_ROWS)

  @property
  def options(self) -> dict[str, str]:
    """What XLA is told when a program for sampling is compiled."""
    return dict(self.compiler_options + (self.mesh_options if self.mesh else ()))

  @property
  def training_options(self) -> dict[str, str]:
    """What XLA is told when a training step is compiled."""
    return dict(self.step_options + (self.mesh_options if self.mesh else ()))

  @property
  def reads_tokens_last(self) -> bool:
    """Whether attention reads keys and values as [b k x m]: the TPU's kernel does."""
    return self.attention == "splash"

  @property
  def stream(self) -> str:
    """Dtype of the transformer's residual stream, and of what is added to it.

    Released models were trained in bfloat16, whose range float16 has not: the stream is
    a sum over all blocks, with nothing to bound it. What enters a product is normed.
    """
    return "float32" if self.dtype == "float16" else self.dtype


_SAVE_MEMORY = ("xla_cpu_scheduler_type", "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED")
_NO_YNNPACK = ("xla_cpu_experimental_ynn_fusion_type", "")
# LLVM at its first level: the small model's steps run as fast, measured, and compile
# in three quarters of the time.
COMPILE_FAST = ("xla_backend_optimization_level", "1")
# Steps have hundreds of small loops. Not written through MLIR, a way that later
# versions of XLA no longer have, those of a VAE compile in half the time.
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
# that does two thirds more work and moves seven times the bytes (2B, fsdp=8, compiled).
_GATHER_FIRST = ("xla_jf_spmd_threshold_for_windowed_einsum_mib", "1000000")

# Buffers are packed into memory by a heuristic that leaves gaps, in an order that this
# number changes. Of those tried, 0 to 7 and 42, this one leaves the fewest: of 2B over
# four chips, temporaries take 0.21 GB instead of the 0.34 of the usual order.
_PACK_WELL = ("xla_tpu_buffer_assignment_randomization_salt", "1")

# Over all three sides of a torus the compiler gathers weights by a sum over all chips,
# which sends each number twice, unless gathers run beside products; and it sums
# gradients whole on every chip, where each keeps its own part alone, unless the sparse
# cores scatter them. A step of 13B on 64 chips sends 86 GB with them; of four of its
# blocks it sent 14.8 GB without and 7.4 with them (compiled; one more option then).
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
  """Drops options that XLA_FLAGS sets: whoever starts a program decides."""
  flags = os.environ.get("XLA_FLAGS", "")
  return {name: value for name, value in options.items() if f"--{name}=" not in flags}


def policy_for(platform: str, capability: str | None = None) -> Policy:
  """Returns the policy of `platform` ("cpu", "gpu" or "tpu").

  Args:
    capability: Compute capability of an NVIDIA GPU, as its device calls it, such as
      "7.5".

  Raises:
    ValueError: for any other name.
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
  """Returns the policy of a device of JAX, as `policy_for`."""
  return policy_for(device.platform, getattr(device, "compute_capability", None))
