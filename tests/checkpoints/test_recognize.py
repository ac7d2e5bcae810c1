import pytest

from ltx_jax.checkpoints.recognize import (
  LINEAR_QUADRATIC,
  SHIFTED,
  describe,
  recognize,
)
from ltx_jax.config import (
  TRANSFORMER_2B,
  TRANSFORMER_13B,
  VAE_A,
  VAE_B,
  VAE_C,
  TransformerConfig,
)
from tests.checkpoints import manifests, small

SMALL, LARGE = "transformer_2b", "transformer_13b"
NEWER_2B = TransformerConfig(causal_temporal_positioning=True)


def _shapes(name):
  return None if name is None else manifests.read(name)[2]


@pytest.mark.parametrize(
  ("transformer", "vae", "expected"),
  [
    (SMALL, "vae_a", (TRANSFORMER_2B, VAE_A, SHIFTED)),
    (SMALL, "vae_b", (TRANSFORMER_2B, VAE_B, SHIFTED)),
    (SMALL, "vae_c", (NEWER_2B, VAE_C, LINEAR_QUADRATIC)),
    (LARGE, "vae_c", (TRANSFORMER_13B, VAE_C, LINEAR_QUADRATIC)),
    (SMALL, None, (TRANSFORMER_2B, None, SHIFTED)),
    (LARGE, None, (TRANSFORMER_13B, None, LINEAR_QUADRATIC)),
    (None, "vae_b", (None, VAE_B, SHIFTED)),
    (None, "vae_c", (None, VAE_C, LINEAR_QUADRATIC)),
  ],
)
def test_releases_are_told_by_their_tensors(transformer, vae, expected):
  assert tuple(recognize(_shapes(transformer), _shapes(vae))) == expected


def test_a_damaged_file_is_still_told():
  shapes = _shapes("vae_b")
  damaged = dict(list(shapes.items())[5:])
  assert recognize(None, damaged).vae == VAE_B


def test_other_networks_are_refused_with_a_few_of_their_tensors():
  shapes = _shapes("vae_demo")
  with pytest.raises(ValueError, match=r"its VAE of \d+ tensors .* is none of VAE gen"):
    recognize(None, shapes)
  with pytest.raises(ValueError, match="no config.*none of the 2B transformer"):
    recognize(_shapes("transformer_plain"), _shapes("vae_a"))


def test_descriptions_name_the_release_or_the_size():
  assert describe(TRANSFORMER_2B) == describe(NEWER_2B) == "the 2B transformer"
  assert describe(TRANSFORMER_13B) == "the 13B transformer"
  assert describe(VAE_B) == "VAE generation B (0.9.1)"
  assert describe(small.TRANSFORMER) == "a transformer of 3 layers and width 24"
  assert describe(small.VAE) == "a VAE of 10 blocks and 8 latent channels"
