"""Host memory while a checkpoint is read and written, in processes of their own."""

import dataclasses
import json
import subprocess
import sys

import pytest

from ltx_jax.checkpoints import keys
from ltx_jax.config import ModelConfig, SchedulerConfig
from tests.checkpoints import small
from tests.checkpoints.test_lora import as_file, pairs

MIB = 2**20
# A model of 115 MiB in 8 layers; its largest stack, of ff kernels, has 32 MiB.
CONFIG = ModelConfig(
  transformer=dataclasses.replace(
    small.TRANSFORMER,
    num_attention_heads=8,
    attention_head_dim=64,
    num_layers=8,
    cross_attention_dim=512,
  ),
  vae=None,
  scheduler=SchedulerConfig(),
)
# What is counted starts after the imports and JAX's own start, which a small model
# brings about. RSS is read anew: its highest value is that of the process before.
PROGRAM = """
import json, sys, threading
import jax, jax.numpy as jnp, numpy as np
from ltx_jax.checkpoints.convert import convert
from ltx_jax.checkpoints.lora import merging, read_loras
from ltx_jax.checkpoints.lightricks import (
  load_checkpoint, read_config, save_checkpoint
)
task, warm_up, path, output = sys.argv[1:]

def resident():
  with open("/proc/self/statm") as file:
    return int(file.read().split()[1]) * 4096

def highest():
  with open("/proc/self/status") as file:
    lines = [line for line in file if line.startswith("VmHWM")]
  return int(lines[0].split()[1]) * 1024

def forget():
  with open("/proc/self/clear_refs", "w") as file:
    file.write("5")

place = None if task == "jax" else lambda name, array: array
save_checkpoint(output, *load_checkpoint(warm_up))
if task == "save":
  config, params = load_checkpoint(path)
  forget()
  before = resident()
  save_checkpoint(output, config, params)
elif task == "convert":
  convert(warm_up, output + "-1.safetensors", "bfloat16")
  forget()
  before = resident()
  convert(path, output + "-2.safetensors", "bfloat16")
else:
  forget()
  before = resident()
  if task == "lora":
    loras = [(path.replace("large", "lora"), 0.5)]
    place = merging(read_loras(loras, read_config(path).transformer), place)
  config, params = load_checkpoint(path, place=place)
print(json.dumps({"peak": highest() - before, "now": resident() - before}))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  folder = tmp_path_factory.mktemp("memory")
  warm_up = small.write(folder / "small", small.official(), small.metadata())
  entries = keys.transformer_entries(CONFIG.transformer)
  zeros = {
    f"model.diffusion_model.{entry.key}": small.np.ones(entry.shape, "float32")
    for entry in entries
  }
  metadata = {"transformer": CONFIG.transformer.to_metadata()}
  layers = {
    entry.key.removesuffix(".weight"): entry.shape[::-1]
    for entry in entries
    if entry.layer is not None and entry.layout == keys.DENSE
  }
  as_file(folder / "lora", "transformer.", ("lora_A", "lora_B"), pairs(layers))
  return warm_up, small.write(folder / "large", zeros, metadata), folder / "output"


def _peak(task, files):
  command = [sys.executable, "-c", PROGRAM, task, *map(str, files)]
  run = subprocess.run(command, capture_output=True, text=True, check=True)
  return json.loads(run.stdout)["peak"]


def _sizes():
  shapes = keys.tree_shapes(keys.transformer_entries(CONFIG.transformer))
  sizes = [4 * small.np.prod(shape) for shape in shapes.values()]
  return sum(sizes), max(sizes)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("task", ["jax", "numpy", "lora"])
def test_loading_holds_the_model_and_one_stack(files, task):
  model, stack = _sizes()
  assert model > 100 * MIB and stack > 30 * MIB
  peak = _peak(task, files)
  assert model < peak + 2 * MIB
  assert peak < model + stack


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("task", ["save", "convert"])
def test_saving_and_converting_hold_one_tensor(files, task):
  _, stack = _sizes()
  assert _peak(task, files) < stack / 8 + 8 * MIB
