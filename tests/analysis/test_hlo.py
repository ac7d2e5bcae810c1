"""The walk over a compiled program: small ones compiled here, and lines of GPU and TPU
programs, which no compiler here would write, all against counts by hand."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from ltx_jax.analysis import hlo, hlo_flops, hlo_traffic
from ltx_jax.parallel.mesh import make_mesh

LAYERS, ROWS, WIDTH = 5, 32, 16


def read(function, *shapes, **options):
  shapes = [
    jax.ShapeDtypeStruct(s, jnp.float32) if isinstance(s, tuple) else s for s in shapes
  ]
  text = jax.jit(function, **options).lower(*shapes).compile().as_text()
  return hlo.parse(text)


@pytest.fixture(scope="module")
def stack():
  """A loop over stacked layers."""

  def run(kernels, x):
    return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, kernels)[0]

  return read(run, (LAYERS, WIDTH, WIDTH), (ROWS, WIDTH))


def test_a_loop_counts_as_often_as_it_runs(stack):
  assert hlo_flops.flops(stack) == LAYERS * 2 * ROWS * WIDTH * WIDTH
  assert stack.unknown_trips == 0
  assert stack.arguments == 4 * (LAYERS * WIDTH * WIDTH + ROWS * WIDTH)


def test_a_loop_reads_a_slice_of_the_stacked_weights(stack):
  moved = hlo_traffic.bytes_moved(stack)
  kernel, x = 4 * WIDTH * WIDTH, 4 * ROWS * WIDTH
  # The product's operands and result, and tanh; kernels may be copied from the stack.
  least = LAYERS * (kernel + 2 * x)
  most = LAYERS * (3 * kernel + 4 * x + 64) + 4 * x
  assert least <= moved <= most < LAYERS * ((LAYERS + 2) * kernel + 4 * x)


def test_a_trip_count_is_read_from_the_condition_where_it_is_not_given():
  text = """
%fused (p: s32[], q: s32[]) -> pred[] {
  %p = s32[] parameter(0)
  %q = s32[] parameter(1)
  ROOT %lt = pred[] compare(%p, %q), direction=LT
}

%cond (a: (s32[], f32[8,8])) -> pred[] {
  %a = (s32[], f32[8,8]{1,0}) parameter(0)
  %limit = s32[] constant(LIMIT)
  %i = s32[] get-tuple-element(%a), index=0
  ROOT %c = pred[] fusion(%i, %limit), kind=kLoop, calls=%fused
}

%body (b: (s32[], f32[8,8])) -> (s32[], f32[8,8]) {
  %b = (s32[], /*index=1*/f32[8,8]{1,0:T(8,128)S(1)}) parameter(0)
  %x = f32[8,8]{1,0} get-tuple-element(%b), index=1
  %j = s32[] get-tuple-element(%b), index=0
  %d = f32[8,8]{1,0} dot(%x, %x), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %t = (s32[], f32[8,8]{1,0}) tuple(%j, %d)
}

