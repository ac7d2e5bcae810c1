"""Released checkpoints by name: their configs, recipes and downloads."""

import dataclasses
import logging

import huggingface_hub
import numpy as np
import pytest

import ltx_jax
from ltx_jax.checkpoints import keys, recognize
from ltx_jax.checkpoints.lightricks import save_checkpoint
from ltx_jax.config import VAE_A
from ltx_jax.diffusion import schedules
from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.releases import hub, presets, sources
from ltx_jax.releases.presets import PRESETS, HubFile
from tests import pipeline_case as case
from tests.releases import test_loading as loading

RELEASED = {k: v for k, v in PRESETS.items() if isinstance(v.files, HubFile)}


@pytest.fixture
def cache(tmp_path, monkeypatch):
  """A hub in memory that lists its downloads."""
  cached, asked = {}, []

  def lookup(repository, file):
    return cached.get(f"{repository}/{file}")

  def download(repository, file):
    asked.append(f"{repository}/{file}")
    path = tmp_path / "hub" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, dataclasses.replace(case.config(), name=None), case.params())
    cached[f"{repository}/{file}"] = str(path)
    return str(path)

  def snapshot(repository, allow_patterns):
    asked.append((repository, tuple(allow_patterns)))
    folder = tmp_path / "hub" / "text"
    if not folder.exists():
      loading.write_text_encoder(folder / "text_encoder")
      loading.copy_tokenizer(folder / "tokenizer")
    cached[f"{repository}/text_encoder/config.json"] = str(folder)
    return str(folder)

  monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lookup)
  monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
  monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
  monkeypatch.setattr(hub, "_check_network", lambda: None)
  return asked


def test_every_release_is_there():
  files = {preset.files.name for preset in RELEASED.values()}
  assert len(files) == len(RELEASED) == 15
  for size, versions in {
    "2b": ("0.9.0", "0.9.1", "0.9.5", "0.9.6-dev", "0.9.6-distilled"),
    "13b": ("0.9.7-dev", "0.9.7-distilled", "0.9.8-dev", "0.9.8-distilled"),
  }.items():
    for version in versions:
      assert f"ltxv-{size}-{version}" in RELEASED
  eighth = {f"ltxv-2b-0.9.8-distilled{suffix}" for suffix in ("", "-fp8")}
  assert eighth < RELEASED.keys()
  assert sum(name.endswith("-fp8") for name in RELEASED) == 5
  assert len(presets.UPSCALERS) == 3


@pytest.mark.parametrize("name", RELEASED)
def test_a_file_without_a_config_is_recognised_as_its_preset(name):
  preset = RELEASED[name]
  config = preset.config
  shapes = [
    {entry.key: entry.shape for entry in entries}
    for entries in (
      keys.transformer_entries(config.transformer),
      keys.vae_entries(config.vae),
    )
  ]
  guess = recognize.recognize(*shapes)
  assert guess == (config.transformer, config.vae, config.scheduler)
  silent = dataclasses.replace(config, allowed_inference_steps=None)
  named = presets.completed(silent, name)
  assert named == dataclasses.replace(config, name=name)
  assert presets.recipe_for(named) == preset.recipe
  distilled = "distilled" in name
  assert (config.allowed_inference_steps is not None) == distilled
  assert (preset.recipe.sampling.guidance == 1) == distilled
  assert (
    "https://huggingface.co/Lightricks/LTX-Video/blob/main/" in preset.files.licence
  )


@pytest.mark.parametrize("name", [n for n in RELEASED if "distilled" in n])
def test_distilled_recipes_take_levels_that_the_model_knows(name):
  config, sampling = RELEASED[name].config, RELEASED[name].recipe.sampling
  levels = sampling.levels(config.scheduler, 1000)
  known = [round(level, 4) for level in config.allowed_inference_steps]
  assert [round(float(level), 4) for level in levels] == known


def samplings(preset):
  """Samplings of the single pass, and of two passes if there are two."""
  passes = preset.recipe.passes
  return [preset.recipe.sampling, *(passes.both if passes else ())]


@pytest.mark.parametrize("name", RELEASED)
def test_recipes_fit_their_models(name):
  """Existing blocks, trained levels, and second passes that start below 1."""
  preset = RELEASED[name]
  layers = preset.config.transformer.num_layers
  for sampling in samplings(preset):
    levels = sampling.levels(preset.config.scheduler, 1000)
    schedules.check_trained(levels, preset.config.allowed_inference_steps)
    for setting in sampling.settings(levels):
      assert all(block < layers for block in setting.blocks)
  assert (preset.recipe.passes is None) == (preset.recipe.upscaler is None)
  if preset.recipe.passes:
    assert levels[0] < 1
    version = name.split("-")[2]
    assert preset.recipe.upscaler == f"ltxv-spatial-upscaler-{version}"
    assert preset.recipe.upscaler in presets.UPSCALERS


def test_a_model_says_at_which_size_it_samples():
  config = RELEASED["ltxv-2b-0.9.5"].config
  own = dataclasses.replace(config, default_size=(25, 96, 160), default_fps=12.0)
  assert presets.recipe_for(own).size == (25, 96, 160)
  assert presets.recipe_for(own).fps == 12.0
  assert presets.recipe_for(config).size == (121, 512, 768)


