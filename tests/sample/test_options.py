"""Refusals before anything is loaded, and the names of outputs."""

import dataclasses
from pathlib import Path

import pytest

import ltx_jax
from sample.options import Options, check_outputs, outputs_of
from tests.sample.test_generate import PROMPT, SIZE


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ((), "Give at least one prompt, for example"),
    ((PROMPT, "--output", "a.avi"), "a.avi has the suffix '.avi'"),
    ((PROMPT, "--image", "no.png"), "no.png does not exist"),
    ((PROMPT, "--model", "moving-shape"), "did you mean 'moving-shapes'"),
    ((PROMPT, "--steps", "0"), "steps is 0; it must be a whole number of at least 1"),
    ((PROMPT, "--strength", "2", "--image", "no.png"), "condition is 2.0"),
    ((PROMPT, "--guidanse", "3"), "option --guidanse; did you mean --guidance?"),
    ((PROMPT, "--guidance", "much"), "--guidance"),
    ((PROMPT, "--stg-blocks", "1;2"), "--stg-blocks is 1;2; give numbers of blocks"),
    ((PROMPT, "--stg", "1"), "stg_blocks names no block to perturb"),
    ((PROMPT, "--stg", "1", "--stg-blocks", "42"), "stg_blocks names [42]"),
    ((PROMPT, "--guidance", "1", "6"), "guidance is a list of 2; give guidance_sig"),
    ((PROMPT, "--skip-initial", "1"), "skip_initial is 1, but there is no clip"),
    ((PROMPT, "--stg-mode", "values"), "--stg-mode"),
    ((PROMPT, "--tiling", "512 x 65"), "--tiling is 512 x 65; give auto, off, the s"),
    ((PROMPT, "--tiling", "4"), "tiling is 4; with its halo a tile of"),
    ((PROMPT, "--condition", "no.png@2:0.5"), "no.png does not exist"),
    ((PROMPT, "--condition", "no.png@5"), "starts at frame 5 of a video of 5 frames"),
    ((PROMPT, "--condition", "no.png:2"), "condition is 2.0"),
    ((PROMPT, "--multi-scale"), "recipe names no upscaler for --multi-scale; give"),
    ((PROMPT, "--scale", "0.5"), "--scale is for two passes; add --multi-scale"),
    ((PROMPT, "--upscaler", "u"), "--upscaler is for two passes"),
    ((PROMPT, "--second.tone-map", "1"), "--second.tone-map is for two passes"),
    ((PROMPT, "--dtype", "int8"), "--dtype"),
    ((PROMPT, "--fps"), "--fps"),
    ((PROMPT, "--seed"), "--seed needs a number"),
    ((PROMPT, "--seed", "4294967296"), "seed is 4294967296; it must be at least 0"),
    ((PROMPT, "--lora", "a.safetensors:nan"), "a.safetensors is nan; give a finite"),
    ((PROMPT, "--strength", "0.5"), "--strength is for --image; add it, or leave"),
    ((PROMPT, "--crf", "29"), "--crf is for --image or --condition; add it, or"),
    ((PROMPT, "--reference-downscale", "2"), "--reference-downscale is for --ref"),
    ((PROMPT, "--mesh", "data=2,model=4"), "--mesh is data=2,model=4; give numbers of"),
    ((PROMPT, "--mesh", "data=2,data=4"), "--mesh is data=2,data=4; give numbers of"),
    ((PROMPT, "--mesh", "context"), "--mesh is context; give numbers of devices for"),
    ((PROMPT, "--mesh", "context=3"), "context = 3 cannot be laid over 8 device(s)"),
    ((PROMPT, "--mesh", "tensor=4"), "tensor = 4, but the transformer in"),
  ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
  program, tmp_path, arguments, message
):
  code, _, err = program(*SIZE, *arguments)
  assert code == 2
  assert message in err
  assert len(err.strip().splitlines()) == 1
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (("--frames", "1000000001"), "frames is 1000000001; it must be at least 1, at"),
    (("--frames", "1" + 400 * "0"), "at most 100,000 and whole"),
    (("--width", "99999"), "width is 99999; it must be at least 1, at most 8,192"),
    (("--height", "0"), "height is 0; it must be at least 1"),
    (("--fps", "nan"), "fps is nan; it must be at least 0.1 and at most 240"),
    (("--fps", "inf"), "fps is inf"),
    (("--fps", "0"), "fps is 0.0"),
    (("--seed", "-1"), "seed is -1; it must be at least 0"),
  ],
)
def test_numbers_beyond_all_bounds_are_refused_before_loading(
  program, monkeypatch, flags, message
):
  def load(*_, **__):
    raise AssertionError("The model is loaded first.")

  monkeypatch.setattr(ltx_jax, "load", load)
  code, _, err = program(PROMPT, *flags)
  assert code == 2 and message in err
  assert len(err.strip().splitlines()) == 1


INPUTS = {
  "--image": ("--image", "{}"),
  "--video": ("--video", "{}", "--skip-initial", "1"),
  "--condition": ("--condition", "{}@4:0.5"),
  "--reference": ("--reference", "{}:0.5"),
  "--lora": ("--lora", "{}:2"),
  "--prompt-file": ("--prompt-file", "{}"),
  "--model": ("--model", "{}"),
  "--upscaler": ("--upscaler", "{}"),
}


@pytest.mark.parametrize("option", INPUTS)
def test_an_output_over_an_input_is_refused_before_loading(program, tmp_path, option):
  flags = [part.format("linked.png") for part in INPUTS[option]]
  (tmp_path / "photo.png").write_bytes(b"a prompt, or a picture")
  (tmp_path / "linked.png").symlink_to("photo.png")
  prompts = () if option == "--prompt-file" else (PROMPT,)
  code, out, err = program(*prompts, *SIZE, *flags, "--output", "photo.png")
  assert code == 2 and "seconds" not in out
  assert f"The output photo.png would replace what {option} reads (linked.png)" in err
  assert (tmp_path / "photo.png").read_bytes() == b"a prompt, or a picture"


def test_numbered_outputs_and_the_sheet_replace_no_input_either(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for name in ("clip-2.png", "clip-sheet.png"):
    (tmp_path / name).write_bytes(b"a picture")
  numbered = Options((PROMPT,), image=Path("clip-2.png"), output=Path("clip.png"))
  assert [path.name for path in outputs_of(numbered, 2)] == ["clip-1.png", "clip-2.png"]
  check_outputs(numbered, 1)
  with pytest.raises(ValueError, match="clip-2.png would replace what --image reads"):
    check_outputs(numbered, 2)
  sheet = dataclasses.replace(numbered, image=Path("clip-sheet.png"))
  with pytest.raises(ValueError, match="clip-sheet.png would replace"):
    check_outputs(sheet, 1)
  check_outputs(dataclasses.replace(sheet, sheet=False), 1)


def test_home_is_home_in_every_path(program, monkeypatch, tmp_path):
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  code, _, err = program(PROMPT, "--image=~/no.png", "--output=~/clip.avi")
  assert code == 2 and f"{tmp_path}/home/clip.avi has the suffix" in err
  assert not (tmp_path / "~").exists()
