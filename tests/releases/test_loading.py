"""Finding, loading and saving models."""

import dataclasses
import types

import jax
import numpy as np
import pytest

import ltx_jax
from ltx_jax.checkpoints import lightricks
from ltx_jax.checkpoints.lightricks import save_checkpoint
from ltx_jax.checkpoints.t5 import save_t5
from ltx_jax.config import TextEncoderConfig
from ltx_jax.models import text_encoder
from ltx_jax.pipeline.recipes import Recipe
from ltx_jax.platforms import policy_of
from ltx_jax.releases import hub, loading, presets, sources
from tests import pipeline_case as case
from tests.checkpoints import folders

TOKENIZER = presets.ASSETS / "moving_shapes" / "tokenizer"


def write_text_encoder(folder, width=10):
  config = TextEncoderConfig(
    vocab_size=512, d_model=width, d_kv=4, d_ff=12, num_layers=1, num_heads=2
  )
  save_t5(folder, config, text_encoder.init(config, jax.random.key(1)))


def copy_tokenizer(folder):
  folder.mkdir(parents=True)
  for file in TOKENIZER.iterdir():
    (folder / file.name).write_bytes(file.read_bytes())


@pytest.fixture
def folder(tmp_path):
  save_checkpoint(tmp_path / "model.safetensors", case.config(), case.params())
  return tmp_path


def test_load_save_load_save_is_bit_identical(folder):
  first, second = folder / "first.safetensors", folder / "second.safetensors"
  ltx_jax.save(ltx_jax.load(folder / "model.safetensors"), first)
  ltx_jax.save(ltx_jax.load(first), second)
  assert first.read_bytes() == second.read_bytes()
  assert first.read_bytes() == (folder / "model.safetensors").read_bytes()


def test_a_file_loads_as_float32_on_a_cpu_and_as_asked(folder):
  model = ltx_jax.load(folder / "model.safetensors")
  assert model.policy.name == "cpu" and model.policy.dtype == "float32"
  assert model.config.transformer == case.TRANSFORMER
  assert model.recipe == Recipe()
  for leaf, expected in zip(
    jax.tree.leaves(model.params), jax.tree.leaves(case.params()), strict=True
  ):
    assert isinstance(leaf, jax.Array)
    np.testing.assert_array_equal(leaf, expected)
  half = ltx_jax.load(folder / "model.safetensors", dtype="bfloat16")
  assert half.params["transformer"]["proj_out"]["kernel"].dtype == "bfloat16"
  assert half.params["vae"]["per_channel_statistics"]["std"].dtype == "float32"
  text, negative = case.texts()
  latents = case.denoise(half, case.RUNS["unguided"])
  assert latents.dtype == np.float32
  assert np.isfinite(latents).all()


def test_the_vae_loads_alone_from_a_whole_model_and_from_its_own_file(folder):
  save_checkpoint(
    folder / "vae.safetensors",
    dataclasses.replace(case.config(), transformer=None),
    {"vae": case.params()["vae"]},
  )
  for name in ("model.safetensors", "vae.safetensors"):
    model = loading.load_vae(folder / name)
    assert model.params.keys() == {"vae"} and model.config.vae == case.VAE
    expected = jax.tree.leaves(case.params()["vae"])
    for leaf, same in zip(jax.tree.leaves(model.params), expected, strict=True):
      np.testing.assert_array_equal(leaf, same)
  assert loading.load_vae(folder, dtype="bfloat16").policy.dtype == "bfloat16"


def test_text_encoder_is_found_beside_or_where_it_is_said(folder):
  assert ltx_jax.load(folder).config.text_encoder is None
  write_text_encoder(folder / "text_encoder")
  copy_tokenizer(folder / "tokenizer")
  for given in (None, folder, folder / "text_encoder"):
    model = ltx_jax.load(folder / "model.safetensors", text_encoder=given)
    assert model.config.text_encoder.d_model == 10
    assert model.encode_text(["a red circle"])[0].shape[-1] == 10
  assert ltx_jax.load(folder, text_encoder=False).tokenizer is None


@pytest.mark.parametrize(
  ("platform", "capability", "dtype", "policy"),
  [
    ("gpu", "9.0", None, ("bfloat16", "cudnn")),
    ("gpu", "9.0", "float16", ("float16", "cudnn")),
    ("gpu", "9.0", "float32", ("float32", "xla")),  # The fused kernel has none.
    ("gpu", "7.5", None, ("float16", "xla")),
    ("tpu", None, None, ("bfloat16", "splash")),
  ],
)
def test_the_policy_is_the_platforms_in_the_dtype_asked_for(
  folder, monkeypatch, platform, capability, dtype, policy
):
  device = types.SimpleNamespace(platform=platform, compute_capability=capability)
  monkeypatch.setattr(loading, "policy_of", lambda _: policy_of(device))
  loaded = ltx_jax.load(folder, dtype=dtype).policy
  assert (loaded.name, loaded.dtype, loaded.attention) == (platform, *policy)


def test_a_text_encoder_of_another_width_is_refused_before_weights_are_read(
  folder, monkeypatch
):
  write_text_encoder(folder / "text_encoder", width=12)
  copy_tokenizer(folder / "tokenizer")
  monkeypatch.delattr(lightricks, "load_checkpoint")
  with pytest.raises(ValueError, match="d_model = 12.*caption_channels = 10"):
    ltx_jax.load(folder)


