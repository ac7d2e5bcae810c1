"""Training checkpoints: exact, complete or absent, and refused with a message."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ltx_jax.checkpoints.training import TrainingCheckpoints
from ltx_jax.parallel import sharding
from ltx_jax.parallel.mesh import make_mesh

RULES = sharding.VAE_RULES
NETWORK = {"vae": {"latent_channels": 8, "encoder_blocks": [["res_x", 2]]}}


def open_in(folder, keep=2, network=NETWORK, fingerprint="one", keep_every=None):
  return TrainingCheckpoints(
    folder,
    keep=keep,
    keep_every=keep_every,
    config={"seed": 0, "stages": (1, 2)},
    network=network,
    fingerprint=fingerprint,
  )


def make_state(seed):
  rng = np.random.default_rng(seed)
  params = {
    "a": {"kernel": jnp.asarray(rng.standard_normal((16, 8), np.float32))},
    "b": {"bias": jnp.asarray(rng.standard_normal(5, np.float32))},
  }
  return {
    "step": jnp.asarray(seed, jnp.int32),
    "params": params,
    "opt_state": optax.adam(1e-3).init(params),
    "ema": {},
  }


def on(mesh, state):
  return jax.device_put(state, sharding.shardings(state, mesh, RULES))


def assert_equal(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  jax.tree.map(np.testing.assert_array_equal, a, b)


def mesh_of(devices, fsdp=1):
  return make_mesh(data=-1, fsdp=fsdp, devices=jax.devices()[:devices])


def test_restores_bit_for_bit_on_any_mesh(tmp_path):
  state = make_state(7)
  with open_in(tmp_path) as checkpoints:
    checkpoints.save(7, on(mesh_of(8, 8), state))
  for devices, fsdp in ((8, 8), (8, 2), (4, 4), (1, 1)):
    mesh = mesh_of(devices, fsdp)
    target = sharding.abstract(state, mesh, RULES)
    with open_in(tmp_path) as checkpoints:
      restored = checkpoints.restore(target)
    assert_equal(restored, state)
    jax.tree.map(
      lambda a, t: np.testing.assert_equal(a.sharding, t.sharding), restored, target
    )


def test_without_a_checkpoint_there_is_nothing_to_restore(tmp_path):
  with open_in(tmp_path / "new") as checkpoints:
    assert checkpoints.latest is None
    assert checkpoints.restore(make_state(0)) is None


def test_keeps_the_newest(tmp_path):
  with open_in(tmp_path, keep=2) as checkpoints:
    for step in (2, 4, 6):
      checkpoints.save(step, make_state(step))
  assert {p.name for p in tmp_path.iterdir() if p.is_dir()} == {"4", "6"}


def test_keeps_every_so_many_steps_for_good(tmp_path):
  with open_in(tmp_path, keep=1, keep_every=4) as checkpoints:
    for step in (2, 4, 6, 8, 10):
      checkpoints.save(step, make_state(step))
  assert {p.name for p in tmp_path.iterdir() if p.is_dir()} == {"4", "8", "10"}


def test_saving_a_step_twice_leaves_the_first(tmp_path):
  mesh = mesh_of(1)
  with open_in(tmp_path) as checkpoints:
    checkpoints.save(3, make_state(3))
    checkpoints.save(3, make_state(4))
    target = sharding.abstract(make_state(0), mesh, RULES)
    assert_equal(checkpoints.restore(target), make_state(3))


def test_a_half_written_checkpoint_is_never_read(tmp_path):
  with open_in(tmp_path) as checkpoints:
    checkpoints.save(3, make_state(3))
  # A kill leaves a folder that was not renamed yet.
  half = tmp_path / "5.orbax-checkpoint-tmp-1"
  (half / "state").mkdir(parents=True)
  (half / "state" / "data").write_bytes(b"half")
  with open_in(tmp_path) as checkpoints:
    assert checkpoints.latest == 3
    target = sharding.abstract(make_state(0), mesh_of(1), RULES)
    assert_equal(checkpoints.restore(target), make_state(3))
  assert not half.exists()


def test_the_state_may_be_overwritten_while_it_is_being_saved(tmp_path):
  # The next step takes over the state's buffers while the writer still works.
  step = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
  mesh = mesh_of(1)
  state = on(mesh, {"a": {"kernel": jnp.zeros((512, 2048))}, "b": jnp.zeros(1000)})
  target = sharding.abstract(state, mesh, RULES)
  with open_in(tmp_path, keep=9) as checkpoints:
    for number in range(3):
      checkpoints.save(number, state)
      for _ in range(10):
        state = step(state)
  with open_in(tmp_path, keep=9) as checkpoints:
    restored = checkpoints.restore(target)  # Number 2, of twenty steps.
  jax.tree.map(lambda x: np.testing.assert_array_equal(x, 20), restored)


def test_another_network_is_refused(tmp_path):
  with open_in(tmp_path) as checkpoints:
    checkpoints.save(3, make_state(3))
  other = {"vae": {**NETWORK["vae"], "latent_channels": 16}}
  message = "another network: vae.latent_channels is 8 there and 16 here"
  with (
    open_in(tmp_path, network=other) as checkpoints,
    pytest.raises(ValueError, match=message),
  ):
    checkpoints.restore(make_state(0))


def test_other_data_is_refused(tmp_path):
  with open_in(tmp_path) as checkpoints:
    checkpoints.save(3, make_state(3))
  with (
    open_in(tmp_path, fingerprint="two") as checkpoints,
    pytest.raises(ValueError, match="fingerprint one, this run's has two"),
  ):
    checkpoints.restore(make_state(0))


def test_other_arrays_are_refused(tmp_path):
  with open_in(tmp_path) as checkpoints:
    checkpoints.save(3, make_state(3))
    other = make_state(0)
    other["params"]["a"]["kernel"] = jnp.zeros((16, 4))
    other["params"]["c"] = other["params"].pop("b")
    with pytest.raises(ValueError) as error:
      checkpoints.restore(other)
  message = str(error.value)
  assert "params/a/kernel is (16, 8) there and (16, 4) here" in message
  assert "params/b/bias is (5,) there and none here" in message
  assert "params/c/bias is none there and (5,) here" in message


def _without(*parts):
  return lambda step: [shutil.rmtree(step / part) for part in parts]


def _another_version(step):
  (step / "record" / "metadata").write_text('{"schema": 99}')


@pytest.mark.parametrize(
  "damage",
  [
    _without("state"),
    _without("state/d", "state/ocdbt.process_0"),
    _without("record"),
    _without("state", "record"),
    _another_version,
    lambda step: (step / "record" / "metadata").write_text("{"),
  ],
)
def test_a_damaged_checkpoint_is_refused_by_its_folder(tmp_path, damage):
  mesh, state = mesh_of(1), make_state(7)
  with open_in(tmp_path) as checkpoints:
    checkpoints.save(7, on(mesh, state))
  damage(tmp_path / "7")
  target = sharding.abstract(state, mesh, RULES)
  message = f"{tmp_path}/7 is not whole, or another version .*; remove that folder"
  with open_in(tmp_path) as checkpoints, pytest.raises(ValueError, match=message):
    checkpoints.restore(target)


def test_what_is_not_a_folder_takes_no_checkpoints(tmp_path):
  (tmp_path / "file").touch()
  with pytest.raises(
    ValueError, match="file is not a folder that can be read and writ"
  ):
    open_in(tmp_path / "file")
