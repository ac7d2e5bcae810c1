import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ltx_jax import programs
from ltx_jax.platforms import CPU
from ltx_jax.programs.stacks import put_together, take_apart
from tests.models import transformer_case as case


def stack(layers=3, width=64):
  values = np.arange(layers * width * width, dtype=np.float32)
  kernel = jnp.asarray(values.reshape(layers, width, width))
  return {"proj": {"kernel": kernel[0]}, "blocks": {"ff": {"kernel": kernel}}}


def test_parts_are_views_of_the_stack():
  params = stack()
  parts = take_apart(params, CPU)
  kernel, layers = params["blocks"]["ff"]["kernel"], parts["blocks"]["ff"]["kernel"]
  assert parts["proj"]["kernel"] is params["proj"]["kernel"]
  assert len(layers) == 3
  for i, layer in enumerate(layers):
    np.testing.assert_array_equal(layer, kernel[i])
    offset = layer.unsafe_buffer_pointer() - kernel.unsafe_buffer_pointer()
    assert offset == i * layer.nbytes


def test_parts_make_the_stack_again():
  params = stack()
  again = put_together(take_apart(params, CPU))
  assert jax.tree.structure(again) == jax.tree.structure(params)
  jax.tree.map(np.testing.assert_array_equal, again, params)


def test_scanned_and_sharded_stacks_stay_whole():
  params = stack()
  assert take_apart(params, dataclasses.replace(CPU, unroll=False)) is params
  mesh = Mesh(np.array(jax.devices()[:2]), ("fsdp",))
  sharded = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
  parts = take_apart(sharded, CPU)
  assert parts["blocks"]["ff"]["kernel"] is sharded["blocks"]["ff"]["kernel"]


def test_a_program_copies_no_layer_that_it_is_given_apart():
  params, inputs = case.random_params(), (*case.inputs(), case.SIGMA)
  program = programs.velocity(case.CONFIG, CPU)
  kernels = (leaf for leaf in jax.tree.leaves(params["blocks"]) if leaf.ndim == 3)
  shape = ",".join(map(str, max(kernels, key=np.size).shape[1:]))

  def copies(params):
    text = program.lower(params, *inputs).compile().as_text()
    slices = (line for line in text.splitlines() if "slice(" in line)
    return sum(f"{shape}]" in line for line in slices)

  assert copies(params)
  parts = take_apart(params, CPU)
  assert not copies(parts)
  out, same = program(parts, *inputs), program(params, *inputs)
  assert case.relative_error(out, same) < case.ROUNDING
