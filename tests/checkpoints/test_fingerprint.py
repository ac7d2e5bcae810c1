import jax
import numpy as np

from ltx_jax.checkpoints.fingerprint import fingerprint


def test_a_network_is_known_by_its_config_and_its_last_bit():
  params = {"a": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}}
  known = fingerprint("config", params)
  assert fingerprint("config", jax.tree.map(jax.numpy.asarray, params)) == known
  half = params["a"]["kernel"].astype(jax.numpy.bfloat16)
  nudged = np.nextafter(params["a"]["kernel"], 9, dtype=np.float32)
  others = [("other", params), ("config", {"b": params["a"]})]
  others += [("config", {"a": {"kernel": k}}) for k in (nudged, half)]
  assert len({known, *(fingerprint(*other) for other in others)}) == 5
