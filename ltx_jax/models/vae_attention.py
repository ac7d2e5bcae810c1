"""Self-attention over all positions of a VAE stage (`attn_res_x`)."""

from __future__ import annotations

import flax.linen as nn
from jaxtyping import Array, Float

from ltx_jax.models.sharded import attend
from ltx_jax.platforms import Policy

_QK_NORM_EPS = 1e-5


class AttentionBlock(nn.Module):
  """Multi-head attention with query-key norm over the full width, plus the input.

  Raises:
    ValueError: If the channels are not a multiple of `head_dim`.
  """

  head_dim: int
  policy: Policy

  @nn.compact
  def __call__(self, x: Float[Array, "b f h w c"]) -> Float[Array, "b f h w c"]:
    b, f, h, w, c = x.shape
    if c % self.head_dim:
      raise ValueError(
        f"'attn_res_x' has attention_head_dim = {self.head_dim}; it must divide {c}."
      )
    tokens = x.reshape(b, f * h * w, c)

    def project(name: str) -> Array:
      return nn.Dense(c, dtype=self.policy.dtype, name=name)(tokens)

    def heads(t: Array) -> Array:
      return t.reshape(b, f * h * w, c // self.head_dim, self.head_dim)

    norm = {"epsilon": _QK_NORM_EPS, "dtype": self.policy.dtype}
    q = heads(nn.RMSNorm(**norm, name="q_norm")(project("to_q")))
    k = heads(nn.RMSNorm(**norm, name="k_norm")(project("to_k")))
    v = heads(project("to_v"))
    out = attend(q, k, v, None, self.policy)
    out = nn.Dense(c, dtype=self.policy.dtype, name="to_out")(out.reshape(b, -1, c))
    return x + out.reshape(x.shape)