def test_presets_are_named_and_suggested(monkeypatch, folder):
  preset = presets.Preset(folder, Recipe(), "a test")
  monkeypatch.setitem(presets.PRESETS, "moving-shapes", preset)
  assert sources.resolve("moving-shapes").checkpoint == folder / "model.safetensors"
  with pytest.raises(
    ValueError, match="called 'moving-shape'; did you mean 'moving-sh"
  ):
    ltx_jax.load("moving-shape")
  with pytest.raises(ValueError, match="did you mean 'ltxv-2b-0.9.6-dev'"):
    ltx_jax.load("ltxv-2b-0.9.6-dex")
  with pytest.raises(ValueError, match="presets are moving-shapes, ltxv-2b-0.9.0, "):
    ltx_jax.load("sora")


def test_a_hub_file_without_a_network_says_what_to_fetch_and_where_to_put_it(
  monkeypatch, folder
):
  import huggingface_hub

  def offline(repo, file):
    raise ConnectionError("no route")

  monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
  monkeypatch.setattr(hub, "_check_network", lambda: None)
  name = "Lightricks/LTX-Video/ltxv-2b-0.9.6-dev-04-25.safetensors"
  with pytest.raises(ValueError) as error:
    ltx_jax.load(name)
  url = "https://huggingface.co/Lightricks/LTX-Video/resolve/main/ltxv-2b-0.9.6-dev"
  assert url in str(error.value)
  assert "give its path" in str(error.value)
  file = str(folder / "model.safetensors")
  monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repo, name: file)
  assert str(sources.resolve(name).checkpoint) == file


@pytest.mark.parametrize(
  ("source", "message"),
  [
    ("nowhere.safetensors", "There is no file nowhere.safetensors"),
    ("/nowhere/model", "There is no file /nowhere/model"),
    ("Lightricks/LTX-Video", "name the file as well"),
  ],
)
def test_sources_that_are_not_there_are_refused(source, message):
  with pytest.raises(ValueError, match=message):
    ltx_jax.load(source)


def test_what_is_wrong_with_a_file_is_said_before_what_lacks_beside_it(
  folder, tmp_path
):
  broken = tmp_path / "broken.safetensors"
  broken.write_bytes((folder / "model.safetensors").read_bytes()[:1000])
  with pytest.raises(ValueError, match="broken.safetensors is truncated"):
    ltx_jax.load_text_encoder(broken)
  whole = tmp_path / "whole.safetensors"
  whole.write_bytes((folder / "model.safetensors").read_bytes())
  with pytest.raises(ValueError, match="next to .*whole.*or --text-encoder FOLDER"):
    ltx_jax.load_text_encoder(whole)


def test_an_upscaler_that_no_recipe_names_is_refused(unchecked):
  with pytest.raises(ValueError, match="give one of ltxv-spatial-upscaler"):
    ltx_jax.load_upscaler(None)


def test_folders_that_hold_no_model_are_refused(tmp_path):
  with pytest.raises(ValueError, match="folder without model.safetensors"):
    ltx_jax.load(tmp_path)
  (tmp_path / "other.safetensors").write_bytes(b"")
  with pytest.raises(ValueError, match="such as .*other.safetensors"):
    ltx_jax.load(tmp_path)
  (tmp_path / "model_index.json").write_text("{}")
  with pytest.raises(ValueError, match="has a model_index.json but neither transf"):
    ltx_jax.load(tmp_path)


def test_text_encoders_that_are_not_there_are_refused(folder):
  with pytest.raises(ValueError, match="holds no text encoder"):
    ltx_jax.load(folder, text_encoder=folder / "nowhere")
  write_text_encoder(folder / "t5")
  with pytest.raises(ValueError, match="no tokenizer; put its spiece.model into"):
    ltx_jax.load(folder, text_encoder=folder / "t5")


def test_a_diffusers_folder_loads_with_its_text_encoder(tmp_path):
  config = folders.config(newer=True)
  params = folders.params(config)
  save_checkpoint(tmp_path / "model.safetensors", config, params)
  model, folder = ltx_jax.load(tmp_path), tmp_path / "folder"
  ltx_jax.save(model, folder, layout="diffusers")
  write_text_encoder(folder / "text_encoder", width=16)
  copy_tokenizer(folder / "tokenizer")
  loaded = ltx_jax.load(folder)
  assert loaded.config.vae == config.vae
  assert loaded.config.text_encoder.d_model == 16
  ltx_jax.save(loaded, tmp_path / "again.safetensors")
  again = (tmp_path / "again.safetensors").read_bytes()
  assert again == (tmp_path / "model.safetensors").read_bytes()
  write_text_encoder(folder / "text_encoder", width=12)
  with pytest.raises(ValueError, match="d_model = 12.*caption_channels = 16"):
    ltx_jax.load(folder)


def test_other_layouts_and_dtypes_are_refused(folder, unchecked):
  model = ltx_jax.load(folder)
  with pytest.raises(ValueError, match="layout is 'pickle'; it may be 'lightricks'"):
    ltx_jax.save(model, folder / "out", layout="pickle")
  with pytest.raises(ValueError, match="dtype is 'int8'"):
    ltx_jax.load(folder, dtype="int8")
