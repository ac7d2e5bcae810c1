"""Messages about numbers out of bounds."""

import math

import numpy as np
import pytest

from ltx_jax.errors import check_number, is_number, shown


@pytest.mark.parametrize(
  ("value", "bounds", "allowed"),
  [
    (-1, {"at_least": 0, "whole": True}, "at least 0 and whole"),
    (0.5, {"at_least": 0, "whole": True}, "at least 0 and whole"),
    (2.0, {"whole": True}, "whole"),
    (2**32, {"at_least": 0, "below": 2**32}, "at least 0 and below 4,294,967,296"),
    (0.0, {"above": 0.0, "at_most": 1.0}, "above 0 and at most 1"),
    (1.5, {"at_least": 0.0, "at_most": 1.0}, "at least 0 and at most 1"),
    (math.nan, {}, "a finite number"),
    (math.inf, {"above": 0.0}, "above 0"),
    (-math.inf, {"at_most": 0}, "at most 0"),
    (np.float32("nan"), {"at_least": 0}, "at least 0"),
    ("7", {"at_least": 0}, "at least 0"),
    (10**400, {"at_most": 10, "whole": True}, "at most 10 and whole"),
  ],
)
def test_numbers_out_of_bounds_are_named_with_what_is_allowed(value, bounds, allowed):
  with pytest.raises(ValueError) as error:
    check_number("--speed", value, **bounds)
  assert str(error.value) == f"--speed is {shown(value)}; it must be {allowed}."


@pytest.mark.parametrize(
  ("value", "words"),
  [
    ("7", "'7'"),
    (np.float32(0.5), "0.5"),
    ("a\n\nb\0", r"'a\n\nb\x00'"),
    ([1] * 99, "[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ...]"),
  ],
)
def test_values_in_sentences_are_short_and_on_one_line(value, words):
  assert shown(value) == words
  assert len(shown(["ü" * 10_000] * 100)) < 2000


def test_what_was_given_is_shown_in_few_letters():
  for value, text in (
    (np.float32(3), "3.0"),
    (10**400, "10000000000000000000... (401 digits)"),
    ("a\n" * 200, "'a\\na"),
    (np.zeros((2, 3)), "an array of shape (2, 3) and type float64"),
    ([{"a": list(range(9)), "b": "c" * 50}] * 9, "[{'a': [0"),
    (int, "int"),
    (True, "True"),
    (None, "None"),
    (object(), "of type object"),
  ):
    assert shown(value).startswith(text) and len(shown(value)) < 130


@pytest.mark.parametrize("value", [True, "1", b"1", None, [1], np.ones(2), object()])
def test_what_is_no_number_is_refused_as_one(value):
  assert not is_number(value)
  with pytest.raises(ValueError, match="n is .*; it must be at least 0"):
    check_number("n", value, at_least=0)


def test_numbers_within_bounds_are_taken():
  for value in (1, 1.0, np.float32(1), np.int64(1)):
    check_number("speed", value, above=0, at_least=1, at_most=1, below=2)
  for value in (0, np.int32(7), 10**400):
    check_number("speed", value, at_least=0, whole=True)
