"""The Video-VAE of the released models, from nothing, on a pod.

    python -m train.vae ltxv_vae --data clips/manifest.jsonl
    python -m train.vae ltxv_vae --data clips/manifest.jsonl \\
      --output.folder runs/ltxv_vae_gan --init-from runs/ltxv_vae/vae.safetensors \\
      --adversarial.weight 0.1 --loss.wavelet-ramp 0 1 \\
      --steps 100000 --optimizer.learning-rate 2e-5

The first run learns pixels, wavelets and KL; the second adds the discriminator, which
has little to judge while reconstructions are blurred. `docs/vae.md` says how to read
the curves. The paper gives no learning rates, weights or lengths: these are ours, and
were not run at this size. `python -m train.compile ltxv_vae --device v5p-16` says what
a step takes; `docs/vae.md` has the figures.
"""

from __future__ import annotations

from ltx_jax.config import VAE_C
from ltx_jax.config.adversarial import AdversarialConfig
from ltx_jax.config.runs import (
  Bucket,
  MeshConfig,
  OptimizerConfig,
  OutputConfig,
  Stage,
  VAELossConfig,
  VAERun,
)

CLIP = Bucket(49, 256, 256)
IMAGE = Bucket(1, 512, 512, weight=0.2)


def vae() -> VAERun:
  """Clips of two seconds, and larger images."""
  return VAERun(
    vae=VAE_C,
    data=("clips/manifest.jsonl",),
    held_out=64,
    stages=(Stage(200_000, (CLIP, IMAGE), tokens=7168),),
    loss=VAELossConfig(wavelet=0.1, wavelet_ramp=(0, 2000), perceptual=0.1, kl=1e-4),
    adversarial=AdversarialConfig(weight=0.0, start=500, head_start=500, ramp=2000),
    optimizer=OptimizerConfig(
      learning_rate=1e-4, warmup_steps=1000, weight_decay=1e-3, ema_decay=0.999
    ),
    mesh=MeshConfig(data=1, fsdp=-1),
    dtype="bfloat16",
    output=OutputConfig(
      folder="runs/ltxv_vae", log_every=50, sample_every=2000, evaluate_every=2000
    ),
  )
