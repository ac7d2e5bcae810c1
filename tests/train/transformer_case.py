"""The tiny transformer's run: its records, loader, updates and sample images."""

import atexit
import dataclasses
import functools
import pathlib
import shutil
import tempfile

from configs import tiny
from ltx_jax.checkpoints.fingerprint import fingerprint
from ltx_jax.data.buckets import tokens_of
from ltx_jax.data.loader import Loader
from ltx_jax.moving_shapes import world
from ltx_jax.releases import presets
from tests.policies import QUICK
from tests.train import records_case
from tests.train import trainer_case as case
from train.harness import data, loop, model
from train.trainers import transformer

ASSETS = presets.ASSETS / "moving_shapes"
RUN = dataclasses.replace(tiny.transformer(), mesh=case.SINGLE, text_folder=str(ASSETS))
RULES = transformer.RULES
CAPTIONS = world.train_captions()
INIT = functools.partial(transformer.init_state, RUN)


@functools.cache
def folder():
  """Records of random latents."""
  path = pathlib.Path(tempfile.mkdtemp(prefix="ltx-jax-records-"))
  atexit.register(shutil.rmtree, path, ignore_errors=True)
  return records_case.write(path, case.frozen_vae())


def opened(path, run=RUN):
  vae = case.frozen_vae()
  run = dataclasses.replace(run, data=(str(path),))
  return data.open_records(run, fingerprint(vae.config, vae.params))


def make_loader(records):
  return Loader(records.trained, RUN.stages, RUN.seed, tokens_of(tiny.VAE))


@functools.cache
def source():
  return opened(folder())


@functools.cache
def loader():
  return make_loader(source())


@functools.cache
def update(run=RUN, mesh=case.SINGLE):
  return transformer.make_update(run, case.policy_over(mesh), tiny.VAE)


def frozen_of(records):
  return {"empty": records.empty}


@functools.cache
def pictures():
  shown = source().shown
  text_fn = transformer.TEXT["trained"](RUN, QUICK)
  return model.make_pictures(
    RUN, lambda state: [state.ema], case.frozen_vae(), shown, QUICK, text_fn
  )


def fit(folder, batches=None, show=False):
  return loop.fit(
    case.in_folder(RUN, folder),
    init=INIT,
    update=update(),
    loader=batches or loader(),
    rules=RULES,
    frozen=frozen_of(source()),
    hooks=loop.Hooks(
      pictures=pictures() if show else None, work=transformer.work_of(RUN)
    ),
  )


def after(count, update, start, batch, mesh=case.SINGLE):
  frozen = frozen_of(source())
  return case.after(count, update, start, batch, RULES, mesh, frozen=frozen)


def clips():
  return case.first_batch(loader(), tiny.CLIP)
