import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.config import TextEncoderConfig
from ltx_jax.models import text_encoder
from ltx_jax.platforms import CPU, GPU
from tests.models.t5_case import CONFIG, inputs, random_params, relative_error

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "text_encoder.npz"


@pytest.fixture(scope="module")
def golden():
  with np.load(GOLDEN) as arrays:
    return dict(arrays)


@pytest.fixture(scope="module")
def params():
  return random_params()


@pytest.fixture(scope="module")
def encode():
  return jax.jit(
    lambda params, tokens, mask: text_encoder.encode(params, CONFIG, CPU, tokens, mask)
  )


def test_matches_transformers(golden, params, encode):
  tokens, mask, _ = inputs()
  text = encode(params, tokens, mask)
  assert text.dtype == jnp.float32
  assert relative_error(text, golden["text"]) < 1e-5


def test_gradients_match_transformers(golden, params, encode):
  tokens, mask, weights = inputs()
  gradients = jax.grad(lambda p: (encode(p, tokens, mask) * weights).sum())(params)
  found = {
    "bias_gradient": gradients["relative_attention_bias"]["embedding"],
    "q_gradient": gradients["blocks"]["q"]["kernel"],
    "wi_0_gradient": gradients["blocks"]["wi_0"]["kernel"],
  }
  for name, gradient in found.items():
    assert relative_error(gradient, golden[name]) < 1e-4, name


def test_padding_does_not_matter(params, encode):
  tokens, mask, _ = inputs()
  text = np.asarray(encode(params, tokens, mask))
  filled = np.where(mask, tokens, 7).astype(np.int32)
  other = np.asarray(encode(params, filled, mask))
  np.testing.assert_array_equal(text[mask], other[mask])
  assert np.abs(text[~mask] - other[~mask]).max() > 0.1
  shorter = encode(params, tokens[1:2, :13], mask[1:2, :13])
  np.testing.assert_allclose(shorter[0], text[1, :13], atol=1e-5)


def test_prompts_differ(params, encode):
  tokens, mask, _ = inputs()
  changed = tokens.copy()
  changed[0, 5] = 3 + (tokens[0, 5] + 1) % 40
  text, other = encode(params, tokens, mask), encode(params, changed, mask)
  distance = jnp.linalg.norm(text - other, axis=-1)
  assert float(distance[0].min()) > 1e-3  # Every token of that prompt sees it,
  assert float(distance[1:].max()) == 0.0  # and no token of another one.


def test_order_of_tokens_matters(params, encode):
  tokens, mask, _ = inputs()
  swapped = tokens.copy()
  swapped[0, [2, 9]] = tokens[0, [9, 2]]
  text, other = encode(params, tokens, mask), encode(params, swapped, mask)
  assert float(jnp.linalg.norm(text[0, 20] - other[0, 20])) > 1e-3


def test_bfloat16_stays_close(golden, params):
  tokens, mask, weights = inputs()

  @jax.jit
  def loss(params):
    text = text_encoder.encode(params, CONFIG, GPU, tokens, mask)
    return (text.astype(jnp.float32) * weights).sum(), text

  (_, text), gradients = jax.value_and_grad(loss, has_aux=True)(params)
  assert text.dtype == jnp.bfloat16
  assert relative_error(text.astype(jnp.float32), golden["text"]) < 3e-2
  q_gradient = gradients["blocks"]["q"]["kernel"]
  assert q_gradient.dtype == jnp.float32
  assert relative_error(q_gradient, golden["q_gradient"]) < 0.1


def test_token_outside_the_vocabulary_is_nan(params, encode):
  tokens = np.full((1, 4), CONFIG.vocab_size, np.int32)
  assert bool(jnp.isnan(encode(params, tokens, np.ones((1, 4), bool))).all())


def test_buckets_of_the_released_model():
  buckets = text_encoder.relative_position_buckets(300, 32, 128)
  distances = [0, 1, 7, 8, 11, 12, 15, 16, 31, 32, 63, 64, 127, 128, 299]
  left = [0, 1, 7, 8, 8, 9, 9, 10, 11, 12, 13, 14, 15, 15, 15]
  right = [0] + [16 + bucket for bucket in left[1:]]
  np.testing.assert_array_equal(buckets[0, distances], right)
  np.testing.assert_array_equal(buckets[distances, 0], left)


def test_initialisation_keeps_the_scale():
  config = TextEncoderConfig(
    vocab_size=97, d_model=128, d_kv=32, d_ff=256, num_layers=2, num_heads=4
  )
  init = jax.jit(lambda key: text_encoder.init(config, key))
  params = init(jax.random.key(0))
  std = {
    "q": (128 * 32) ** -0.5,
    "k": 128**-0.5,
    "v": 128**-0.5,
    "o": 128**-0.5,
    "wi_0": 128**-0.5,
    "wi_1": 128**-0.5,
    "wo": 256**-0.5,
  }
  for name, expected in std.items():
    for layer in params["blocks"][name]["kernel"]:
      assert float(layer.std()) == pytest.approx(expected, rel=0.05), name
  q = params["blocks"]["q"]["kernel"]
  assert float(jnp.abs(q[0] - q[1]).max()) > 0  # Each layer has its own draw.
  assert float(params["shared"]["embedding"].std()) == pytest.approx(1.0, rel=0.05)
  bias = params["relative_attention_bias"]["embedding"]
  assert float(bias.std()) == pytest.approx(128**-0.5, rel=0.3)
  assert bool((params["final_norm"]["scale"] == 1).all())


def test_parameters_of_the_released_model():
  config = TextEncoderConfig()
  tree = jax.eval_shape(lambda: text_encoder.init(config, jax.random.key(0)))
  found = {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }
  attention, up, down = (24, 4096, 4096), (24, 4096, 10240), (24, 10240, 4096)
  assert found == {
    "shared/embedding": (32128, 4096),
    "relative_attention_bias/embedding": (32, 64),
    "final_norm/scale": (4096,),
    "blocks/attention_norm/scale": (24, 4096),
    "blocks/ff_norm/scale": (24, 4096),
    **{f"blocks/{name}/kernel": attention for name in "qkvo"},
    "blocks/wi_0/kernel": up,
    "blocks/wi_1/kernel": up,
    "blocks/wo/kernel": down,
  }
  assert sum(map(math.prod, found.values())) == 4_762_310_656
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(tree))