ENTRY %main (x.1: (s32[], f32[8,8])) -> (s32[], f32[8,8]) {
  %x.1 = (s32[], f32[8,8]{1,0}) parameter(0)
  ROOT %w = (s32[], f32[8,8]{1,0}) while(%x.1), condition=%cond, body=%body
}
"""
  known = hlo.parse(text.replace("LIMIT", "7"))
  assert (hlo_flops.flops(known), known.unknown_trips) == (7 * 2 * 8**3, 0)
  unknown = hlo.parse(text.replace("direction=LT", "direction=GT"))
  assert (hlo_flops.flops(unknown), unknown.unknown_trips) == (2 * 8**3, 1)


def test_what_is_no_program_is_refused():
  with pytest.raises(ValueError, match="no ENTRY computation"):
    hlo.parse("HloModule m")


@pytest.mark.parametrize(
  ("stride", "padding", "pairs"),
  [
    # With 6 x 5 pixels and 3 x 3 taps: (3 h - 2) (3 w - 2) if zeros surround them.
    (1, "SAME", 16 * 13),
    (1, "VALID", 4 * 3 * 9),
    (2, "VALID", 2 * 2 * 9),
  ],
)
def test_a_convolution_counts_the_taps_inside(stride, padding, pairs):
  program = read(
    lambda x, w: jax.lax.conv_general_dilated(
      x, w, (stride,) * 2, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    ),
    (2, 6, 5, 4),
    (3, 3, 4, 8),
  )
  assert hlo_flops.flops(program) == 2 * 2 * 4 * 8 * pairs


def line(text, **operands):
  """A program of one instruction that reads values of these shapes."""
  parameters = [
    f"  %{name} = {shape} parameter({i})"
    for i, (name, shape) in enumerate(operands.items())
  ]
  body = "\n".join([*parameters, f"  ROOT %r = {text}"])
  return hlo.parse(f"ENTRY %main (x: f32[]) -> f32[] {{\n{body}\n}}\n")


def test_calls_of_gpu_libraries_are_counted():
  gemm = line(
    "(bf16[32,64]{1,0}, s8[4096]{0}) custom-call(%a, %b), "
    'custom_call_target="__cublas$gemm", backend_config={"gemm_backend_config": '
    '{"dot_dimension_numbers": {"lhs_contracting_dimensions": ["1"], '
    '"rhs_contracting_dimensions": ["0"]}}}',
    a="bf16[32,16]{1,0}",
    b="bf16[16,64]{1,0}",
  )
  assert hlo_flops.flops(gemm) == 2 * 32 * 64 * 16
  convolution = line(
    "(bf16[1,4,6,5,8]{4,3,2,1,0}, u8[0]{0}) custom-call(%x, %w), "
    "window={size=3x3x3 pad=0_0x1_1x1_1}, dim_labels=b012f_o012i->b012f, "
    'custom_call_target="__cudnn$convForward"',
    x="bf16[1,6,6,5,4]{4,3,2,1,0}",
    w="bf16[8,3,3,3,4]{4,3,2,1,0}",
  )
  assert hlo_flops.flops(convolution) == 2 * 4 * 8 * (4 * 3) * 16 * 13


def test_fused_attention_is_counted_by_formula():
  b, n, m, heads, x = 2, 24, 10, 3, 8
  gpu = line(
    f"(bf16[{b},{heads},{n},{x}]{{3,1,2,0}}, u8[0]{{0}}) custom-call(%q, %k, %v), "
    'custom_call_target="__cudnn$fmhaSoftmax", backend_config={"fmha": '
    '{"intermediate_tensor_shape": {"element_type": "BF16", '
    f'"dimensions": ["{b}", "{heads}", "{n}", "{m}"]}}}}}}',
    **dict.fromkeys("q", f"bf16[{b},{n},{heads},{x}]{{3,2,1,0}}"),
    **dict.fromkeys("kv", f"bf16[{b},{m},{heads},{x}]{{3,2,1,0}}"),
  )
  expected = 4 * b * heads * n * m * x
  assert hlo_flops.flops(gpu) == expected
  assert hlo_flops.fused_attention(gpu) == [((b, n, heads, x), m, 1, expected)]

  n, m = 256, 128  # A TPU's are padded, and sequence-minor here.
  tpu = line(
    f"(f32[512,128]{{1,0}}, bf16[{b},{heads},{n},{x}]{{3,2,1,0}}) "
    'custom-call(%i, %q, %k, %v), custom_call_target="tpu_custom_call", '
    'frontend_attributes={kernel_metadata={\n"block_q": 512\n}}, '
    'metadata={op_name="jit(f)/splash_mha_fwd_no_residuals"}',
    i="s8[3,2,2]{2,1,0}",
    q=f"bf16[{b},{heads},{x},{n}]{{3,2,1,0}}",
    **dict.fromkeys("kv", f"bf16[{b},{heads},{x},{m}]{{3,2,1,0}}"),
  )
  expected = 4 * b * heads * n * m * x
  assert hlo_flops.fused_attention(tpu) == [((b, heads, x, n), m, 1, expected)]


def splash(phase, b, heads, n, m, x):
  return line(
    f"(bf16[{b},{heads},{x},{n}]{{3,2,1,0}}) custom-call(%i, %q, %k, %v), "
    'custom_call_target="tpu_custom_call", '
    f'metadata={{op_name="jit(f)/splash_mha_{phase}_no_residuals/pallas_call"}}',
    i="s8[3,2,2]{2,1,0}",
    q=f"bf16[{b},{heads},{x},{n}]{{3,2,1,0}}",
    **dict.fromkeys("kv", f"bf16[{b},{heads},{x},{m}]{{3,2,1,0}}"),
  )


def test_attention_backwards_is_twice_that_forwards_and_what_is_done_again_apart():
  sizes = b, heads, n, m, x = 2, 3, 256, 128, 8
  forward = 4 * b * heads * n * m * x
  kernels = [splash(phase, *sizes) for phase in ("fwd", "dq_segmented", "dkv")]
  assert [hlo_flops.flops(each) for each in kernels] == [forward] * 3
  # The logits, and the gradient of the weights, which the other kernel also made.
  again = [hlo_flops.inside_kernels(each) for each in kernels]
  assert again == [0, forward / 2, forward]
  cudnn = line(
    f"(bf16[{b},{heads},{n},{x}]{{3,1,2,0}}, u8[0]{{0}}) custom-call(%q, %k, %v), "
    'custom_call_target="__cudnn$fmhaScaleBiasSoftmaxBackward", backend_config={"fmha":'
    ' {"intermediate_tensor_shape": {"element_type": "BF16", '
    f'"dimensions": ["{b}", "{heads}", "{n}", "{m}"]}}}}}}',
    **dict.fromkeys("q", f"bf16[{b},{n},{heads},{x}]{{3,2,1,0}}"),
    **dict.fromkeys("kv", f"bf16[{b},{m},{heads},{x}]{{3,2,1,0}}"),
  )
  assert hlo_flops.flops(cudnn) == 2 * forward
  assert hlo_flops.inside_kernels(cudnn) == forward / 2


def test_products_made_a_second_time_are_told_from_those_made_once():
  def layer(x, w):
    return jnp.tanh(jnp.tanh(x @ w) @ w)

  def gradient(kept):
    block = jax.checkpoint(layer, policy=kept, prevent_cse=False)

    def loss(w, x):
      return jax.lax.scan(lambda x, w: (block(x, w), None), x, w)[0].sum()

    return read(jax.grad(loss), (LAYERS, WIDTH, WIDTH), (ROWS, WIDTH))

  policies = jax.checkpoint_policies
  product = LAYERS * 2 * ROWS * WIDTH * WIDTH
  everything = gradient(policies.everything_saveable)
  assert hlo_flops.flops(everything) == 6 * product
  assert hlo_flops.recomputed(everything) == 0
  nothing = gradient(policies.nothing_saveable)
  # The forward pass and the backward pass, and both products once more.
  assert hlo_flops.flops(nothing) == 8 * product
  assert hlo_flops.recomputed(nothing) == 2 * product


def test_a_batch_dimension_written_as_a_window_is_no_work():
  # A TPU's batched product of [6, 32, 16] and [6, 16, 64].
  program = line(
    "bf16[6,32,64]{2,1,0} convolution(%a, %b), "
    "window={size=6 stride=5 pad=0_0 lhs_dilate=6}, dim_labels=0bf_0io->0bf",
    a="bf16[6,32,16]{2,1,0}",
    b="bf16[6,16,64]{2,1,0}",
  )
  assert hlo_flops.flops(program) == 6 * 2 * 32 * 64 * 16


def test_what_sparse_cores_send_is_counted():
  text = """
