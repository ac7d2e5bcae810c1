"""Details: copies agree, and pictures with the same outline contradict each other."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from ltx_jax.curation import details, duplicates
from ltx_jax.curation.duplicates import RULE
from tests.curation.globe import globe
from tests.curation.test_scenes import texture


def still(seed):
  return texture(seed)[:144, :256].clip(0, 255).astype(np.uint8)


def copied(image, quality=20, light=0.8, size=(128, 72)):
  """A small, dark copy that was compressed strongly."""
  dark = (image * light).round().astype(np.uint8)
  buffer = io.BytesIO()
  Image.fromarray(dark).resize(size).save(buffer, "JPEG", quality=quality)
  return np.asarray(Image.open(buffer))


def codes(*stills):
  return np.concatenate([details.details(image[None]) for image in stills])


def agree(one, other, told=RULE.told):
  return bool(details.agree(*codes(one, other), told, RULE.contradict))


def differ(one, other):
  pair = duplicates.hashes(one[None]), duplicates.hashes(other[None])
  return int(np.bitwise_count(pair[0] ^ pair[1])[0])


def ones(words):
  return np.bitwise_count(words).sum(dtype=int)


def test_signs_say_where_it_gets_darker_and_are_clear_from_a_few_levels_on():
  steps = np.arange(17) * 4
  image = np.repeat(np.tile(steps.astype(np.uint8), (9, 1))[..., None], 3, 2)
  up, down, faint = codes(image, image[:, ::-1], image // 4)
  # Half of the differences are those with lower neighbours, which are none.
  assert [ones(words[:4]) for words in (up, down, faint)] == [0, 128, 0]
  assert [ones(words[4:]) for words in (up, down, faint)] == [128, 128, 0]


@pytest.mark.parametrize("draw", [still, globe])
def test_copies_agree(draw):
  assert all(agree(draw(k), copied(draw(k))) for k in range(8))


def test_globes_have_nearly_the_same_hash_but_contradict_each_other():
  globes = [globe(k) for k in range(8)]
  pairs = list(itertools.combinations(globes, 2))
  assert sum(differ(*pair) <= RULE.bits for pair in pairs) > len(pairs) / 2
  assert not any(agree(*pair) for pair in pairs)


def test_what_is_plain_in_one_still_and_not_in_the_other_contradicts():
  assert not any(agree(globe(k), globe(0, lights=0), told=0) for k in range(4))


def test_an_outline_alone_and_a_dark_picture_say_nothing():
  for part in (0.2, 0.3, 0.42, 0.45):
    disc = globe(0, lights=0, light=250, part=part)
    assert not agree(disc, disc)
  dark = globe(0) // 20
  assert not agree(dark, dark)


def test_other_pictures_contradict_each_other():
  assert not any(agree(still(k), still(k + 1)) for k in range(4))


def test_details_are_written_and_read():
  found = codes(still(0), globe(0))
  text = details.to_text(found)
  assert [len(each) for each in text] == [16 * details.WORDS] * 2
  read = np.frombuffer(details.from_text(text), "<u8").reshape(found.shape)
  np.testing.assert_array_equal(read, found)
  assert details.from_text(()) == b""
  for wrong in ("xyz", "00" * 63, "00" * 65):
    with pytest.raises(ValueError, match=r"details '.* 8 numbers of 64 bits"):
      details.from_text([wrong])


def test_stills_of_any_size_have_details():
  assert details.details(np.zeros((1, 3, 200, 3), np.uint8)).shape == (1, 8)
