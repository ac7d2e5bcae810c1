"""Trains the transformer by rectified flow on records: latents of a frozen VAE.

    xt   = (1 - sigma) x0 + sigma noise         sigma: shifted log-normal, tails filled
    loss = |v(xt, text, sigma) - (noise - x0)|^2      mean over tokens, then over clips

Text-to-video and image-to-video are one model: some clips have their first latent
frames given, and some come with their last frame or a reference (`--conditions`,
`diffusion.objective`). Some clips have their caption replaced by "", which is what
guidance leads away from. A small model trains its T5 encoder as well; the released
ones keep theirs frozen.

    python -m train.transformer own_clips --data runs/own/records
"""

from __future__ import annotations

from ltx_jax.cli.program import run as run_program
from ltx_jax.config.runs import TransformerRun
from train.harness import recipe


def main() -> None:
  """Trains as the command line says."""
  run, dry = recipe.parse(TransformerRun, "transformer", __doc__)
  from train.trainers import transformer  # --help need not wait for Flax and Optax.

  transformer.start_run(run, dry)


if __name__ == "__main__":
  run_program(main)
