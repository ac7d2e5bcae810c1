"""The PyTorch original runs the small model that ships here, from the very file."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("ltx_video")

from ltx_video.models.autoencoders.causal_video_autoencoder import (  # noqa: E402
  CausalVideoAutoencoder,
)
from ltx_video.models.autoencoders.vae_encode import vae_decode  # noqa: E402
from ltx_video.models.transformers.transformer3d import (  # noqa: E402
  Transformer3DModel,
)

import ltx_jax  # noqa: E402
from ltx_jax.moving_shapes import world  # noqa: E402
from ltx_jax.releases.presets import PRESETS  # noqa: E402
from tests.models.transformer_case import relative_error  # noqa: E402

# The original calls functions that PyTorch is to change.
pytestmark = pytest.mark.filterwarnings("ignore")

FILE = PRESETS["moving-shapes"].files / "model.safetensors"
CAPTION = "a large red circle moving right on a navy background"


@pytest.fixture(scope="module")
def model():
  return ltx_jax.load("moving-shapes")


def tokens_first(array):
  """b f h w c to b c f h w, as the original has it."""
  return torch.from_numpy(np.moveaxis(np.asarray(array), -1, 1).copy())


def test_same_latents_become_the_same_video(model):
  clip = world.clip(CAPTION, 3, 25, 128, 128)[None].astype(np.float32)
  video = clip / 127.5 - 1
  vae = CausalVideoAutoencoder.from_pretrained(FILE).float().eval()
  latents = model.encode(video)
  with torch.inference_mode():
    moments = vae.encode(tokens_first(video)).latent_dist.mode()
    mean, std = vae.mean_of_means, vae.std_of_means
    theirs = (moments - mean[:, None, None, None]) / std[:, None, None, None]
    assert relative_error(latents, np.moveaxis(theirs.numpy(), 1, -1)) < 1e-3
    decoded = vae_decode(
      tokens_first(latents),
      vae,
      is_video=True,
      vae_per_channel_normalize=True,
      timestep=torch.tensor([0.05]),
    )
  ours = model.decode(latents, sigma=0.05)
  theirs = decoded.clamp(-1, 1).numpy()  # As the original's pipeline does.
  assert relative_error(ours, np.moveaxis(theirs, 1, -1)) < 1e-3


def test_the_transformer_loads_strictly_and_agrees(model):
  # It complains of a single missing or unknown tensor.
  transformer = Transformer3DModel.from_pretrained(FILE).float().eval()
  config, rng = model.config.transformer, np.random.default_rng(0)
  x = rng.standard_normal((1, 8, config.in_channels), np.float32)
  coords = (rng.random((1, 8, 3)) * (1, 128, 128)).astype(np.float32)
  text, mask = model.encode_text([CAPTION])
  sigma = np.full(1, 0.7, np.float32)
  with torch.inference_mode():
    expected = transformer(
      hidden_states=torch.from_numpy(x),
      indices_grid=torch.from_numpy(np.moveaxis(coords, 2, 1).copy()),
      encoder_hidden_states=torch.from_numpy(np.array(text)),
      timestep=torch.from_numpy(sigma[:, None]),
      encoder_attention_mask=torch.from_numpy(np.array(mask)).float(),
      return_dict=False,
    )[0]
  found = model.velocity(x, coords, text, mask, sigma)
  assert relative_error(found, expected.numpy()) < 1e-4