%add (a: bf16[], b: bf16[]) -> bf16[] {
  %a = bf16[] parameter(0)
  %b = bf16[] parameter(1)
  ROOT %sum = bf16[] add(%a, %b)
}

%called (p: bf16[64,32]) -> bf16[8,32] {
  %p = bf16[64,32]{1,0} parameter(0)
  ROOT %r = bf16[8,32]{1,0} reduce-scatter(%p), channel_id=3, replica_groups=[1,8]<=[8], dimensions={0}, to_apply=%add
}

ENTRY %main (x: bf16[64,32]) -> bf16[8,32] {
  %x = bf16[64,32]{1,0} parameter(0)
  %s = ((bf16[64,32]{1,0}), bf16[8,32]{1,0}) call-start(%x), async_execution_thread="sparsecore", to_apply=%called
  ROOT %d = bf16[8,32]{1,0} call-done(%s)
}
"""  # noqa: E501
  (sent,) = hlo_traffic.collectives(hlo.parse(text))
  assert sent == ("reduce-scatter", 1, 1, 7 / 8 * 2 * 64 * 32)
  assert hlo_traffic.largest_sent(hlo.parse(text)) == 2 * 64 * 32


def test_fast_memory_is_not_counted():
  for place, moved in (("", 3 * 4 * 64), ("S(1)", 2 * 4 * 64)):
    program = line(
      f"f32[64]{{0:T(64){place}}} add(%x, %y)", x="f32[64]{0}", y="f32[64]{0}"
    )
    assert hlo_traffic.bytes_moved(program) == moved
  fetched = line("(f32[64]{0:S(1)}, f32[64]{0}, u32[]) copy-start(%x)", x="f32[64]{0}")
  assert hlo_traffic.bytes_moved(fetched) == 4 * 64


def test_square_arrays_are_found_in_memory_but_not_in_a_fusion():
  n = 24

  def logits(q):
    return q @ q.T

  found = hlo_traffic.square_buffers(read(logits, (n, 4)), n)
  assert [shape.dims for shape in found] == [(n, n)]
  assert not hlo_traffic.square_buffers(read(logits, (n, 4)), n, least=n**2 + 1)
  fused = read(lambda x: (x[:, None] * x[None, :] > 2).sum(), (n,))
  assert not hlo_traffic.square_buffers(fused, n)


def test_a_devices_own_queries_times_all_keys_are_square_as_well():
  n, own = 24, 6
  program = read(lambda q, k: q @ k.T, (own, 4), (n, 4))
  assert not hlo_traffic.square_buffers(program, n)
  found = hlo_traffic.square_buffers(program, n, queries=own)
  assert [shape.dims for shape in found] == [(own, n)]
  # One's own queries alone are not.
  assert not hlo_traffic.square_buffers(read(jnp.tanh, (own, own)), n, queries=own)


@pytest.mark.parametrize(
  ("split", "work", "kind", "wire"),
  [
    # All of the array but one's own eighth; twice that, of the sums.
    (("data",), lambda x: 2 * x, "all-gather", 7 / 8 * 4 * 16 * 64),
    ((None, "data"), lambda x: x.sum(axis=1), "all-reduce", 2 * 7 / 8 * 4 * 16),
  ],
)
def test_communication_counts_what_a_device_sends(split, work, kind, wire):
  mesh = make_mesh(data=8, fsdp=1)
  sharding = NamedSharding(mesh, PartitionSpec(*split))
  x = jax.ShapeDtypeStruct((16, 64), jnp.float32, sharding=sharding)
  program = read(work, x, out_shardings=NamedSharding(mesh, PartitionSpec()))
  (sent,) = hlo_traffic.collectives(program)
  assert (sent.kind, sent.count, sent.times) == (kind, 1, 1)
  assert sent.wire_bytes == pytest.approx(wire)


def test_communication_in_a_loop_and_in_a_fusion_is_found():
  text = """
