"""The T5 encoder and its files against `transformers`."""

import dataclasses
import math

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch")
from transformers import T5Config, T5EncoderModel, T5ForConditionalGeneration  # noqa: E402
from transformers.models.t5.modeling_t5 import T5Attention  # noqa: E402

from ltx_jax.checkpoints.t5 import load_t5, save_t5  # noqa: E402
from ltx_jax.config import TextEncoderConfig  # noqa: E402
from ltx_jax.models import text_encoder  # noqa: E402
from ltx_jax.platforms import CPU  # noqa: E402
from tests.models.t5_case import (  # noqa: E402
  CONFIG,
  inputs,
  random_params,
  relative_error,
)
from tests.oracle.make_golden_text_encoder import run_reference  # noqa: E402


def _torch_config(config):
  fields = dataclasses.asdict(config)
  fields.pop("extra")
  return T5Config(**fields, tie_word_embeddings=False)


def _reference(model, tokens, mask):
  with torch.no_grad():
    return model(
      input_ids=torch.tensor(tokens.astype(np.int64)),
      attention_mask=torch.tensor(mask.astype(np.int64)),
    ).last_hidden_state.numpy()


def test_what_we_save_runs_there(tmp_path):
  params = random_params()
  save_t5(tmp_path, CONFIG, params)
  reference, model = run_reference(tmp_path)
  tokens, mask, weights = inputs()

  def loss(params):
    text = text_encoder.encode(params, CONFIG, CPU, tokens, mask)
    return (text * weights).sum(), text

  (_, text), gradients = jax.value_and_grad(loss, has_aux=True)(params)
  error = relative_error(text, reference)
  assert error < 1e-5

  torch_gradients = {name: p.grad.numpy() for name, p in model.named_parameters()}
  folder = tmp_path / "gradients"
  save_t5(folder, CONFIG, gradients)  # Gradients have the tree of the parameters.
  ours = T5EncoderModel.from_pretrained(folder)
  errors = {
    name: relative_error(p.detach().numpy(), torch_gradients[name])
    for name, p in ours.named_parameters()
  }
  assert max(errors.values()) < 1e-4, errors
  print(f"text {error:.1e}, gradients {max(errors.values()):.1e}")


@pytest.mark.parametrize("length", [1, 7, 200])
def test_what_transformers_saves_runs_here(tmp_path, length):
  config = dataclasses.replace(
    CONFIG, relative_attention_num_buckets=32, relative_attention_max_distance=128
  )
  torch.manual_seed(0)
  model = T5EncoderModel(_torch_config(config)).eval()
  model.save_pretrained(tmp_path, max_shard_size="10KB")
  assert (tmp_path / "model.safetensors.index.json").is_file()
  loaded, params = load_t5(tmp_path)
  assert dataclasses.replace(loaded, extra=()) == config
  rng = np.random.default_rng(0)
  tokens = rng.integers(0, config.vocab_size, (2, length)).astype(np.int32)
  mask = np.arange(length) < np.array([[length], [max(1, length // 3)]])
  text = text_encoder.encode(params, loaded, CPU, tokens, mask)
  error = relative_error(text, _reference(model, tokens, mask))
  print(f"length {length}: {error:.1e}")
  assert error < 1e-5


def test_whole_t5_gives_its_encoder(tmp_path):
  torch.manual_seed(0)
  whole = T5ForConditionalGeneration(_torch_config(CONFIG)).eval()
  whole.save_pretrained(tmp_path)
  config, params = load_t5(tmp_path)
  tokens, mask, _ = inputs()
  text = text_encoder.encode(params, config, CPU, tokens, mask)
  assert relative_error(text, _reference(whole.encoder, tokens, mask)) < 1e-5


@pytest.mark.parametrize("num_buckets, max_distance", [(32, 128), (32, 512), (8, 20)])
def test_buckets_are_equal(num_buckets, max_distance):
  position = torch.arange(600)
  reference = T5Attention._relative_position_bucket(
    position[None] - position[:, None], True, num_buckets, max_distance
  )
  ours = text_encoder.relative_position_buckets(600, num_buckets, max_distance)
  np.testing.assert_array_equal(ours, reference.numpy())


def test_parameter_count_of_the_released_model():
  with torch.device("meta"):
    model = T5EncoderModel(_torch_config(TextEncoderConfig()))
  count = sum(parameter.numel() for parameter in model.parameters())
  shapes = jax.eval_shape(
    lambda: text_encoder.init(TextEncoderConfig(), jax.random.key(0))
  )
  ours = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
  assert ours == count == 4_762_310_656
