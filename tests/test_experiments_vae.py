"""The VAE's experiments: controls, verdicts, and a tiny run from end to end."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from PIL import Image

from configs import tiny
from ltx_jax.checkpoints.lightricks import load_checkpoint, save_checkpoint
from ltx_jax.config import ModelConfig, SchedulerConfig
from ltx_jax.data.pixels import to_floats
from ltx_jax.models.vae import encode_moments, init_vae
from ltx_jax.moving_shapes import texture, world
from tests.experiments import runner
from tests.experiments.vae import page, run, study, variants
from tests.experiments.vae.variants import PLAN, VARIANTS, Plan, phases
from tests.policies import QUICK

TINY = Plan(
  first=2,
  second=2,
  every=1,
  clips=4,
  bucket=tiny.CLIP,
  network=variants.with_noise(tiny.VAE, True),
)


@pytest.fixture
def tiny_plan(tmp_path):
  """A plan that starts from a VAE without injected noise."""
  path = tmp_path / "tiny.safetensors"
  params = jax.jit(init_vae, static_argnums=1)(jax.random.key(1), tiny.VAE)
  config = ModelConfig(transformer=None, vae=tiny.VAE, scheduler=SchedulerConfig())
  save_checkpoint(path, config, {"vae": jax.device_get(params)}, dtype="float32")
  return TINY._replace(start=path)


@pytest.mark.parametrize(
  ("name", "changed", "first"),
  [
    ("no-gan", {"adversarial"}, "baseline"),
    ("ordinary-gan", {"adversarial"}, "ordinary-gan"),
    ("no-wavelet", {"loss"}, "no-wavelet"),
    ("per-channel", {"vae"}, "per-channel"),
    ("no-noise", {"vae"}, "no-noise"),
    ("clean-decoder", {"loss"}, "clean-decoder"),
  ],
)
def test_a_control_differs_in_one_thing_and_shares_what_it_can(name, changed, first):
  base = variants.baseline(1, PLAN)
  control = VARIANTS[name].change(base)
  differing = {
    field.name
    for field in dataclasses.fields(base)
    if getattr(base, field.name) != getattr(control, field.name)
  }
  assert differing == changed
  assert variants.owner(name) == first


def test_all_start_from_one_vae_whatever_their_networks(tmp_path, tiny_plan):
  clip = to_floats(texture.clip(world.captions()[0], 1, 5, 32, 32))[None]
  _, params = load_checkpoint(tiny_plan.start, "float32", parts=("vae",))
  expected = encode_moments(params["vae"], tiny.VAE, QUICK, clip)[0]
  for name in ("baseline", "no-noise", "per-channel"):
    first = phases(name, 1, tiny_plan, tmp_path)[0]
    config, params = load_checkpoint(first.init_from, "float32", parts=("vae",))
    assert config.vae == first.vae
    found = encode_moments(params["vae"], config.vae, QUICK, clip)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_second_phase_goes_on_from_the_first_with_other_clips(tmp_path, tiny_plan):
  first, second = phases("ordinary-gan", 2, tiny_plan, tmp_path)
  assert first.adversarial.sees == second.adversarial.sees == "clip"
  assert first.adversarial.heard[0] == first.steps  # Never: the VAE learns alone.
  assert second.adversarial.weight > 0 and second.adversarial.heard[0] == 0
  assert second.init_from == f"{first.output.folder}/vae.safetensors"
  assert first.seed == 2 and second.seed != 2
  alone, without = phases("no-gan", 2, tiny_plan, tmp_path)
  assert alone == phases("baseline", 2, tiny_plan, tmp_path)[0]
  assert not without.adversarial.weight
  assert without.init_from == f"{tmp_path}/baseline-2-first/vae.safetensors"
  assert (first.steps, second.steps) == (tiny_plan.first, tiny_plan.second)


def test_the_vae_is_of_the_released_compression():
  vae = PLAN.network
  pixels = 3 * vae.spatial_factor**2 * vae.temporal_factor
  assert pixels // vae.latent_channels == 192
  assert any(block.inject_noise for block in vae.decoder_blocks)


@pytest.mark.parametrize(
  ("words", "said"),
  [
    (("baseline", "baseline"), 'Confirmed: the baseline is better in "a" and in "b".'),
    (("baseline", ""), "Partly confirmed"),
    (("", ""), "Not seen at this scale"),
    (("control", ""), 'Contradicted at this scale: the control is better in "a".'),
    (("baseline", "control"), 'Mixed: the baseline is better in "a", the control'),
  ],
)
def test_a_verdict_follows_from_the_figures_that_decide(words, said):
  titles = zip("ab", words, strict=True)
  found = {t: f"{word} better" if word else "within noise" for t, word in titles}
  assert page.judged(found).startswith(said)


def test_every_claim_rests_on_figures_that_there_are():
  titles = {figure.title for figure in page.FIGURES}
  for name, variant in VARIANTS.items():
    assert (name == variants.BASELINE) == (not variant.claim)
    assert set(variant.decides) <= titles and bool(variant.decides) == bool(
      variant.claim
    )
  assert len(VARIANTS) * len(variants.SEEDS) <= 16


def test_what_has_a_result_is_not_run_again(tmp_path, monkeypatch):
  started = []
  monkeypatch.setattr(runner, "program", lambda *options: started.append(options))
  family = run.FAMILY._replace(results=tmp_path)
  family.result("baseline", 1).write_text("{}")
  runner.run_missing(family, ["no-gan", "baseline"], tmp_path / "runs")
  assert [options[1:5] for options in started] == [
    ("vae", "baseline", "--seed", 2),
    ("vae", "no-gan", "--seed", 1),
    ("vae", "no-gan", "--seed", 2),
  ]


def result(name, seed, better=0.0):
  """A result whose high bands and features are better by a share."""
  bands = {"error": 1.0 - better, "given": 2.0, "made": 1.0 + better}
  latents = {"in_use": 8, "correlation": 0.1, "effective_rank": 6.0}
  latents["spectrum"] = [0.5, 0.25]
  pace = {"slow": 20.0, "fast": 19.0}
  return {
    "name": name,
    "seed": seed,
    "steps": [2, 2],
    "commit": "abc",
    **dict.fromkeys(("first", "second"), 90),
    "curve": {"psnr": [[1, 10.0], [2, 12.0]], "discriminator_accuracy": [[2, 0.5]]},
    "measured": {
      "psnr": 20.0 + 0.01 * seed,
      "ssim": 0.5,
      "difference_error": 3.0,
      "motion_ratio": 0.9,
      "bands": dict.fromkeys(page.HIGH_BANDS, bands),
      "feature_distance": 0.5 - better + 0.01 * seed,
      "psnr_by_sigma": {"0.05": pace, "0.1": pace},
      "discriminator_accuracy": None if name == "no-gan" else 0.75,
      "latents": [{"step": 2, **latents}],
    },
  }


def test_the_page_has_figures_verdicts_and_images_of_what_has_run(tmp_path):
  results = tmp_path / "experiments" / "vae"
  results.mkdir(parents=True)
  for name, better in (("baseline", 0.2), ("no-gan", 0.0), ("ordinary-gan", 0.2)):
    for seed in variants.SEEDS if name != "ordinary-gan" else (1,):
      path = results / f"{name}-{seed}.json"
      path.write_text(json.dumps(result(name, seed, better)))
  page.write_page(tmp_path)
  text = (tmp_path / "experiments-vae.md").read_text()
  gan, ordinary, wavelet = text.split("\n## ")[1:4]
  assert "| 0.4 | 0.5 | +0.1 | 0 | baseline better |" in gan
  assert "| 20.02 | 20.02 | +0 | 0.014 | within noise |" in gan
  assert f'Confirmed: the baseline is better in "{variants.DETAIL}"' in (
    " ".join(gan.split())
  )
  assert "3 minutes at abc" in gan and "discriminator" not in (gan.split("|")[0])
  assert "No verdict before both seeds have run." in ordinary
  assert "discriminator right in 75 %" in " ".join(ordinary.split())
  assert "Not run yet." in wavelet
  for name in ("original", "baseline", "no-gan"):
    assert f"![{name}](images/vae-{name}.png)" in text
  assert (tmp_path / "images" / "vae-curves.png").stat().st_size > 1000


def test_the_page_says_what_has_not_run(tmp_path):
  page.write_page(tmp_path)
  text = (tmp_path / "experiments-vae.md").read_text()
  assert text.count("Not run yet.") == len(VARIANTS) - 1 and "images/" not in text


@pytest.mark.slow
def test_a_tiny_run_goes_from_training_to_the_page(tmp_path, tiny_plan):
  docs, folder = tmp_path / "docs", tmp_path / "runs"
  docs.mkdir()
  run.run_one("baseline", 1, folder, tiny_plan, docs)
  path = docs / "experiments" / "vae" / "baseline-1.json"
  found = json.loads(path.read_text())
  measured = found["measured"]
  assert [row["step"] for row in measured["latents"]] == [1, 2, 3, 4]
  assert [step for step, _ in found["curve"]["psnr"]] == [1, 2, 3, 4]
  assert [step for step, _ in found["curve"]["discriminator_accuracy"]] == [
    *(1, 2, 3, 4)
  ]
  assert 0 <= measured["discriminator_accuracy"] <= 1
  assert set(measured["psnr_by_sigma"]["0.1"]) == {"slow", "fast"}
  assert measured["feature_distance"] > 0
  # Clean latents give the same clips, whoever decodes them.
  assert np.mean([*measured["psnr_by_sigma"]["0.0"].values()]) == pytest.approx(
    measured["psnr"]
  )
  # The other runs' results, as if they had been run too.
  for name, seed in (("baseline", 2), ("no-gan", 1), ("no-gan", 2)):
    other = found | {"name": name, "seed": seed}
    path.with_name(f"{name}-{seed}.json").write_text(json.dumps(other))
  page.write_page(docs, tiny_plan)
  section = (docs / "experiments-vae.md").read_text().split("\n## ")[1]
  assert section.count("| PSNR") == 5 and "Not seen at this scale" in section
  for name in ("original", "baseline"):
    with Image.open(docs / "images" / f"vae-{name}.png") as image:
      assert image.size == (6 * 96, 96)


def test_a_verdict_names_what_the_control_does_better():
  said = page.beside(
    {"a": "control better", "b": "within noise", "c": "baseline better"}
  )
  assert said == ' The price: the control is better in "a".'
  assert page.beside({"b": "within noise"}) == ""


@pytest.mark.slow
def test_a_study_of_people_shows_every_recipe_and_the_originals(
  tmp_path, tiny_plan, monkeypatch
):
  names = "baseline", "no-gan"
  monkeypatch.setattr(study, "VARIANTS", {name: VARIANTS[name] for name in names})
  study.make(tmp_path / "runs", tmp_path / "shown", tiny_plan)
  for name in ("original", *names):
    files = sorted(path.name for path in (tmp_path / "shown/clips" / name).iterdir())
    assert files == ["00.mp4", "01.mp4", "02.mp4", "03.mp4"]
  made = json.loads((tmp_path / "shown/study/study.json").read_text())
  assert sorted(made["models"]) == ["baseline", "no-gan", "original"]
  assert {item["prompt"] for item in made["items"]} <= set(world.held_out_captions())