%fused (p: f32[16]) -> f32[64] {
  %p = f32[16]{0} parameter(0)
  %g = f32[64]{0} all-gather(%p), channel_id=5, replica_groups={{0,1,2,3}}
  ROOT %n = f32[64]{0} negate(%g)
}

%body (b: (s32[], f32[16])) -> (s32[], f32[16]) {
  %b = (s32[], f32[16]{0}) parameter(0)
  %x = f32[16]{0} get-tuple-element(%b), index=1
  %j = s32[] get-tuple-element(%b), index=0
  %f = f32[64]{0} fusion(%x), kind=kCustom, calls=%fused
  %h = f32[64]{0} fusion(%x), kind=kCustom, calls=%fused
  %g = f32[64]{0} all-gather(%x), replica_groups={{0,1,2,3}}, dimensions={0}
  ROOT %t = (s32[], f32[16]{0}) tuple(%j, %x)
}

ENTRY %main (x.1: (s32[], f32[16])) -> (s32[], f32[16]) {
  %x.1 = (s32[], f32[16]{0}) parameter(0)
  %x.2 = f32[16]{0} get-tuple-element(%x.1), index=1
  %r = f32[16]{0} all-reduce(%x.2), replica_groups={{0,1,2,3}}, to_apply=%add
  ROOT %w = (s32[], f32[16]{0}) while(%x.1), condition=%c, body=%body,
    backend_config={"known_trip_count":{"n":"7"}}
}
"""
  # A device sends three quarters of the whole; for a sum, twice that.
  assert hlo_traffic.collectives(hlo.parse(text)) == [
    ("all-gather", 2, 7, 2 * 7 * 3 / 4 * 4 * 64),
    ("all-reduce", 1, 1, 2 * 3 / 4 * 4 * 16),
  ]


def test_replica_groups_are_read_in_every_form():
  for groups in (
    "{{0,1,2,3},{4,5,6,7}}",
    "[2,4]<=[8]",
    "mesh['a'=2,'b'=4] {'b'}",
    "mesh['a'=8] {'a':(1)4}",
    "mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'a'}",
  ):
    text = f"f32[8]{{0}} all-reduce(%x), replica_groups={groups}, to_apply=%add"
    program = line(text, x="f32[8]{0}")
    assert hlo_traffic.collectives(program)[0].wire_bytes == 2 * 3 / 4 * 32


def test_what_a_shard_map_sends_has_one_channel_and_is_counted_each():
  text = """
