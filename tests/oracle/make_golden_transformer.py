"""Writes tests/golden/transformer.npz: results of the PyTorch original, small cases.

python -m tests.oracle.make_golden_transformer
"""

import dataclasses
import pathlib
import types

import jax
import numpy as np
import torch
from ltx_video.models.transformers.transformer3d import Transformer3DModel

from tests.models.transformer_case import (
  CONFIGS,
  SIGMAS,
  inputs,
  random_params,
  weights,
)

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "transformer.npz"
WIDTHS = (64, 2048, 4096)


def official_state(params):
  """Our tree under the original's names and in its layout, without `checkpoints`."""
  state = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    name = jax.tree_util.keystr(path, simple=True, separator=".")
    leaf = np.asarray(leaf)
    for ours, theirs in (
      ("ff.proj_in", "ff.net.0.proj"),
      ("ff.proj_out", "ff.net.2"),
      ("to_out.", "to_out.0."),
      ("_norm.scale", "_norm.weight"),
    ):
      name = name.replace(ours, theirs)
    if name.endswith("kernel"):
      name, leaf = name.replace("kernel", "weight"), leaf.swapaxes(-1, -2)
    if name.startswith("blocks."):
      for i, layer in enumerate(leaf):
        state[f"transformer_blocks.{i}.{name.removeprefix('blocks.')}"] = layer
    else:
      state[name] = leaf
  return {name: torch.tensor(array) for name, array in state.items()}


def reference_model(config, params):
  fields = dataclasses.asdict(config)
  fields = {k: v for k, v in fields.items() if k not in ("extra", "rope_spacing")}
  model = Transformer3DModel(**fields).eval()
  model.load_state_dict(official_state(params), strict=True)
  return model


def run_reference(model, tokens, coords, text, mask, sigma):
  """Runs the original; returns velocities and the inputs that hold gradients."""
  tokens, text, sigma = (
    torch.tensor(a, requires_grad=True) for a in (tokens, text, sigma)
  )
  timestep = sigma[:, None] if sigma.ndim == 1 else sigma
  out = model(
    tokens,
    torch.tensor(coords).transpose(1, 2),
    encoder_hidden_states=text,
    encoder_attention_mask=torch.tensor(mask.astype(np.float32)),
    timestep=timestep,
  ).sample
  return out, {"tokens": tokens, "text": text, "sigma": sigma}


def reference_tables(width, coords, spacing="exp"):
  """The original's rotary tables [b n d] of any width, without its weights."""
  self = types.SimpleNamespace(
    inner_dim=width,
    positional_embedding_theta=10000.0,
    positional_embedding_max_pos=(20, 2048, 2048),
    dtype=torch.float32,
  )
  bind = types.MethodType
  self.get_fractional_positions = bind(
    Transformer3DModel.get_fractional_positions, self
  )
  grid = torch.tensor(coords).transpose(1, 2)
  tables = Transformer3DModel.precompute_freqs_cis(self, grid, spacing)
  return [table.numpy() for table in tables]


def table_coords():
  rng = np.random.default_rng(4)
  coords = rng.random((1, 3, 3)) * np.array([20, 2048, 2048])
  coords[0, 0] = 0
  return coords.astype(np.float32)


def main():
  arrays = {}
  for name, config in CONFIGS.items():
    model = reference_model(config, random_params(config))
    for form, sigma in SIGMAS.items():
      out, leaves = run_reference(model, *inputs(config), sigma)
      arrays[f"{name}/{form}"] = out.detach().numpy()
      if name == "released" and form == "per_token":
        (out * torch.tensor(weights(config))).sum().backward()
        arrays["gradient/tokens"] = leaves["tokens"].grad.numpy()
        arrays["gradient/patchify_proj"] = model.patchify_proj.weight.grad.numpy().T
        arrays["gradient/to_k"] = np.stack(
          [b.attn2.to_k.weight.grad.numpy().T for b in model.transformer_blocks]
        )
  for width in WIDTHS:
    # The two channels of a pair have the same entry; of the pairs, every seventh.
    tables = reference_tables(width, table_coords())
    for part, table in zip(("cos", "sin"), tables, strict=True):
      arrays[f"{part}/{width}"] = table[..., ::14]
  np.savez_compressed(GOLDEN, **arrays)
  print(f"{GOLDEN}: {GOLDEN.stat().st_size} bytes")


if __name__ == "__main__":
  main()
