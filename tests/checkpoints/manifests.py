"""The manifests that `tests/oracle/make_manifests.py` wrote."""

import gzip
import json
import pathlib

FOLDER = pathlib.Path(__file__).parents[1] / "golden" / "manifests"
NAMES = sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("*.json.gz"))
VAES = [name for name in NAMES if name.startswith("vae")]
TRANSFORMERS = [name for name in NAMES if name.startswith("transformer")]


def read(name):
  """Returns config, number of parameters, and shapes of a network of the original."""
  manifest = json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))
  shapes = {key: tuple(shape) for key, shape in manifest["tensors"].items()}
  return manifest["config"], manifest["parameters"], shapes