ENTRY %main (k: f32[16], v: f32[16]) -> (f32[64], f32[64]) {
  %k = f32[16]{0} parameter(0)
  %v = f32[16]{0} parameter(1)
  %g = f32[64]{0} all-gather(%k), channel_id=1, replica_groups={{0,1,2,3}}
  %h = f32[64]{0} all-gather(%v), channel_id=1, replica_groups={{0,1,2,3}}
  ROOT %t = (f32[64]{0}, f32[64]{0}) tuple(%g, %h)
}
"""
  (sent,) = hlo_traffic.collectives(hlo.parse(text))
  assert sent == ("all-gather", 2, 1, 2 * 3 / 4 * 4 * 64)


def test_a_sum_that_is_sliced_in_its_fusion_is_a_reduce_scatter():
  text = """
%scatter (p: f32[64]) -> f32[16] {
  %p = f32[64]{0} parameter(0)
  %a = f32[64]{0} all-reduce(%p), channel_id=9, replica_groups={{0,1,2,3}}
  %i = s32[] constant(16)
  ROOT %d = f32[16]{0} dynamic-slice(%a, %i), dynamic_slice_sizes={16}
}

ENTRY %main (x: f32[64]) -> f32[16] {
  %x = f32[64]{0} parameter(0)
  ROOT %f = f32[16]{0} fusion(%x), kind=kCustom, calls=%scatter
}
"""
  (sent,) = hlo_traffic.collectives(hlo.parse(text))
  assert sent == ("reduce-scatter", 1, 1, 3 / 4 * 4 * 64)
