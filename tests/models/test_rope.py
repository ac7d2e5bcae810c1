import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.models.rope import RopeTables, frequencies, rope_tables, rotate
from tests.models.transformer_case import relative_error, with_width

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "transformer.npz"
SPACINGS = ("exponential", "inverse_exponential")

tables_of = jax.jit(rope_tables, static_argnums=1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_both_ways_to_rotate_give_the_same_numbers(dtype):
  rng = np.random.default_rng(0)
  x, *tables = (jnp.asarray(rng.standard_normal((2, 5, 8)), dtype) for _ in range(3))
  flipped, shifted = (rotate(x, RopeTables(*tables), way) for way in ("flip", "shift"))
  np.testing.assert_array_equal(flipped, shifted)


def test_sines_are_made_once_and_not_for_every_clip():
  config, x = with_width(2, 12), jnp.ones((6, 5, 24))

  def turned(x, coords):
    return rotate(x, rope_tables(coords, config))

  # The fast way of compiling, which other tests take, joins no loops.
  options = {"xla_cpu_opt_preset": "CPU_OPT_PRESET_DEFAULT"}
  lowered = jax.jit(turned).lower(x, random_coords(5))
  program = lowered.compile(options).as_text()
  parts = program.split("\n}\n")
  assert any("sine(" in part for part in parts)
  assert not [part for part in parts if "sine(" in part and "f32[6,5,24]" in part]


def random_coords(n):
  coords = np.random.default_rng(4).random((1, n, 3)) * np.array([20, 2048, 2048])
  coords[0, 0] = 0
  return coords.astype(np.float32)


@pytest.mark.parametrize("width", [64, 2048, 4096])
def test_tables_match_the_original(width):
  tables = tables_of(random_coords(3), with_width(width // 32, 32))
  with np.load(GOLDEN) as golden:
    for part, table in zip(("cos", "sin"), tables, strict=True):
      reference = golden[f"{part}/{width}"]
      assert relative_error(table[..., ::14], reference) < 1e-4
      # The original's power was rounded differently here (see `models.rope`).
      np.testing.assert_allclose(table[..., ::14], reference, rtol=0, atol=1e-3)


def test_first_channels_at_a_known_position():
  # Made once by the original at (1/25 s, 32 px, 64 px) and width 2048.
  coords = np.array([[[1 / 25, 32, 64]]], np.float32)
  cos, sin = tables_of(coords, with_width(64, 32))
  known = [1, 0.00628308, 0.04906765, 0.09801713, -0.0366693, 0.00730194]
  np.testing.assert_allclose(cos[0, 0, :12:2], known, atol=2e-6)
  known = [0, -0.99998027, -0.99879545, -0.99518472, -0.99932748, -0.99997336]
  np.testing.assert_allclose(sin[0, 0, :12:2], known, atol=2e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("width", [64, 96, 2048, 4096])
def test_tables_are_exact_given_their_frequencies(width, spacing):
  config = with_width(width // 32, 32, rope_spacing=spacing)
  coords = random_coords(50)
  w = frequencies(config)
  assert w.dtype == np.float32
  p = coords / np.array([20, 2048, 2048], np.float32)
  p = 2 * p - 1 if spacing == "exponential" else p
  angle = (w[:, None] * p[..., None, :]).reshape(1, 50, -1).repeat(2, axis=-1)
  cos, sin = tables_of(coords, config)
  front = width % 6
  np.testing.assert_array_equal(cos[..., :front], 1)
  np.testing.assert_array_equal(sin[..., :front], 0)
  angle = angle.astype(np.float64)
  np.testing.assert_allclose(cos[..., front:], np.cos(angle), rtol=0, atol=1e-6)
  np.testing.assert_allclose(sin[..., front:], np.sin(angle), rtol=0, atol=1e-6)


def test_range_of_the_frequencies():
  config = with_width(64, 32)
  w = frequencies(config)
  assert len(w) == 341 and np.all(np.diff(w) > 0)
  np.testing.assert_allclose(w[[0, -1]], [np.pi / 2, 5000 * np.pi], rtol=1e-6)
  control = dataclasses.replace(config, rope_spacing="inverse_exponential")
  k = np.arange(341)
  expected = np.pi / 2 * 10000.0 ** (-6 * k / 2048)
  np.testing.assert_allclose(frequencies(control), expected, rtol=1e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_products_depend_on_the_distance_only(spacing):
  config = with_width(
    2, 16, rope_spacing=spacing, positional_embedding_max_pos=(16, 2048, 2048)
  )
  rng = np.random.default_rng(0)
  q, k = (jnp.asarray(rng.standard_normal((1, 1, 32)), jnp.float32) for _ in range(2))
  # Powers of two, so that positions are exact; their angles reach 15708 rad.
  first = np.array([[[1, 256, 1024]], [[8, 512, 128]]], np.float32)
  second = first + np.array([4, 1024, 512], np.float32)
  products = [
    (rotate(q, rope_tables(a[None], config)) * rotate(k, rope_tables(b[None], config)))
    for a, b in zip(first, second, strict=True)
  ]
  sums = [float(product.sum()) for product in products]
  assert sums[0] == pytest.approx(sums[1], abs=2e-2)
  assert abs(sums[0] - float((q * k).sum())) > 0.1


def test_pairs_are_neighbours():
  tables = RopeTables(jnp.full((1, 1, 4), 0.6), jnp.full((1, 1, 4), 0.8))
  out = rotate(jnp.array([[[1.0, 2.0, 3.0, 4.0]]]), tables)
  expected = [0.6 - 1.6, 1.2 + 0.8, 1.8 - 3.2, 2.4 + 2.4]
  np.testing.assert_allclose(out[0, 0], expected, rtol=1e-6)


def test_tables_do_not_promote():
  tables = rope_tables(random_coords(5), with_width(2, 16))
  assert tables.cos.dtype == jnp.float32
  assert rotate(jnp.ones((1, 5, 32), jnp.bfloat16), tables).dtype == jnp.bfloat16


def test_odd_width_is_refused():
  with pytest.raises(ValueError, match="width is 9; .* must be even"):
    frequencies(with_width(3, 3))
