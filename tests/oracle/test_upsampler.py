"""The latent upsampler, its file and AdaIN against the PyTorch original."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from ltx_video.models.autoencoders.latent_upsampler import LatentUpsampler  # noqa: E402
from ltx_video.pipelines.pipeline_ltx_video import adain_filter_latent  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from ltx_jax.checkpoints.upsampler import load_upsampler, save_upsampler  # noqa: E402
from ltx_jax.diffusion.latents import adain  # noqa: E402
from ltx_jax.models.upsampler import upsample  # noqa: E402
from ltx_jax.platforms import CPU  # noqa: E402
from tests.models import upsampler_case as case  # noqa: E402
from tests.oracle.make_golden_upsampler import run_reference  # noqa: E402

KINDS = pytest.mark.parametrize("kind", case.KINDS)


@KINDS
def test_what_we_save_runs_there(tmp_path, kind):
  config = case.config(kind)
  params = case.random_params(config)
  path = tmp_path / "upsampler.safetensors"
  save_upsampler(path, config, params)
  ours = upsample(params, config, CPU, case.latents())
  assert case.relative_error(ours, run_reference(path)) < 1e-5


@KINDS
def test_what_it_saves_runs_here(tmp_path, kind):
  dims, space, time = case.KINDS[kind]
  c = case.SHAPE[-1]
  model = LatentUpsampler(c, 32, 1, dims, space, time).eval()
  path = tmp_path / "theirs.safetensors"
  # `config` is a method there, hidden by the class it inherits from.
  metadata = {"config": json.dumps(LatentUpsampler.config(model))}
  save_file(model.state_dict(), path, metadata)
  config, params = load_upsampler(path)
  assert dict(config.extra) == {"_class_name": "LatentUpsampler"}
  ours = upsample(params, config, CPU, case.latents())
  assert case.relative_error(ours, run_reference(path)) < 1e-5


@pytest.mark.parametrize("factor", [1.0, 0.3])
def test_adain(factor):
  rng = np.random.default_rng(0)
  latents = 2 + 3 * rng.standard_normal((2, 2, 3, 4, 5), np.float32)
  reference = rng.standard_normal((2, 2, 1, 2, 5), np.float32)
  theirs = adain_filter_latent(
    *(torch.tensor(x).permute(0, 4, 1, 2, 3) for x in (latents, reference)), factor
  )
  ours = adain(latents, reference, factor)
  assert case.relative_error(ours, theirs.permute(0, 2, 3, 4, 1).numpy()) < 1e-5
