"""Both networks in bfloat16, against the error that the PyTorch original makes in it.

The measure is the original in float32. Weights and inputs are numbers of bfloat16, as
those of the releases are, so that what differs is the arithmetic alone. Ours keeps
norms, modulation and statistics in float32 and may be closer; it may not be farther by
more than a quarter. Single draws scatter, so the median of five decides. One decoder
convolves as GPUs do and the other as CPUs do, which round parts of a sum.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("ltx_video")

from ltx_video.models.autoencoders.vae_encode import vae_decode  # noqa: E402

from ltx_jax import programs  # noqa: E402
from ltx_jax.platforms import CPU  # noqa: E402
from tests.models import transformer_case, vae_case  # noqa: E402
from tests.oracle import make_golden_transformer, make_golden_vae  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

SEEDS = range(5)
ALLOWED = 1.25
POLICY = dataclasses.replace(CPU, dtype="bfloat16", unroll=False)
DIRECT = dataclasses.replace(POLICY, convolution="direct")
TRANSFORMER = transformer_case.with_width(4, 32, num_layers=4)
SIGMA = np.float32([0.9, 0.35, 0.05])


def rounded(tree):
  """Returns float32 arrays that hold bfloat16 numbers; masks stay unchanged."""

  def one(x):
    kept = not np.issubdtype(x.dtype, np.floating)
    return x if kept else np.asarray(jnp.asarray(x, jnp.bfloat16), np.float32)

  return jax.tree.map(one, tree)


def as_loaded(params):
  """Weights in the compute dtype, as `ltx_jax.load` makes them."""
  statistics = params.get("per_channel_statistics")
  cast = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), params)
  return cast if statistics is None else cast | {"per_channel_statistics": statistics}


def velocities(seed):
  """Ours in bfloat16, theirs in bfloat16, theirs in float32."""
  params = rounded(transformer_case.random_params(TRANSFORMER, seed))
  tokens, coords, text, mask = transformer_case.inputs(TRANSFORMER, 24, seed)
  tokens, text = rounded((tokens, text))
  ours = programs.velocity(TRANSFORMER, POLICY)(
    as_loaded(params), tokens, coords, text, mask, SIGMA
  )
  model = make_golden_transformer.reference_model(TRANSFORMER, params)

  def theirs(dtype):
    out = model.to(dtype)(
      torch.tensor(tokens, dtype=dtype),
      torch.tensor(coords).transpose(1, 2),
      encoder_hidden_states=torch.tensor(text, dtype=dtype),
      encoder_attention_mask=torch.tensor(mask.astype(np.float32)),
      timestep=torch.tensor(SIGMA)[:, None],
    ).sample
    return out.float().numpy()

  float32 = theirs(torch.float32)  # First: weights that were cast stay rounded.
  return np.asarray(ours), theirs(torch.bfloat16), float32


def decoded(name, policy, seed):
  """The same of a decoder's pixels, from normalised latents on."""
  config = vae_case.FULL[name]
  params = rounded(vae_case.random_params(config, seed))
  latents = rounded(vae_case.inputs(config, seed=seed)[1][:1])
  sigma = np.float32(0.05)
  ours = programs.decode(config, policy)(
    as_loaded(params), latents, sigma, None, np.float32(0), None
  )
  model = make_golden_vae.reference_model(config, params)

  def theirs(dtype):
    out = vae_decode(
      torch.tensor(latents).moveaxis(-1, 1),
      model.to(dtype),
      is_video=True,
      vae_per_channel_normalize=True,
      timestep=torch.tensor([sigma]),
    )
    return out.float().clamp(-1, 1).moveaxis(1, -1).numpy()

  float32 = theirs(torch.float32)
  return np.asarray(ours), theirs(torch.bfloat16), float32


@pytest.mark.parametrize(
  ("what", "made"),
  [
    ("velocity", velocities),
    ("decode a", functools.partial(decoded, "a", DIRECT)),
    ("decode c", functools.partial(decoded, "c", POLICY)),
  ],
)
@torch.no_grad()
def test_errors_are_at_most_a_quarter_above_the_originals(what, made):
  ratios = []
  for seed in SEEDS:
    ours, theirs, float32 = made(seed)
    assert ours.shape == theirs.shape and ours.dtype == np.float32
    errors = [np.linalg.norm(x - float32) for x in (ours, theirs)]
    ratios.append(errors[0] / errors[1])
    assert 1e-4 < errors[1] / np.linalg.norm(float32) < 0.2
  print(f"{what}: {np.median(ratios):.2f} of {np.round(ratios, 2)}")
  assert np.median(ratios) <= ALLOWED
