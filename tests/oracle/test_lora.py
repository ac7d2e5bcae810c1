"""Trained low-rank updates, in diffusers and in the PyTorch original."""

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
peft = pytest.importorskip("peft")

from diffusers import LTXPipeline, LTXVideoTransformer3DModel  # noqa: E402

from ltx_jax.checkpoints import diffusers, recognize  # noqa: E402
from ltx_jax.checkpoints.lora import write_for_diffusers  # noqa: E402
from ltx_jax.checkpoints.safetensors_io import open_safetensors  # noqa: E402
from ltx_jax.config import ModelConfig  # noqa: E402
from ltx_jax.config.lora import LAYERS, LoRAConfig  # noqa: E402
from ltx_jax.training import lora  # noqa: E402
from tests.checkpoints import folders  # noqa: E402
from tests.models.transformer_case import (  # noqa: E402
  CONFIG,
  SIGMAS,
  inputs,
  network,
  random_params,
  relative_error,
)
from tests.oracle.make_golden_transformer import (  # noqa: E402
  reference_model,
  run_reference,
)
from tests.oracle.test_diffusers import _compare_transformer  # noqa: E402

# peft inspects modules of other packages, which emit warnings.
pytestmark = pytest.mark.filterwarnings("ignore")

LORA = LoRAConfig(rank=3, alpha=4.5, layers=LAYERS)


def updates_of(config):
  """Updates as after training: no matrix of zeros."""
  rng = np.random.default_rng(0)
  first = lora.init(jax.random.key(0), config, LORA)
  return jax.tree.map(
    lambda leaf: leaf + 0.2 * rng.standard_normal(leaf.shape, np.float32), first
  )


def test_diffusers_loads_what_was_trained(tmp_path):
  config = ModelConfig(folders.TRANSFORMER, None, recognize.SHIFTED)
  params = folders.params(config)
  diffusers.save_checkpoint(tmp_path, config, params)
  updates, file = updates_of(config.transformer), tmp_path / "lora.safetensors"
  write_for_diffusers(file, updates, config.transformer, LORA, {"steps": "3"})
  model = LTXVideoTransformer3DModel.from_pretrained(tmp_path / "transformer").eval()
  state, read = LTXPipeline.lora_state_dict(str(file), return_lora_metadata=True)
  LTXPipeline.load_lora_into_transformer(
    state, transformer=model, adapter_name="ours", metadata=read
  )
  joined = lora.joined(params["transformer"], updates, LORA)
  velocity = network(joined, config.transformer)
  _compare_transformer(model, velocity)


def test_peft_merges_what_was_trained_into_the_original(tmp_path):
  config, sigma = CONFIG, SIGMAS["per_clip"]
  params, updates = random_params(config), updates_of(config)
  file = tmp_path / "lora.safetensors"
  write_for_diffusers(file, updates, config, LORA, {})
  with open_safetensors(file) as reader:
    state = {
      f"base_model.model.{name.removeprefix('transformer.')}": torch.from_numpy(
        reader.read(name).copy()
      )
      for name in reader.names
    }
  names = sorted({name.partition(".lora_")[0][17:] for name in state})
  settings = peft.LoraConfig(r=LORA.rank, lora_alpha=LORA.alpha, target_modules=names)
  model = peft.get_peft_model(reference_model(config, params), settings)
  found = peft.set_peft_model_state_dict(model, state)
  assert not found.unexpected_keys
  model = model.merge_and_unload()
  values = inputs(config)
  expected, _ = run_reference(model, *values, sigma)
  ours = network(lora.joined(params, updates, LORA), config)(*values, sigma)
  assert relative_error(ours, expected.detach()) < 1e-4
  plain = network(params, config)(*values, sigma)
  assert relative_error(plain, expected.detach()) > 1e-2
