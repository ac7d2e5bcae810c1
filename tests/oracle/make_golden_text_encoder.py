"""Writes tests/golden/text_encoder.npz: results of `transformers` for the small T5.

python -m tests.oracle.make_golden_text_encoder
"""

import pathlib
import tempfile

import numpy as np
import torch
from transformers import T5EncoderModel

from ltx_jax.checkpoints.t5 import save_t5
from tests.models.t5_case import CONFIG, inputs, random_params

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "text_encoder.npz"


def run_reference(folder):
  """Runs the checkpoint in `folder`: outputs [b m e], and the model after backward."""
  model = T5EncoderModel.from_pretrained(folder).eval()
  tokens, mask, weights = inputs()
  out = model(
    input_ids=torch.tensor(tokens.astype(np.int64)),
    attention_mask=torch.tensor(mask.astype(np.int64)),
  ).last_hidden_state
  (out * torch.tensor(weights)).sum().backward()
  return out.detach().numpy(), model


def main():
  with tempfile.TemporaryDirectory() as folder:
    save_t5(folder, CONFIG, random_params())
    text, model = run_reference(folder)
  blocks = [block.layer for block in model.encoder.block]
  bias = blocks[0][0].SelfAttention.relative_attention_bias.weight
  np.savez_compressed(
    GOLDEN,
    text=text,
    bias_gradient=bias.grad.numpy(),
    q_gradient=np.stack([b[0].SelfAttention.q.weight.grad.numpy().T for b in blocks]),
    wi_0_gradient=np.stack(
      [b[1].DenseReluDense.wi_0.weight.grad.numpy().T for b in blocks]
    ),
  )
  print(f"{GOLDEN}: {GOLDEN.stat().st_size} bytes")


if __name__ == "__main__":
  main()
