"""Lint: each fault has a caption with it, and a near miss without it."""

import unicodedata
from typing import get_args

import pytest

from ltx_jax.curation.lint import IN_WORDS, Fault, lint, tidy

GOOD = (
  "A woman in a red coat walks along a wet street and turns her head to the left. Cars "
  "stand at the kerb behind her, and the camera follows her from the side."
)
MOVES = {"motion": 0.1, "camera": 0.1, "local": 0.05}
STANDS = {"motion": 0.05, "camera": 0.0005, "local": 0.2}
STILL_LIFE = (
  "A white cup and a blue plate are on a wooden table next to a window, in soft light "
  "from the left, with a grey wall behind them."
)
FIXED = GOOD.replace("the camera follows her from", "the camera is static at")


def sentence(count):
  return " ".join(["A man walks", *(f"w{k}" for k in range(count - 3))]) + "."


CASES = {
  "empty": (("", {}), ("...", {}), (GOOD, {})),
  "short": ((sentence(19), {}), (sentence(20), {})),
  "long": ((sentence(201), {}), (sentence(10_000), {}), (sentence(200), {})),
  "cut": ((GOOD[:-1], {}), (GOOD + " Then", {}), (GOOD[:-1] + '."', {})),
  "preamble": (
    (f"The video shows this: {GOOD}", {}),
    (f"In this clip, {GOOD}", {}),
    (f"Sure! {GOOD}", {}),
    (f"Here is a caption. {GOOD}", {}),
    (f"The images are of a town. {GOOD}", {}),
    (f"The video game console lies on a table. {GOOD}", {}),
  ),
  "refusal": (
    (f"I'm sorry, but I see nothing. {GOOD}", {}),
    (f"I can’t describe people. {GOOD}", {}),
    (f"{GOOD} As an AI, no more can be said.", {}),
    (f"{GOOD} A sign says that I cannot swim.", {}),
  ),
  "list": (
    (f"- {GOOD}", {}),
    (f"1. {GOOD}", {}),
    (f"**Action** {GOOD}", {}),
    (f"{GOOD}\n{GOOD[2:]}", {}),
    (f"\n{GOOD} - 3 * 4 = 12.\n", {}),
  ),
  "loop": (
    (GOOD + " He goes up and down." * 3, {}),
    (GOOD + " He goes up and down." * 2, {}),
  ),
  "script": (
    (f"{GOOD} 一个女人走在街上,汽车停在她身后。", {}),
    (GOOD.replace("wet", "w\0et"), {}),
    (f"{GOOD} \ufffd.", {}),
    (f"{GOOD} A sign reads 東京. Été, Łódź, naïve 👩‍🚀.", {}),
  ),
  "static": (
    (STILL_LIFE, {"motion": 0.1}),
    (STILL_LIFE.replace("are on", "are sliding on"), {"motion": 0.1}),
    (STILL_LIFE, {"motion": 0.001}),
    (STILL_LIFE, {}),
  ),
  "camera": (
    (FIXED, MOVES),
    (GOOD, STANDS),
    (FIXED, STANDS),
    (GOOD, MOVES),
    (GOOD.replace("the camera follows", "a man with a camera follows"), STANDS),
    (GOOD.replace("follows her", "does not move"), STANDS),
    (f"{FIXED} Then the camera slowly pans away.", MOVES),
    (FIXED, {"motion": 0.1, "camera": 0.01, "local": 0.0}),
  ),
}
# How many of the cases have the fault; the rest are near misses.
WITH = {
  "empty": 2,
  "long": 2,
  "cut": 2,
  "preamble": 5,
  "refusal": 3,
  "list": 4,
  "script": 3,
  "camera": 2,
}
SHOWN = [
  pytest.param(fault, k < WITH.get(fault, 1), *case, id=f"{fault}{k}")
  for fault, cases in CASES.items()
  for k, case in enumerate(cases)
]


@pytest.mark.parametrize(("fault", "has", "text", "scores"), SHOWN)
def test_a_fault_is_found_and_its_near_miss_is_not(fault, has, text, scores):
  assert lint(text, scores) == ((fault,) if has else ())


def test_every_fault_has_cases_and_words():
  assert set(CASES) == set(IN_WORDS) == set(get_args(Fault))


def test_a_caption_that_ended_for_another_reason_than_its_end():
  assert lint(GOOD, {}, finish="length") == ("cut",)
  assert lint(GOOD, {}, finish="content_filter") == ("refusal",)
  assert lint("", {}, finish="content_filter") == ("refusal",)


def test_tokens_of_the_text_encoder_are_counted_too():
  assert lint(GOOD, {}, tokens=256) == ()
  assert lint(GOOD, {}, tokens=257) == ("long",)


def test_faults_come_in_one_order():
  assert lint("The video shows\n- a dog", {"motion": 1.0}) == (
    ("short", "cut", "preamble", "list", "static")
  )


def test_tidy_makes_one_line_of_composed_letters():
  assert tidy(" a\tb\r\nc\u2028d  e\u0301 👩‍🚀 ") == "a b c d é 👩‍🚀"
  assert unicodedata.is_normalized("NFC", tidy("e\u0301"))
  assert tidy(tidy(GOOD)) == tidy(GOOD) == GOOD


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("a\0b", r"has the character U\+0000, which no text file holds"),
    ("a\ud800b", r"has the character U\+D800"),
    (sentence(10_000), "characters; at most 20,000 are allowed"),
  ],
)
def test_what_no_file_of_captions_holds_is_refused(text, message):
  with pytest.raises(ValueError, match=message):
    tidy(text)
