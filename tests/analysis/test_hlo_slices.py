"""Bytes that a program sends to other slices of TPUs."""

from ltx_jax.analysis import hlo, hlo_traffic


def test_what_is_sent_to_another_slice_is_counted_by_how_often_it_is_sent():
  """As a TPU's compiler writes it: to the host, whose runtime has the network."""
  handler = (
    'frontend_attributes={_xla_host_transfer_handler_name="xla_megascale_runtime"}'
  )
  text = f"""
HloModule jit_update, is_scheduled=true

%body (carry: (s32[], f32[8,128])) -> (s32[], f32[8,128]) {{
  %carry = (s32[], f32[8,128]{{1,0}}) parameter(0)
  %i = s32[] get-tuple-element(%carry), index=0
  %x = f32[8,128]{{1,0}} get-tuple-element(%carry), index=1
  %start = token[] after-all()
  %send = (f32[8,128]{{1,0}}, u32[], token[]) send(%x, %start), channel_id=1, is_host_transfer=true, {handler}
  %sent = token[] send-done(%send), channel_id=1, is_host_transfer=true, {handler}
  ROOT %out = (s32[], f32[8,128]{{1,0}}) tuple(%i, %x)
}}

%condition (carry: (s32[], f32[8,128])) -> pred[] {{
  %carry = (s32[], f32[8,128]{{1,0}}) parameter(0)
  %i = s32[] get-tuple-element(%carry), index=0
  %n = s32[] constant(12)
  ROOT %less = pred[] compare(%i, %n), direction=LT
}}

ENTRY %main (x: f32[8,128], y: bf16[64]) -> (s32[], f32[8,128]) {{
  %x = f32[8,128]{{1,0}} parameter(0)
  %y = bf16[64]{{0}} parameter(1)
  %zero = s32[] constant(0)
  %start = token[] after-all()
  %send = (bf16[64]{{0}}, u32[], token[]) send(%y, %start), channel_id=2, is_host_transfer=true, {handler}
  %sent = token[] send-done(%send), channel_id=2, is_host_transfer=true, {handler}
  %other = (bf16[64]{{0}}, u32[], token[]) send(%y, %start), channel_id=3
  %first = (s32[], f32[8,128]{{1,0}}) tuple(%zero, %x)
  ROOT %loop = (s32[], f32[8,128]{{1,0}}) while(%first), condition=%condition, body=%body, backend_config={{"known_trip_count":{{"n":"12"}}}}
}}
"""  # noqa: E501
  found = hlo_traffic.between_slices(hlo.parse(text))
  assert sorted(found) == [(1, 2 * 64), (12, 4 * 8 * 128)]
