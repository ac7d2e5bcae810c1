"""Makes videos from text, images and clips.

    python -m sample.generate "a large red circle moving right on a navy background" \\
      --output circle.mp4

The suffix of --output sets the format: .mp4, .webm, .mov, .gif, .webp, or .png and .jpg
for images (--frames 1). Without a suffix it is a folder of numbered PNGs. Several
prompts or seeds run in one batch.

Image to video: --image is the first frame. --condition puts an image or a clip at any
frame, and may be repeated. A clip at frame 0 is continued; the video leads up to a clip
at its end:

    python -m sample.generate "a large red circle moving right on a navy background" \\
      --condition first.png --condition last.png@24:0.8

Video-to-video: --video with --skip-initial; the more steps are skipped, the closer the
result stays to the clip. --reference gives an in-context LoRA the clip that it follows.

Two passes: --multi-scale makes a small video first, then a large one from it. Flags
that begin with --second. apply to the second pass.

Long videos: --window makes the video in windows, each with its own part of the prompt:

    python -m sample.generate --frames 57 --window 25 --overlap 9 \\
      "a large red circle moving right on a navy background \\
      | a large red circle moving down on a navy background"

Guidance may change with the noise level. Here it is off in the first step, strong down
to level 0.9 and moderate after that, and each level perturbs other blocks:

    python -m sample.generate "a small cyan square moving down on a gray background" \\
      --guidance-sigmas 1 0.9 0.5 --guidance 1 6 3 --stg 0 2 1 --rescale 0.7 \\
      --stg-blocks none 2 2,5

Many videos: --prompts is a list with a JSON line for each, and --output a folder. A run
that was interrupted goes on; FOLDER.jsonl has the seed and settings of each video, and
`train.evaluate.study` and `train.evaluate.vbench` read what it makes:

    python -m sample.generate --prompts prompts.jsonl --output clips/ours --batch 4

The default model is the small one that ships with this code. It draws moving shapes and
knows no other words. For a released checkpoint, give its file and the folder of the
T5-XXL text encoder, or a preset's name, which downloads both:

    python -m sample.generate "A boat on a lake at dawn" --output boat.mp4 \\
      --model ltxv-2b-0.9.6-dev-04-25.safetensors --text-encoder t5-v1_1-xxl

Several devices work on one video with --mesh (docs/devices.md). More examples are in
docs/tasks.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rich.console import Console

from ltx_jax.cli import console as shared
from ltx_jax.cli.command_line import cli
from sample.enhance import EnhanceFlags
from sample.options import Options, check, check_outputs
from sample.prompts import all_prompts, joined, parts


def longer(prompts: Sequence[str], options: Options) -> tuple[str, ...]:
  """Returns prompts as --enhance expands them: with --window, each of their parts."""
  if options.windows.window is None or options.enhance.enhance is None:
    return options.enhance.apply(prompts)
  return tuple(joined(options.enhance.apply(parts(prompt))) for prompt in prompts)


def make_list(options: Options) -> None:
  """Makes the videos of --prompts."""
  from sample import lists  # Flax and the models, which --help need not wait for.

  console = Console(soft_wrap=True)
  shared.show_notes(console)
  shared.use_compile_cache()
  lists.run(options, console)


def main(argv: Sequence[str] | None = None) -> None:
  """Reads the command line, generates, writes, and says what was done."""
  options = cli(Options, argv, program="python -m sample.generate", about=__doc__)
  check(options)
  if options.prompt_list is not None:
    make_list(options)
    return
  prompts = all_prompts(options.prompts, options.prompt_file)
  check_outputs(options, len(prompts) * len(options.seed))
  # From here on the options contain all prompts, wherever they came from.
  options = dataclasses.replace(
    options,
    prompts=longer(prompts, options),
    prompt_file=None,
    enhance=EnhanceFlags(),
  )
  console = Console(soft_wrap=True)
  shared.show_notes(console)
  shared.use_compile_cache()
  for prompt in dict.fromkeys(options.prompts):
    if prompt not in prompts:
      console.print(f"enhanced: {prompt}", highlight=False, markup=False)
  from sample import making  # Flax and the models, which --help need not wait for.

  making.run(options, console)


if __name__ == "__main__":
  shared.run(main)