def test_what_the_recipes_say():
  stochastic = {name for name, p in RELEASED.items() if samplings(p)[0].stochastic}
  assert stochastic == {"ltxv-2b-0.9.6-distilled"}
  mapped = {name for name, p in RELEASED.items() if samplings(p)[-1].tone_map}
  last = "ltxv-13b-0.9.8-distilled"
  assert mapped == {last, f"{last}-fp8"}
  assert RELEASED[last].recipe.passes.both == (
    Sampling(sigmas=(1.0, 0.9937, 0.9875, 0.9812, 0.975, 0.9094, 0.725), guidance=1.0),
    Sampling(sigmas=(0.9094, 0.725, 0.4219), guidance=1.0, tone_map=0.6),
  )
  for version in ("0.9.0", "0.9.1", "0.9.5", "0.9.6-dev"):
    (sampling,) = samplings(RELEASED[f"ltxv-2b-{version}"])
    assert sampling == Sampling(
      steps=40, guidance=3.0, stg=1.0, stg_blocks=(19,), rescale=0.7
    )


def test_the_large_dev_models_are_guided_by_noise_level():
  preset = RELEASED["ltxv-13b-0.9.8-dev"]
  first, second = preset.recipe.passes.both
  levels = first.levels(preset.config.scheduler, 1000)
  assert len(levels) == 27
  assert len(second.levels(preset.config.scheduler, 1000)) == 13
  marks = np.float32([1.0, 0.997, 0.994, 0.99, 0.98, 0.95, 0.7, 0.3])
  told = [(s.guidance, s.stg, s.share, s.blocks) for s in first.settings(marks)]
  assert told == [
    (1, 0, 0, ()),
    (1, 0, 0, (11, 25, 35, 39)),
    (6, 4, 0.5, (22, 35, 39)),
    (8, 4, 0.5, (28,)),
    (6, 4, 0, (28,)),
    (1, 2, 0, (28,)),
    (1, 1, 0, (28,)),
    (1, 1, 0, (28,)),
  ]
  assert first.cfg_star and second.cfg_star
  assert second.settings(marks)[0].blocks == (27,)


def test_fine_tunes_and_other_networks_keep_what_they_are():
  config = RELEASED["ltxv-2b-0.9.5"].config
  assert presets.completed(config, None) == config
  own = dataclasses.replace(config, name="mine")
  assert presets.completed(own, "ltxv-2b-0.9.5") == own
  for changes in ({"vae": VAE_A}, {"vae": None}):
    other = dataclasses.replace(config, **changes)
    assert presets.completed(other, "ltxv-2b-0.9.5") == other
  assert presets.completed(config, "moving-shapes") == config


def test_a_preset_is_downloaded_once_with_its_licence(cache, caplog):
  name, preset = "ltxv-2b-0.9.6-dev", RELEASED["ltxv-2b-0.9.6-dev"]
  with caplog.at_level(logging.WARNING, "ltx_jax"):
    model = ltx_jax.load(name)
  folders = ("text_encoder/*", "tokenizer/*")
  repository = f"{presets.REPOSITORY}/{preset.files.name}"
  assert cache == [repository, (presets.TEXT_ENCODER, folders)]
  first, second = caplog.messages
  assert preset.files.licence in first and preset.files.name in first
  assert "Apache License 2.0" in second and "text_encoder and tokenizer" in second
  assert model.config.text_encoder.d_model == 10
  caplog.clear()
  ltx_jax.load(name, text_encoder=False)
  assert not caplog.messages and len(cache) == 2


def test_a_file_that_is_named_like_a_release_takes_its_recipe(cache, tmp_path):
  file = RELEASED["ltxv-13b-0.9.8-dev"].files.name
  found = sources.resolve(f"Lightricks/LTX-Video/{file}")
  assert found.preset == "ltxv-13b-0.9.8-dev"
  assert found.text_encoder.name == "text_encoder"  # That of the release, fetched.
  assert len(cache) == 2
  path = tmp_path / file
  save_checkpoint(path, case.config(), case.params())
  assert sources.resolve(path).preset == "ltxv-13b-0.9.8-dev"
  assert ltx_jax.load(path).config.name == "random"
  assert len(cache) == 2


def test_a_licence_is_said_of_the_publishers_file_only(cache, caplog):
  file = RELEASED["ltxv-13b-0.9.8-dev"].files.name
  for repository, said in (("someone/else", False), (presets.REPOSITORY, True)):
    caplog.clear()
    sources.resolve(f"{repository}/{file}", text_encoder=False)
    assert ("licence" in caplog.text) == said


def test_without_a_network_one_sentence_says_what_to_do(cache, monkeypatch):
  def offline(*_, **__):
    raise ConnectionError("no route")

  monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
  with pytest.raises(
    ValueError, match="text_encoder and tokenizer of PixArt.*Connecti"
  ):
    ltx_jax.load("ltxv-2b-0.9.0")
  monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
  url = "https://huggingface.co/Lightricks/LTX-Video/resolve/main/ltx-video-2b-v0.9.1"
  with pytest.raises(ValueError, match=rf"\(ConnectionError\); download {url}"):
    ltx_jax.load("ltxv-2b-0.9.1")
  monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
  with pytest.raises(ValueError, match="HF_HUB_OFFLINE forbids network access"):
    hub.fetch("a/b", "c.safetensors")


def test_without_a_network_nothing_is_tried_again(monkeypatch):
  class Session:
    def head(self, url, timeout):
      assert url.startswith("https://huggingface.co") and timeout <= 10
      raise ConnectionError("no route")

  def download(*_, **__):
    raise AssertionError("a download was tried without a network")

  monkeypatch.setattr(huggingface_hub, "get_session", Session)
  monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
  monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
  with pytest.raises(ValueError, match="ConnectionError"):
    hub.fetch("a/b", "c.safetensors")
  with pytest.raises(ValueError, match="ConnectionError"):
    hub.fetch_folders("a/b", ["c"])
