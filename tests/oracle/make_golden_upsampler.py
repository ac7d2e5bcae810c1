"""Writes tests/golden/upsampler.npz: results of the original for small upsamplers.

python -m tests.oracle.make_golden_upsampler
"""

import pathlib
import tempfile

import numpy as np
import torch
from ltx_video.models.autoencoders.latent_upsampler import LatentUpsampler

from ltx_jax.checkpoints.upsampler import save_upsampler
from tests.models import upsampler_case as case

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "upsampler.npz"


def run_reference(path):
  """Returns the original's result for the case's latents and the file's weights."""
  model = LatentUpsampler.from_pretrained(path).eval()
  with torch.no_grad():
    out = model(torch.tensor(case.latents()).permute(0, 4, 1, 2, 3))
  return out.permute(0, 2, 3, 4, 1).numpy()


def main():
  arrays = {}
  with tempfile.TemporaryDirectory() as folder:
    for kind in case.KINDS:
      path = pathlib.Path(folder) / f"{kind}.safetensors"
      config = case.config(kind)
      save_upsampler(path, config, case.random_params(config))
      arrays[kind] = run_reference(path)
  np.savez_compressed(GOLDEN, **arrays)
  print(f"{GOLDEN}: {GOLDEN.stat().st_size} bytes")


if __name__ == "__main__":
  main()
