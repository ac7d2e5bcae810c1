"""Ranges of the numbers of a run's config, wherever it is made."""

import dataclasses
import itertools
import math

import pytest

from configs import tiny
from ltx_jax.config import Block, SchedulerConfig, TextEncoderConfig, TransformerConfig
from ltx_jax.config.adversarial import AdversarialConfig
from ltx_jax.config.conditions import ConditionConfig
from ltx_jax.config.data import ScoreConfig, VideoConfig
from ltx_jax.config.distributed import DistributedConfig
from ltx_jax.config.runs import (
  AutoBuckets,
  Bucket,
  FlowConfig,
  MeshConfig,
  OptimizerConfig,
  OutputConfig,
  Stage,
  TransformerRun,
  VAELossConfig,
  VAERun,
)

VAE, TRANSFORMER = tiny.vae(), tiny.transformer()
NAN, INF = math.nan, math.inf

# For every number: values out of its range, and values that are not numbers.
WRONG = {
  VAE.optimizer: {
    "learning_rate": (0.0, -1.0),
    "muon_learning_rate": (0.0, -1.0),
    "b1": (-0.1, 1.0),
    "b2": (-0.1, 1.0),
    "weight_decay": (-1.0,),
    "warmup_steps": (-1, 2.0),
    "final_fraction": (-0.1, 1.1),
    "clip_norm": (0.0, -1.0),
    "accumulate": (0, -1, 1.5),
    "ema_decay": (-0.1, 1.0, 1.5),
    "max_skipped": (0, -1, 1.5),
  },
  VAE.mesh: dict.fromkeys(("data", "fsdp", "context", "tensor"), (0, -2, 1.5)),
  DistributedConfig("host:1", 2, 0): {
    "processes": (0, 1.5),
    "process": (-1, 0.5),
    "devices": (0, 1.5),
    "timeout": (0.0,),
    "hang_after": (0.0, -1.0),
  },
  Bucket(1, 32, 32): dict.fromkeys(("frames", "height", "width"), (0, -1, 32.0))
  | {"weight": (0.0, -1.0)},
  AutoBuckets(): dict.fromkeys(
    ("clip_tokens", "pixels", "shapes", "lengths"), (0, -1, 1.5)
  ),
  VAE.stages[0]: dict.fromkeys(("steps", "tokens"), (0, -1, 1.5)),
  VAE.output: dict.fromkeys(
    ("log_every", "sample_every", "evaluate_every", "save_every", "keep", "keep_every"),
    (0, -1, 1.5),
  ),
  VAE.loss: {
    "mse": (-1.0,),
    "wavelet": (-1.0,),
    "perceptual": (-1.0,),
    "perceptual_frames": (0, 1.5),
    "kl": (-1.0,),
    "max_sigma": (-0.1, 1.1),
    "statistics_decay": (-0.1, 1.0),
  },
  VAE.adversarial: dict.fromkeys(("weight", "r1"), (-1.0,))
  | dict.fromkeys(("start", "head_start", "ramp"), (-1, 1.5))
  | dict.fromkeys(("patch_size", "channels", "layers"), (0, -1, 1.5)),
  TRANSFORMER.flow: dict.fromkeys(("caption_dropout", "uniform_share"), (-0.1, 1.1))
  | {"shift_at_most": (), "shift": (), "spread": (0.0, -1.0)},
  TRANSFORMER.conditions: dict.fromkeys(
    ("first_frame", "first_frames", "last_frame", "reference", "max_sigma"), (-0.1, 1.1)
  )
  | {"first_frames_at_most": (1, 2.5)},
  VAE.video: {"max_faulty": (-0.1, 1.1)},
  ScoreConfig(at_least=1.0): {"at_least": ()},
  VAE: {"seed": (-1, 2**32, 0.5), "held_out": (-1, 1.5)},
  TRANSFORMER: {
    "seed": (-1, 2**32),
    "held_out": (-1, 1.5),
    "token_dropping": (-0.1, 1.0),
    "fps": (0.0, -24.0, 1e4),
  },
  VAE.vae: dict.fromkeys(
    ("latent_channels", "patch_size", "encoder_base_channels"), (0, -1, 1.5)
  ),
  TRANSFORMER.transformer: dict.fromkeys(
    ("num_attention_heads", "attention_head_dim", "num_layers", "caption_channels"),
    (0, -1, 1.5),
  )
  | {"norm_eps": (0.0,), "positional_embedding_theta": (0.0,)},
  TRANSFORMER.text: dict.fromkeys(
    ("vocab_size", "d_model", "num_layers", "max_text_tokens"), (0, -1)
  ),
  TRANSFORMER.scheduler: {"num_train_timesteps": (0,), "base_resolution": (0,)},
}
CASES = [
  pytest.param(config, name, value, id=f"{type(config).__name__}.{name}={value}")
  for config, fields in WRONG.items()
  for name, values in fields.items()
  for value in (*values, NAN, *(() if name in ("clip_norm", "hang_after") else (INF,)))
]


