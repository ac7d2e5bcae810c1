"""The sharding table: first match wins, specs count from the last axis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from ltx_jax.checkpoints.trees import path_name
from ltx_jax.config.runs import OptimizerConfig
from ltx_jax.parallel import sharding
from ltx_jax.parallel.mesh import make_mesh
from ltx_jax.training import optim

MESH = make_mesh(data=2, fsdp=4)


def spec(path, shape, rules):
  return sharding.spec_for(path, shape, MESH, rules)


@pytest.mark.parametrize(
  "path, shape, expected",
  [
    ("blocks/attn1/to_q/kernel", (2, 32, 16), P(None, "fsdp")),
    ("blocks/attn2/to_out/kernel", (2, 16, 32), P(None, None, "fsdp")),
    ("blocks/ff/proj_in/kernel", (2, 32, 64), P(None, "fsdp")),
    ("blocks/ff/proj_out/kernel", (2, 64, 32), P(None, None, "fsdp")),
    ("proj_out/kernel", (32, 16), P("fsdp")),
    ("patchify_proj/kernel", (16, 32), P(None, "fsdp")),
    ("adaln_single/linear/kernel", (32, 192), P("fsdp")),
    ("blocks/attn1/to_q/bias", (2, 32), P()),
    ("blocks/scale_shift_table", (2, 6, 32), P()),
    ("blocks/attn1/q_norm/scale", (2, 32), P()),
  ],
)
def test_transformer(path, shape, expected):
  for prefix in ("", "params/", "transformer/", "opt_state/1/0/mu/transformer/"):
    assert spec(prefix + path, shape, sharding.TRANSFORMER_RULES) == expected
    # Trained together with the text encoder, whose names differ.
    joint = (*sharding.TRANSFORMER_RULES, *sharding.TEXT_RULES)
    assert spec(prefix + path, shape, joint) == expected


@pytest.mark.parametrize(
  "path, shape, expected",
  [
    ("encoder/conv_in/kernel", (3, 3, 3, 48, 128), P(None, None, None, None, "fsdp")),
    ("encoder/conv_out/kernel", (3, 3, 3, 128, 129), P()),
    (
      "decoder/up_blocks_0/res_blocks/conv1/kernel",
      (5, 3, 3, 3, 64, 64),
      P(None, None, None, None, None, "fsdp"),
    ),
    ("decoder/up_blocks_0/res_blocks/scale_shift_table", (5, 4, 64), P()),
    ("decoder/up_blocks_0/res_blocks/per_channel_scale1", (5, 64), P()),
    ("encoder/down_blocks_0/attention_blocks/to_q/kernel", (2, 8, 8), P(None, "fsdp")),
    ("per_channel_statistics/mean", (128,), P()),
    ("decoder/timestep_scale_multiplier", (), P()),
  ],
)
def test_vae(path, shape, expected):
  assert spec(path, shape, sharding.VAE_RULES) == expected


@pytest.mark.parametrize(
  "path, shape, expected",
  [
    ("shared/embedding", (100, 32), P(None, "fsdp")),
    ("relative_attention_bias/embedding", (32, 4), P()),
    ("blocks/q/kernel", (2, 32, 16), P(None, "fsdp")),
    ("blocks/o/kernel", (2, 16, 32), P(None, None, "fsdp")),
    ("blocks/wi_0/kernel", (2, 32, 64), P(None, "fsdp")),
    ("blocks/wo/kernel", (2, 64, 32), P(None, None, "fsdp")),
    ("blocks/ff_norm/scale", (2, 32), P()),
  ],
)
def test_text_encoder(path, shape, expected):
  assert spec(path, shape, sharding.TEXT_RULES) == expected


def test_in_training_devices_that_share_a_clip_share_the_state_of_a_vae():
  mesh, shape = make_mesh(context=2, fsdp=2, data=2), (3, 3, 3, 4, 8)
  found = [
    sharding.spec_for("opt_state/1/0/mu/decoder/conv_in/kernel", shape, mesh, rules)
    for rules in (sharding.VAE_RULES, sharding.VAE_TRAINING_RULES)
  ]
  nothing = [None] * 4
  assert found == [P(*nothing, "fsdp"), P(*nothing, ("fsdp", "context"))]


@pytest.mark.parametrize(
  "path, shape, rules, expected",
  [
    ("attn1/to_q/kernel", (2, 32, 16), "TRANSFORMER", P(None, "fsdp", "tensor")),
    ("attn2/to_out/kernel", (2, 16, 32), "TRANSFORMER", P(None, "tensor", "fsdp")),
    ("ff/proj_in/kernel", (2, 32, 64), "TRANSFORMER", P(None, "fsdp", "tensor")),
    ("ff/proj_out/kernel", (2, 64, 32), "TRANSFORMER", P(None, "tensor", "fsdp")),
    ("attn1/to_q/bias", (2, 16), "TRANSFORMER", P()),
    ("q/kernel", (2, 32, 16), "TEXT", P(None, "fsdp", ("context", "tensor"))),
    ("wo/kernel", (2, 64, 32), "TEXT", P(None, ("context", "tensor"), "fsdp")),
    ("conv1/kernel", (3, 3, 3, 4, 8), "VAE", P(None, None, None, None, "fsdp")),
  ],
)
def test_in_sampling_heads_and_hidden_layers_are_split_too(
  path, shape, rules, expected
):
  mesh = make_mesh(context=2, fsdp=2, tensor=2)
  table = getattr(sharding, f"{rules}_RULES")
  assert sharding.spec_for(f"blocks/{path}", shape, mesh, table) == expected


def test_axes_that_do_not_divide_are_whole():
  rules = ((r"kernel$", P("fsdp", None)),)
  assert spec("a/kernel", (6, 8), rules) == P()
  assert spec("a/kernel", (8, 6), rules) == P("fsdp")


def test_first_matching_rule_wins():
  rules = ((r"a/kernel$", P(None, "fsdp")), (r"kernel$", P("fsdp", None)))
  assert spec("a/kernel", (8, 8), rules) == P(None, "fsdp")
  assert spec("b/kernel", (8, 8), rules) == P("fsdp")


def test_without_a_rule_the_largest_axis_that_divides_is_split():
  assert spec("a", (4, 16, 8), ()) == P(None, "fsdp")
  assert spec("a", (4, 17, 8), ()) == P(None, None, "fsdp")
  assert spec("a", (8, 8), ()) == P("fsdp")
  assert spec("a", (5, 7), ()) == P()
  assert spec("a", (16,), ()) == P()
  assert spec("a", (), ()) == P()


def test_bad_rules_are_refused():
  with pytest.raises(ValueError, match="names 2 axes, but the array has shape"):
    spec("a/kernel", (8,), ((r"kernel$", P("fsdp", None)),))
  with pytest.raises(ValueError, match="mesh axis 'model'; the axes are data, fsdp, c"):
    spec("a/kernel", (8, 8), ((r"kernel$", P("model", None)),))


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_optimizer_state_is_split_as_its_parameters(name):
  params = {
    "encoder": {
      "conv_in": {"kernel": jnp.zeros((3, 3, 3, 2, 8)), "bias": jnp.zeros(8)},
      "conv_out": {"kernel": jnp.zeros((3, 3, 3, 8, 8))},
    }
  }
  optimizer = optim.make_optimizer(OptimizerConfig(name=name), 10)
  tree = {"params": params, "opt_state": jax.eval_shape(optimizer.init, params)}
  leaves, _ = jax.tree.flatten_with_path(
    sharding.shardings(tree, MESH, sharding.VAE_RULES)
  )
  specs = {path_name(path): sharding.spec for path, sharding in leaves}
  kernels = {path: s for path, s in specs.items() if path.endswith("kernel")}
  # AdamW keeps two moments, Muon one.
  assert len(kernels) == (6 if name == "adamw" else 5)
  assert set(kernels.values()) == {P(None, None, None, None, "fsdp")}
  assert all(s == P() for path, s in specs.items() if path not in kernels)


def test_abstract_tree_has_shapes_dtypes_and_shardings():
  tree = {"a": {"kernel": np.zeros((8, 8), np.float32)}}
  leaf = sharding.abstract(tree, MESH, sharding.VAE_RULES)["a"]["kernel"]
  assert (leaf.shape, leaf.dtype) == ((8, 8), np.float32)
  assert leaf.sharding.spec == P(None, "fsdp")
