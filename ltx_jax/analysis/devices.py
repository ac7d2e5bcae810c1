"""Accelerators that programs can be compiled for without having one.

A TPU compiler needs the name of a topology; XLA's GPU compiler needs a description of
the card. Both come in a large package that nothing else requires (`Target.install`).
The rates are the makers' figures for dense matrix products in 16 bits, and for the main
memory.

Several TPU chips have the names under which the cloud rents them. In these, v5e and v6e
count chips, and v5p counts cores, of which a chip has two: v5p-8 is four chips. A chip
sends over two of its links, as in a ring through all chips: 45 GB/s per link and
direction on v5e, 90 GB/s on v5p and v6e ("How to Scale Your Model", Austin et al.
2025). A chip has more than two links, but a small slice does not connect them all.
8xh100 is one machine of eight cards, each of which sends 450 GB/s over NVLink.
2xv5p-128 is two slices; a chip sends 6.25 GB/s to the other slice, over the network of
the data centre.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os

import jax
from jax.experimental import topologies

from ltx_jax.platforms import CPU, GPU, T4, TPU, Policy

_GPU = """
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: {shared_memory_per_core}
  threads_per_core_limit: {threads_per_core}
  core_count: {cores}
  fpus_per_core: {fpus_per_core}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth}
  l2_cache_size: {l2_cache}
  clock_rate_ghz: {clock}
  device_memory_size: {memory}
  shared_memory_per_block_optin: {shared_memory_optin}
  cuda_compute_capability {{ major: {major} minor: {minor} }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
device_description_str: "{name}"
"""
_H100 = _GPU.format(
  name="NVIDIA H100 80GB HBM3",
  shared_memory_per_core=233472,
  shared_memory_optin=232448,
  threads_per_core=2048,
  cores=132,
  fpus_per_core=128,
  bandwidth=3352320000000,
  l2_cache=52428800,
  clock=1.98,
  memory=84942979072,
  major=9,
  minor=0,
)
_T4 = _GPU.format(
  name="Tesla T4",
  shared_memory_per_core=65536,
  shared_memory_optin=65536,
  threads_per_core=1024,
  cores=40,
  fpus_per_core=64,
  bandwidth=320064000000,
  l2_cache=4194304,
  clock=1.59,
  memory=15828320256,
  major=7,
  minor=5,
)
_A100_40 = _GPU.format(
  name="NVIDIA A100-SXM4-40GB",
  shared_memory_per_core=167936,
  shared_memory_optin=166912,
  threads_per_core=2048,
  cores=108,
  fpus_per_core=64,
  bandwidth=1555200000000,
  l2_cache=41943040,
  clock=1.41,
  memory=42331013120,
  major=8,
  minor=0,
)
_RTX4090 = _GPU.format(
  name="NVIDIA GeForce RTX 4090",
  shared_memory_per_core=102400,
  shared_memory_optin=101376,
  threads_per_core=1536,
  cores=128,
  fpus_per_core=128,
  bandwidth=1008000000000,
  l2_cache=75497472,
  clock=2.52,
  memory=25756172288,
  major=8,
  minor=9,
)


@dataclasses.dataclass(frozen=True)
class Target:
  """An accelerator, or several linked ones; rates and memory are those of one.

  Attributes:
    name: Name on the command line.
    policy: How programs run on it.
    flops: Multiplications and additions per second, in 16 bits.
    bandwidth: Bytes per second from its memory.
    wire: Bytes per second that it sends to others.
    memory: Bytes of its memory.
    topology: Arrangement of the chips. For TPUs: the smallest that their compiler knows
      and that has enough chips. For several GPUs: slices, hosts per slice, cards per
      host.
    description: Description of a GPU's card, for XLA; empty for other devices.
    chips: Number of chips in all slices.
    slices: Number of slices of TPUs, each with the topology.
    network: Bytes per second that a chip sends to other slices.
  """

  name: str
  policy: Policy
  flops: float
  bandwidth: float
  wire: float
  memory: int
  topology: str = ""
  description: str = ""
  chips: int = 1
  slices: int = 1
  network: float = 6.25e9

  @property
  def install(self) -> str:
    """The command that installs the compiler for it."""
    extra = "cuda12" if self.description else "tpu"
    size = "5.5 GB" if self.description else "0.7 GB"
    return f'pip install "jax[{extra}]=={jax.__version__}" ({size})'

  @property
  def _module(self) -> str:
    return "jax_cuda12_plugin" if self.description else "libtpu"


_GB = 10**9
TARGETS = {
  target.name: target
  for target in (
    Target("h100", GPU, 989e12, 3.35e12, 450e9, 80 * _GB, description=_H100),
    Target("a100-40", GPU, 312e12, 1.555e12, 300e9, 40 * _GB, description=_A100_40),
    # Half the rate of 16-bit products that are summed in 16 bits.
    Target("rtx4090", GPU, 165e12, 1.008e12, 32e9, 24 * _GB, description=_RTX4090),
    Target("t4", T4, 65e12, 320e9, 16e9, 16 * _GB, description=_T4),
    Target("v5e", TPU, 197e12, 819e9, 90e9, 16 * _GB, "v5e:2x2"),
    Target("v5p", TPU, 459e12, 2765e9, 180e9, 95 * _GB, "v5p:2x2x1"),
    Target("v6e", TPU, 918e12, 1640e9, 180e9, 32 * _GB, "v6e:2x2"),
    # This machine: the rates are those of two cores, as measured on one.
    Target("cpu", CPU, 420e9, 20e9, 20e9, 8 * _GB),
  )
}


def _several(name: str, of: str, chips: int, topology: str, slices: int = 1) -> Target:
  more = {"chips": chips, "topology": topology, "slices": slices}
  return dataclasses.replace(TARGETS[of], name=name, **more)


TARGETS |= {
  target.name: target
  for target in (
    _several("v5e-4", "v5e", 4, "v5e:2x2"),
    _several("v5e-8", "v5e", 8, "v5e:2x4"),
    _several("v5p-8", "v5p", 4, "v5p:2x2x1"),
    _several("v5p-16", "v5p", 8, "v5p:2x2x2"),
    _several("v5p-128", "v5p", 64, "v5p:4x4x4"),
    _several("v5p-1024", "v5p", 512, "v5p:8x8x8"),
    _several("2xv5p-128", "v5p", 128, "v5p:4x4x4", slices=2),
    _several("v5e-16", "v5e", 16, "v5e:4x4"),
    _several("v6e-4", "v6e", 4, "v6e:2x2"),
    _several("v6e-8", "v6e", 8, "v6e:2x4"),
    _several("v6e-16", "v6e", 16, "v6e:4x4"),
    _several("8xh100", "h100", 8, "1x1x8"),
  )
}


def use_host_only() -> None:
  """Keeps JAX away from present accelerators; call it before the first use of JAX.

  It stops XLA from trying out GPU kernels to find the fastest, because there is no
  card, and the TPU compiler from asking the cloud on which machine it runs.
  """
  os.environ["JAX_PLATFORMS"] = "cpu"
  os.environ["TPU_SKIP_MDS_QUERY"] = "1"
  os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
  flags = os.environ.get("XLA_FLAGS", "")
  os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_autotune_level=0".strip()
  jax.config.update("jax_platforms", "cpu")


def devices_of(target: Target) -> list[jax.Device]:
  """Returns the devices to compile for; they are described, so nothing can run on them.

  The exception is this machine's CPU, with as many devices as JAX shows.

  Raises:
    ValueError: If the compiler is not installed.
  """
  if target.policy.name == "cpu":
    return jax.devices("cpu")
  if importlib.util.find_spec(target._module) is None:
    raise ValueError(
      f"The compiler for {target.name} is not installed; install it with "
      f"{target.install}. python -m sample.plan estimates without it which sizes fit."
    )
  if target.description:
    described = topologies.get_topology_desc(
      "cuda",
      "cuda",
      target_config=target.description,
      topology=target.topology or "1x1x1",
    )
  else:
    described = topologies.get_topology_desc(
      platform="tpu", topology_name=target.topology, num_slices=target.slices
    )
  return described.devices[: target.chips]