@pytest.mark.parametrize(("config", "name", "value"), CASES)
def test_a_number_out_of_its_range_is_refused_by_name(unchecked, config, name, value):
  with pytest.raises(ValueError, match=rf"{name}.* is {value}; it must be "):
    dataclasses.replace(config, **{name: value})


def test_every_number_of_a_run_has_its_range():
  """A field that is added here gets one, and a row in the table above."""
  kinds = (
    OptimizerConfig,
    MeshConfig,
    DistributedConfig,
    Bucket,
    AutoBuckets,
    Stage,
    OutputConfig,
    AdversarialConfig,
    VAELossConfig,
    VAERun,
    VideoConfig,
    ScoreConfig,
    FlowConfig,
    TransformerRun,
  )
  tested = {(type(config), name) for config, fields in WRONG.items() for name in fields}
  pairs = {(VAELossConfig, "wavelet_ramp"), (FlowConfig, "quantiles")}
  numbers = {
    (kind, field.name)
    for kind in kinds
    for field in dataclasses.fields(kind)
    if field.type in ("int", "float", "int | float", "float | None", "int | None")
  }
  assert numbers - pairs <= tested


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: VAELossConfig(wavelet_ramp=(20, 10)), "it must begin before it ends"),
    (lambda: VAELossConfig(wavelet_ramp=(-1, 10)), "wavelet_ramp is -1; it must be at"),
    (lambda: FlowConfig(quantiles=(0.9, 0.1)), "must satisfy 0 < low < high < 1"),
    (lambda: FlowConfig(quantiles=(NAN, 0.1)), "must satisfy 0 < low < high < 1"),
    (
      lambda: OutputConfig(save_every=4, keep_every=6),
      "a multiple of output.save_every",
    ),
    (lambda: DistributedConfig(processes=2), "need a distributed.coordinator HOST"),
    (lambda: DistributedConfig("host", 2, 0), "is host; it must be HOST:PORT"),
    (lambda: DistributedConfig("host:1", 2, 2), "distributed.process is 2 of distr"),
    (lambda: DistributedConfig("host:1", 2), "distributed.process is None of distr"),
    (lambda: Stage(1, (), 64), "A stage has no buckets"),
    (lambda: dataclasses.replace(VAE, stages=()), "A run has no stages"),
    (lambda: dataclasses.replace(VAE, data_weights=(0.0,)), "data_weights is 0.0; it"),
    (
      lambda: dataclasses.replace(VAE, data=("a", "b", "c"), data_weights=(1.0, 2.0)),
      "data names 3 source.s., but data_weights has 2",
    ),
    (lambda: Block("res_x", 0), "num_layers of a VAE block is 0"),
    (
      lambda: TransformerConfig(positional_embedding_max_pos=(1, 0, 1)),
      "positional_embedding_max_pos is 0; it must be above 0",
    ),
    (lambda: TextEncoderConfig(d_kv=0), "text.d_kv is 0"),
    (lambda: SchedulerConfig(shift=-1.0), "scheduler.shift is -1.0"),
  ],
)
def test_what_is_no_pair_or_empty_is_refused(make, message):
  with pytest.raises(ValueError, match=message):
    make()


def test_the_ends_of_the_ranges_are_taken():
  OptimizerConfig(b1=0.0, weight_decay=0.0, final_fraction=1.0, clip_norm=INF)
  OptimizerConfig(warmup_steps=0, final_fraction=0.0, accumulate=1, ema_decay=0.0)
  VAELossConfig(mse=0.0, wavelet=0.0, kl=0.0, max_sigma=1.0, wavelet_ramp=(0, 0))
  FlowConfig(caption_dropout=0.0)
  ConditionConfig(first_frame=0.5, first_frames=0.5, last_frame=1.0, reference=1.0)
  for data, fsdp in itertools.product((-1, 1, 8), repeat=2):
    MeshConfig(data, fsdp)


def test_only_what_makes_the_arrays_is_among_the_networks():
  run = tiny.transformer()
  # Its VAE is a path: that file decides the data.
  assert dataclasses.replace(run, vae="elsewhere.safetensors").networks == run.networks
  wider = dataclasses.replace(
    run.transformer, num_layers=1 + run.transformer.num_layers
  )
  assert dataclasses.replace(run, transformer=wider).networks != run.networks
  assert set(run.networks) == {"transformer", "text", "text_encoder"}

  run = tiny.vae()
  rival = dataclasses.replace(run, adversarial=AdversarialConfig(weight=0.1))
  assert set(run.networks) == {"vae"}
  assert rival.networks["discriminator"]["inputs"] == 6
  weighted = dataclasses.replace(run, adversarial=AdversarialConfig(weight=0.5))
  assert weighted.networks == rival.networks
