"""Trains the Video-VAE: pixels to latents and back, with noise added for the decoder.

    z       = mean + std noise                               (encoder)
    z_sigma = m + (1 - sigma)(z - m) + sigma s noise,  sigma ~ U[0, 0.2], one per clip
    x_hat   = D(z_sigma, sigma)
    loss    = MSE(x_hat, x) + a wavelet L1(x_hat, x) + b KL

m and s are the running mean and standard deviation of each channel of the encoder's
means (`diffusion.statistics`).

    python -m train.vae moving_shapes --output.folder runs/vae

With `--trained decoder` the encoder and the statistics stay unchanged, and so do the
latents that a transformer was trained on.
"""

from __future__ import annotations

from ltx_jax.cli.program import run as run_program
from ltx_jax.config.runs import VAERun
from train.harness import recipe


def main() -> None:
  """Trains as the command line says."""
  run, dry = recipe.parse(VAERun, "vae", __doc__)
  from train.trainers import vae  # --help need not wait for Flax and Optax.

  vae.start_run(run, dry)


if __name__ == "__main__":
  run_program(main)
