"""Peak rates of accelerators, by the names that JAX gives their devices.

FLOP/s of dense products in 16 bits with sums in float32, without sparsity, as the
makers state them. A share of the peak is relative to these.
"""

from __future__ import annotations

PEAKS = {
  "NVIDIA H100 80GB HBM3": 989e12,
  "NVIDIA H100 PCIe": 756e12,
  "NVIDIA H100 NVL": 835e12,
  "NVIDIA H200": 989e12,
  "NVIDIA GH200 480GB": 989e12,
  "NVIDIA B200": 2250e12,
  "NVIDIA A100-SXM4-40GB": 312e12,
  "NVIDIA A100-SXM4-80GB": 312e12,
  "NVIDIA A100-PCIE-40GB": 312e12,
  "NVIDIA A100 80GB PCIe": 312e12,
  "NVIDIA L40S": 362e12,
  "NVIDIA L4": 121e12,
  "NVIDIA A10": 125e12,
  "NVIDIA GeForce RTX 3090": 71e12,
  "NVIDIA GeForce RTX 4090": 165e12,
  "Tesla V100-SXM2-16GB": 125e12,
  "Tesla T4": 65e12,
  "TPU v4": 275e12,
  "TPU v5 lite": 197e12,
  "TPU v5": 459e12,
  "TPU v5p": 459e12,
  "TPU v6 lite": 918e12,
}


def peak_of(kind: str) -> float | None:
  """Returns the peak FLOP/s of a device, or None if the table does not have it.

  Args:
    kind: Name of the device (`jax.Device.device_kind`).
  """
  return PEAKS.get(kind)
