"""Compiles the stages of a video for an absent device (`sample.compile`)."""

from __future__ import annotations

import dataclasses

from ltx_jax.analysis import devices, stages
from ltx_jax.analysis.compiled import StageReport, compile_stage
from ltx_jax.analysis.devices import TARGETS
from ltx_jax.checkpoints import t5
from ltx_jax.checkpoints.lightricks import read_config
from ltx_jax.cli.mesh import mesh_of
from ltx_jax.config import ModelConfig
from ltx_jax.errors import check_number
from ltx_jax.releases.presets import PRESETS, HubFile, recipe_for, suggestion
from sample.compile import Options

_GB = 10**9


def config_of(name: str) -> ModelConfig:
  """Returns the configs of a model by name, without its weights.

  Raises:
    ValueError: If there is no such preset.
  """
  if name not in PRESETS:
    raise ValueError(f"No preset is called {name!r}; {suggestion(name)}")
  preset = PRESETS[name]
  if isinstance(preset.files, HubFile):
    return dataclasses.replace(preset.config, name=name)
  config = read_config(preset.files / "model.safetensors")
  text = t5.load_config(preset.files / "text_encoder")
  return dataclasses.replace(config, text_encoder=text)


def pixels(size: str | None, option: str = "--size") -> tuple[int | None, int | None]:
  """Reads "768x512", the value of an option, as (width, height).

  Raises:
    ValueError: If it has another form.
  """
  if size is None:
    return None, None
  sides = size.split("x")
  if len(sides) != 2 or not all(side.isdecimal() for side in sides):
    raise ValueError(f"{option} is {size}; give width and height, such as 768x512.")
  return int(sides[0]), int(sides[1])


def run_of(options: Options) -> stages.SamplingRun:
  """Returns the run that the options describe.

  Raises:
    ValueError: If they do not fit, or a compiler is missing.
  """
  target = TARGETS[options.device]
  check_number("--clips", options.clips, at_least=1, at_most=10_000)
  if options.decode_memory is not None:
    check_number("--decode-memory", options.decode_memory, above=0)
  config = config_of(options.preset)
  recipe = recipe_for(config)
  width, height = pixels(options.size)
  if target.chips > 1 and options.mesh is None:
    raise ValueError(
      f"{options.device} is {target.chips} chips, but --mesh does not say what each of "
      f"them does; give it, such as --mesh context={target.chips}."
    )
  chips = devices.devices_of(target)
  mesh = mesh_of(options.mesh, chips)
  return stages.SamplingRun(
    config=config,
    policy=dataclasses.replace(target.policy, mesh=mesh),
    device=chips[0],
    canvas=recipe.canvas(config.vae, options.frames, height, width),
    branches=options.branches or recipe.sampling.branches,
    clips=options.clips,
  )


def reports(options: Options) -> list[StageReport]:
  """Compiles the stages that the options ask for.

  Raises:
    ValueError: If the options do not fit, a compiler is missing, or the VAE cannot be
      tiled.
  """
  memory = options.decode_memory and int(options.decode_memory * _GB)
  made = stages.stages(run_of(options), options.stages, memory)
  return [compile_stage(stage, TARGETS[options.device]) for stage in made]
