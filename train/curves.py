"""Shows training runs on a page, or draws their curves as one image.

    python -m train.curves runs/transformer        # runs/transformer/curves.html
    python -m train.curves runs/a runs/b --output compared.html
    python -m train.curves runs/vae runs/transformer --output docs/images/curves.png

The page is one HTML file that needs no network. It shows the config, the losses (also
by bucket and band of noise), the speed, and the sample images; several runs are drawn
over one another. In an image of curves, every run is a row and every metric a panel.
Faint lines are logged values, strong lines are their running mean.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from ltx_jax.cli.command_line import cli, errors_in_words
from ltx_jax.cli.program import run as run_program
from ltx_jax.files import atomic_file, refuse_overwriting
from train.harness.reporting import (
  CONFIG_FILE,
  EVALUATION_FILE,
  METRICS_FILE,
  read_metrics,
)
from train.page import document
from train.page.chart import running_mean
from train.page.record import series_of

_SHOWN = ("loss", "psnr", "wavelet", "kl", "latent_std_max", "grad_norm")


@dataclasses.dataclass(frozen=True)
class Options:
  """What is shown.

  Attributes:
    runs: Folders of runs, each with a metrics.jsonl.
    output: File to write: .html for the page, or .png for the curves alone; default:
      curves.html, in the run's folder if there is one run.
  """

  runs: Annotated[
    tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(help_behavior_hint="")
  ]
  output: Annotated[Path | None, tyro.conf.arg(help_behavior_hint="")] = None


def default_output(runs: Sequence[Path]) -> Path:
  """Returns the page's file: in the folder of a single run, else in the current one."""
  return (runs[0] if len(runs) == 1 else Path()) / "curves.html"


def show(runs: Sequence[Path], output: Path) -> None:
  """Writes the page or the image, as the output's suffix says.

  Raises:
    ValueError: If there are no runs, one has nothing to show, or the output's name is
      not that of a page or an image, or is that of a file of a run.
  """
  if not runs:
    raise ValueError("There is no run to draw; name the folders of some.")
  writers = {".html": document.write, ".png": draw}
  if output.suffix.lower() not in writers:
    raise ValueError(
      f"{output} has the suffix {output.suffix!r}; give an .html file for the page, or "
      "a .png file for the curves alone."
    )
  read = (METRICS_FILE, EVALUATION_FILE, CONFIG_FILE)
  refuse_overwriting([output], [("RUN", run / name) for run in runs for name in read])
  writers[output.suffix.lower()](runs, output)


def draw(runs: Sequence[Path], output: Path) -> None:
  """Writes the image of curves.

  Raises:
    ValueError: If a run has nothing to show.
  """
  rows = [series_of(read_metrics(run)) for run in runs]
  shown = [[n for n in _SHOWN if n in logged] for logged in rows]
  for run, names in zip(runs, shown, strict=True):
    if not names:
      raise ValueError(
        f"{run} has no curves: a run's folder has a {METRICS_FILE} in which some step "
        f"has one of {', '.join(_SHOWN)}."
      )
  import matplotlib

  matplotlib.use("Agg")
  from matplotlib import pyplot

  columns = max(map(len, shown))
  figure, axes = pyplot.subplots(
    len(rows), columns, figsize=(3.2 * columns, 2.6 * len(rows)), squeeze=False
  )
  for run, logged, names, line in zip(runs, rows, shown, axes, strict=True):
    for axis, name in zip(line, names, strict=False):
      steps, values = logged[name]
      dot = "o" if len(steps) == 1 else None  # One point makes no line.
      axis.plot(steps, values, color="tab:blue", alpha=0.25)
      axis.plot(steps, running_mean(values), color="tab:blue", marker=dot)
      if name in ("loss", "wavelet", "grad_norm"):
        axis.set_yscale("log")
      axis.set_title(f"{run.name}: {name}", fontsize=9)
      axis.set_xlabel("step", fontsize=8)
      axis.tick_params(labelsize=7)
      axis.grid(alpha=0.3)
    for axis in line[len(names) :]:
      axis.axis("off")
  legend = "faint: logged values; strong: their running mean"
  figure.supxlabel(legend, x=0.01, ha="left", fontsize=8)
  figure.tight_layout()
  output.parent.mkdir(parents=True, exist_ok=True)
  with atomic_file(output) as file:
    figure.savefig(file, dpi=90, format="png")
  pyplot.close(figure)


def main(argv: Sequence[str] | None = None) -> None:
  """Reads the command line, and writes the page or the image."""
  options = cli(Options, argv, program="python -m train.curves", about=__doc__)
  with errors_in_words():
    output = options.output or default_output(options.runs)
    show(options.runs, output)
    print(f"Wrote {output.absolute()}")


if __name__ == "__main__":
  run_program(main)
