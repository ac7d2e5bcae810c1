import dataclasses
import json
import types

import numpy as np
import pytest

import ltx_jax
from ltx_jax.data import video
from ltx_jax.moving_shapes import world
from train.evaluate import shapes as evaluate
from train.evaluate.__main__ import main
from train.harness.figures import WORDS

SIZE = {"frames": 9, "height": 64, "width": 64}


class FakeModel:
  """Draws the requested caption, with the mistakes that a test wants."""

  def __init__(self, error=0.0, change=lambda caption: caption):
    self.config = types.SimpleNamespace(vae=ltx_jax.VAEConfig())
    self.params = {"vae": {"kernel": np.float32([error])}}
    self.recipe = types.SimpleNamespace(fps=12.0)
    self.calls = []
    self._error = error
    self._change = change

  def encode(self, video):
    assert video.dtype == np.float32 and -1 <= video.min() and video.max() <= 1
    return video

  def decode(self, latents, sigma, noise_scale):
    assert sigma == noise_scale == 0
    return latents + self._error

  def generate(self, prompt, *, seed, conditions=(), frames, height, width, **options):
    self.calls.append((prompt, seed, conditions, options))
    prompts, seeds = ([prompt], [seed]) if isinstance(prompt, str) else (prompt, seed)
    videos = [
      world.clip(self._change(p), s, frames, height, width)
      for p, s in zip(prompts, seeds, strict=True)
    ]
    for clip in videos:
      for condition in conditions:
        clip[condition.frame] = condition.media[0]
    return np.stack(videos)


def _generation(tmp_path, **options):
  return evaluate.Generation(output=tmp_path, **SIZE, **options)


def test_reconstruction_measures_the_vae_beside_the_linear_code(tmp_path):
  options = evaluate.Reconstruction(
    output=tmp_path, **SIZE, clips=5, fitted=12, batch=2
  )
  out = evaluate.evaluate_reconstruction(FakeModel(error=0.02), options)
  vae, linear = out["results"]["VAE"], out["results"]["linear code"]
  # 0.02 of a range of 2 is 40 dB, everywhere and in every clip.
  for group in ("psnr", "psnr inside the box"):
    assert list(vae[group].values()) == pytest.approx([40, 40, 40], abs=0.01)
    assert 5 < linear[group]["lowest"] < linear[group]["mean"] < 40
  assert linear["psnr inside the box"]["mean"] < linear["psnr"]["mean"]
  assert set(vae["judged right"].values()) == {1.0}
  captions = [record["caption"] for record in out["clips"]]
  assert len(set(captions)) == 5
  assert set(captions) <= set(world.held_out_captions())
  assert len({record["seed"] for record in out["clips"]}) == 5
  sheet, _ = video.read(tmp_path / "reconstruction.png")
  assert sheet.shape[0] == 1


def test_reconstruction_without_the_linear_code(tmp_path):
  options = evaluate.Reconstruction(output=tmp_path, **SIZE, clips=2, fitted=0)
  out = evaluate.evaluate_reconstruction(FakeModel(error=0.02), options)
  assert list(out["results"]) == ["VAE"]


def test_a_perfect_model_is_all_right(tmp_path):
  model = FakeModel()
  options = _generation(tmp_path, clips=6, conditioned=2, batch=4, steps=7)
  out = evaluate.evaluate_generation(model, options)
  for side in ("from text", "from a first frame"):
    assert set(out["results"][side]["judged right"].values()) == {1.0}
  assert out["results"]["from a first frame"]["psnr of all frames"]["mean"] == np.inf
  # Two batches of text, two clips from a first frame; each with its own seed.
  assert [len(call[0]) for call in model.calls[:2]] == [4, 2]
  assert [seed for call in model.calls[:2] for seed in call[1]] == list(range(6))
  assert all(call[3] == {"steps": 7, "guidance": None} for call in model.calls)
  for prompt, seed, (condition,), _ in model.calls[2:]:
    first = world.clip(prompt, seed, *options.size)[:1]
    assert condition.frame == 0 and condition.strength == 1
    np.testing.assert_array_equal(condition.media, first)
  assert len(model.calls) == 4
  for name in ("generation.png", "first_frame.png"):
    assert video.read(tmp_path / name)[0].shape[0] == 1


def test_mistakes_are_counted_and_named(tmp_path):
  def change(caption):
    caption = caption.replace("red", "blue")
    return caption.replace("moving left", "moving up")

  prompts = (
    "a small red circle moving right on a gray background",
    "a small green circle moving left on a gray background",
    "a small green circle moving right on a gray background",
    "a large red square moving left on a navy background",
  )
  options = _generation(tmp_path, prompts=prompts, conditioned=0)
  out = evaluate.evaluate_generation(FakeModel(change=change), options)
  assert list(out["results"]) == ["from text"]
  assert out["results"]["from text"]["judged right"] == {
    "color": 0.5,
    "shape": 1.0,
    "direction": 0.5,
    "size": 1.0,
    "background": 1.0,
    "all five": 0.25,
    "shape by its corners": 1.0,
  }
  wrong = [record["wrong"] for record in out["clips"]]
  assert wrong == ["color blue", "direction up", "", "color blue, direction up"]


