"""Training with the last frame, or a reference clip, shown next to the clips."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from configs import tiny
from ltx_jax.config.conditions import ConditionConfig
from ltx_jax.data import beside, video
from ltx_jax.data.buckets import tokens_of
from ltx_jax.data.loader import Loader
from ltx_jax.parallel.mesh import make_mesh
from tests.policies import QUICK
from tests.train import records_case
from tests.train import trainer_case as case
from tests.train import transformer_case as records
from train.harness import evaluation, loop, model, shapes
from train.trainers import transformer

CONDITIONS = ConditionConfig(first_frame=0.2, last_frame=0.5, reference=1.0)
RUN = dataclasses.replace(records.RUN, conditions=CONDITIONS)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
  """Records whose clips have both, opened."""
  folder = tmp_path_factory.mktemp("records")
  path = records_case.write(folder, case.frozen_vae(), beside=("last", "reference"))
  return records.opened(path, RUN)


@pytest.fixture(scope="module")
def batches(found):
  return Loader(
    found.trained,
    RUN.stages,
    RUN.seed,
    tokens_of(tiny.VAE),
    beside=RUN.conditions.beside,
  )


def of_kind(batches, last):
  """The first batch that shows, or does not show, the last frame."""
  found = (batches.batch(step) for step in range(batches.steps))
  return next(batch for batch in found if ("last" in batch) == last)


def test_what_is_shown_stands_at_its_own_places(batches):
  batch = of_kind(batches, last=True)
  clips = transformer.clips_of(RUN, tiny.VAE, batch)
  reference, last = clips.beside
  np.testing.assert_array_equal(reference.tokens, batch["reference"])
  np.testing.assert_array_equal(reference.coords, clips.coords)
  np.testing.assert_array_equal(last.tokens, batch["last"])
  frames = tiny.CLIP.frames - 1
  seconds = np.asarray(last.coords)[..., 0]
  np.testing.assert_allclose(seconds, frames / batch["fps"][0], rtol=1e-6)
  rows = batch["last_places"][0] * tiny.VAE.spatial_factor
  np.testing.assert_array_equal(last.coords[0, :, 1:], rows)


@pytest.mark.slow
def test_the_step_learns_the_clips_from_what_is_shown(batches):
  """The loss depends on the reference, and no gradient asks for what it shows."""
  batch = of_kind(batches, last=True)
  network = transformer.make_network(RUN, QUICK)
  params = case.moved(jax.jit(records.INIT)(jax.random.key(0))).params

  @jax.jit
  def loss(batch):
    clips = transformer.clips_of(RUN, tiny.VAE, batch)
    key, flow = jax.random.key(1), RUN.flow
    seen = network(params, batch)
    return transformer.objective.loss(seen, clips, key, flow, CONDITIONS).loss

  plain, beside_ = loss(batch), loss(batch | {"reference": batch["reference"][::-1]})
  assert np.isfinite(plain).all()
  assert np.abs(np.subtract(plain, beside_)).max() > 1e-6
  other = loss(batch | {"last": batch["last"] + 1})
  assert np.abs(np.subtract(plain, other)).max() > 1e-6


def test_held_out_clips_are_shown_their_reference_and_not_their_last_frame(found):
  held_out = evaluation.held_out_batches(found.held_out, RUN.stages)
  for batch in held_out.values():
    assert "reference" in batch and "last" not in batch
  losses = transformer.make_held_out_losses(RUN, QUICK, tiny.VAE)
  state = jax.jit(records.INIT)(jax.random.key(0))
  state = case.moved(state)
  (batch,) = (b for b in held_out.values() if b["grid"][0, 0] > 1)
  first = jax.jit(losses)(state, {}, batch)
  second = jax.jit(losses)(state, {}, batch | {"reference": batch["reference"] + 1})
  assert first["loss"] != second["loss"]


@pytest.mark.slow
def test_a_run_trains_with_and_without_the_last_frame_and_shows_references(
  tmp_path, found, batches
):
  run = case.in_folder(RUN, tmp_path)
  shown = {
    frozenset(beside.shown_at(s, CONDITIONS.beside, 0)) for s in range(run.steps)
  }
  assert len(shown) == 2
  text = transformer.TEXT["trained"](run, QUICK)
  work = []

  def counted(batch):
    work.append(transformer.work_of(run)(batch))
    return work[-1]

  loop.fit(
    run,
    init=functools.partial(transformer.init_state, run),
    update=transformer.make_update(run, QUICK, tiny.VAE),
    loader=batches,
    rules=transformer.RULES,
    frozen={"empty": found.empty},
    hooks=loop.Hooks(
      pictures=model.make_pictures(
        run,
        lambda state: [state.ema],
        case.frozen_vae(),
        found.shown,
        QUICK,
        text,
        references=found.references,
      ),
      work=counted,
    ),
  )
  (picture,) = case.place_of(run, "samples").iterdir()
  # The reference is to the left of the generated clip.
  image = video.read(picture)[0][0]
  assert image.shape == (6 * 32, 2 * 5 * 32, 3)
  first = model.decoded(case.frozen_vae(), found.references[:1])[0][0]
  np.testing.assert_array_equal(image[:32, :32], first)
  # Extra tokens are work, but not tokens of the clip.
  of_clips = {w.flops / w.clips for w in work if w.tokens == work[0].tokens}
  assert len(of_clips) >= 2 or len({w.tokens for w in work}) > 1


def test_the_step_is_planned_with_all_that_may_be_shown():
  policy = case.policy_over(case.SINGLE)
  mesh = make_mesh(**vars(case.SINGLE))
  alone, both = (
    shapes.of_transformer(run, policy, mesh, tiny.CLIP, 4, tiny.VAE)
    for run in (records.RUN, RUN)
  )
  _, _, batch = both.arguments
  assert {"reference", "last", "last_places"} <= set(batch)
  jax.eval_shape(both.update, *both.arguments)
  assert both.tokens == 2 * alone.tokens + 4
  words = RUN.text.max_text_tokens
  assert both.minimum == 4 * transformer.clip_flops(RUN, both.tokens, words)
  assert both.plan("full").workspace > 2 * alone.plan("full").workspace


@pytest.mark.parametrize(
  ("there", "message"),
  [
    ((), "conditions.last_frame is 0.5, but the records in .* no last frames; run "),
    (("last",), "conditions.reference is 1, but the records in .* have no references"),
  ],
)
def test_records_without_what_is_to_be_shown_are_refused(tmp_path, there, message):
  path = records_case.write(tmp_path, case.frozen_vae(), beside=there)
  with pytest.raises(ValueError, match=message):
    records.opened(path, RUN)


def test_clips_that_are_shown_their_last_frame_are_whole(tmp_path):
  """A longer record's last frame is not that of its beginning."""
  path = records_case.write(
    tmp_path, case.frozen_vae(), buckets=(tiny.CLIP,), beside=("last", "reference")
  )
  shorter = dataclasses.replace(tiny.CLIP, frames=1)
  found = records.opened(path, RUN).trained.sources[0]
  own, none = found.assign([tiny.CLIP, shorter])
  assert len(own) and not len(none)
  plain = records.opened(path, records.RUN).trained.sources[0]
  assert len(plain.assign([shorter])[0]) == len(own)