def test_every_prompt_is_made_with_every_seed(tmp_path):
  prompts = world.EXAMPLES
  options = _generation(tmp_path, prompts=prompts, seeds=(3, 5))
  pairs = evaluate.prompts_and_seeds(options)
  assert pairs == [(prompt, seed) for prompt in prompts for seed in (3, 5)]


def test_held_out_captions_are_taken_by_default(tmp_path):
  pairs = evaluate.prompts_and_seeds(_generation(tmp_path))
  captions = [caption for caption, _ in pairs]
  assert len(set(captions)) == 64
  assert set(captions) <= set(world.held_out_captions())


def test_the_judge_is_put_to_the_proof(tmp_path):
  options = evaluate.Judge(output=tmp_path, **SIZE, clips=12)
  out = evaluate.evaluate_judge(options)
  assert set(out["results"]["rendered clips"]["judged right"].values()) == {1.0}
  assert out["wrong"] == [] and "psnr" not in out["results"]["rendered clips"]
  round_ = dataclasses.replace(options, rounded=0.7)
  right = evaluate.evaluate_judge(round_)["results"]["rendered clips"]["judged right"]
  circles = [world.parse(c).shape for c in evaluate.spread(world.captions(), 12)]
  assert right["shape by its corners"] == circles.count("circle") / 12
  damaged = dataclasses.replace(options, blur=5.0, noise=60.0)
  out = evaluate.evaluate_judge(damaged)
  assert out["results"]["rendered clips"]["psnr"]["mean"] < 18
  share = out["results"]["rendered clips"]["judged right"]["all five"]
  missed = [r for r in out["wrong"] if not all(r["right"][word] for word in WORDS)]
  assert share < 1 and len(missed) == round((1 - share) * 12)


def test_the_program_prints_a_table_and_writes_its_files(tmp_path, monkeypatch, capsys):
  sources = []
  monkeypatch.setattr(
    ltx_jax, "load", lambda source, **_: sources.append(source) or FakeModel()
  )
  arguments = "generation --model some.safetensors --frames 9 --height 64 --width 64"
  arguments += f" --clips 2 --conditioned 1 --output {tmp_path / 'new'}"
  main(arguments.split())
  assert sources == ["some.safetensors"]
  printed = capsys.readouterr().out
  for text in ("judged right, all five", "100.0%", "from a first frame", "compilation"):
    assert text in printed
  content = json.loads((tmp_path / "new" / "generation.json").read_text())
  assert content["settings"]["clips"] == 2
  assert content["command"] == f"python -m train.evaluate {arguments}"
  size = {"frames": 9, "height": 64, "width": 64, "fps": 12.0, "clips": 3}
  assert (content["number of clips"], content["sizes"]) == (3, [size])
  assert content["weights"]["some.safetensors"]["vae"]
  assert content["results"]["from text"]["judged right"]["all five"] == 1
  assert [r["wrong"] for r in content["clips"]] == ["", ""]


def test_reports_of_other_clips_have_other_data(tmp_path):
  data = []
  for count in ("2", "2", "3"):
    given = "--frames", "9", "--height", "64", "--width", "64", "--clips", count
    main(["judge", *given, "--output", str(tmp_path)])
    content = json.loads((tmp_path / "judge.json").read_text())
    assert content["sizes"][0]["clips"] == int(count) and content["weights"] == {}
    data.append(content["data"])
  assert data[0] == data[1] != data[2]


def test_the_clips_may_be_decoded_by_another_vae(monkeypatch):
  monkeypatch.setattr(ltx_jax, "load", lambda source, **_: f"model of {source}")
  monkeypatch.setattr(evaluate, "with_vae", lambda model, vae: f"{model}, VAE of {vae}")
  assert evaluate.load(evaluate.Generation(model="a")) == "model of a"
  assert (
    evaluate.load(evaluate.Generation(model="a", vae="b")) == "model of a, VAE of b"
  )


def test_bad_input_is_answered_in_words(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(ltx_jax, "load", lambda source, **_: FakeModel())
  for arguments, named in (
    (["generation", "--prompts", "a red dragon"], "no caption has the words dragon"),
    (["reconstruction", "--clips", "0"], "--clips is 0; it must be at least 1"),
    (["generation", "--stesp", "3"], "did you mean --steps?"),
    (["generation", "--batch", "0"], "--batch is 0; it must be at least 1"),
    (["judge", "--rounded", "1"], "at least 0 and below 1"),
    (["generation", "--conditioned", "-1"], "--conditioned is -1; it must be at least"),
    (
      ["reconstruction", "--frames", "10", *"--clips 1 --fitted 2".split()],
      "cannot be cut",
    ),
  ):
    with pytest.raises(SystemExit) as end:
      main([*arguments, "--output", str(tmp_path)])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line
  assert not list(tmp_path.iterdir())
