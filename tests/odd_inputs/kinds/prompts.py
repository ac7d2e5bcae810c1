"""Prompts: empty ones, endless ones, other scripts, and files of any editor."""

from __future__ import annotations

from tests.odd_inputs.case import (
  PROMPT,
  accepted,
  encodes,
  generate,
  library,
  linked,
  quick,
  refused,
)

GOOD = f"{PROMPT}\n"
EMOJI = "a red circle 🔴 moving right 👨‍👩‍👧"
LONG = "a red circle moving right " * 4000


def from_file(*arguments: str) -> tuple[str, ...]:
  """Prompts of the file p.txt alone."""
  command = quick("--prompt-file", "p.txt", *arguments)
  return (command[0], *command[2:])


def lines(_: str | bytes) -> tuple[str, ...]:
  """Reads the prompts of p.txt, which are one."""
  code = "from sample.prompts import all_prompts\nassert all_prompts([], 'p.txt') == "
  return library(f"{code}({PROMPT!r},)")


FILES = (
  refused("forgets to write the prompts", from_file(), "p.txt", files={"p.txt": ""}),
  refused("leaves only remarks", from_file(), "p.txt", files={"p.txt": "# later\n"}),
  refused("leaves empty lines", from_file(), "p.txt", files={"p.txt": "\n \n\t\n"}),
  refused("has no such file", from_file(), "p.txt"),
  refused(
    "saves a document of Word",
    from_file(),
    "p.txt",
    files={"p.txt": b"PK\x03\x04\x14\x00\x06\x00\x08\x00\xd0\xcf"},
  ),
  refused(
    "saves in an old code page",
    from_file(),
    "p.txt",
    "UTF-8",
    files={"p.txt": "ein großer Kreis\n".encode("latin-1")},
  ),
  refused(
    "names a folder as prompts", from_file(), "p.txt", files={"p.txt/a.txt": GOOD}
  ),
  accepted(
    "saves with Windows' mark and ends",
    from_file(),
    "video.mp4",
    files={"p.txt": b"\xef\xbb\xbf" + PROMPT.encode() + b"\r\n"},
  ),
  accepted(
    "saves as Notepad's Unicode",
    from_file(),
    "video.mp4",
    files={"p.txt": f"{PROMPT}\r\n".encode("utf-16")},
  ),
  refused(
    "links to nothing", from_file(), "p.txt", files={"p.txt": linked("nowhere.txt")}
  ),
)

WORDS = (
  *(
    accepted(who, encodes(prompt))
    for who, prompt in (
      ("gives no words", ""),
      ("gives a space", "   "),
      ("pastes a novel", LONG),
      ("writes from right to left", "دائرة حمراء كبيرة"),
      ("writes in Chinese", "一个红色的大圆向右移动"),
      ("pastes several lines", "a red\ncircle\n\nmoving"),
      ("pastes a zero", "a red\0circle"),
    )
  ),
  refused(
    "forgets the prompt", ("sample.generate", "--model", "{shelf}/model"), "prompt"
  ),
  refused(
    "writes the prompt after a list",
    ("sample.generate", "--seed", "3", "a cat", "--model", "{shelf}/model"),
    "a cat",
  ),
  refused(
    "leaves a window's prompt empty",
    quick("--window", "5", prompt="a circle | | a square"),
    "empty",
  ),
  refused(
    "ends windows by a bar", quick("--window", "5", prompt="a circle |"), "empty"
  ),
  refused(
    "gives more prompts than windows",
    quick("--window", "5", "--overlap", "1", prompt="a | b | c | d | e | f"),
    "6",
  ),
  accepted("writes emoji", quick(prompt=EMOJI), "video.mp4"),
  accepted(
    "pastes a page's invisible signs",
    encodes("a\u200bred\u00a0circle\ufeff\u202e"),
  ),
  accepted(
    "pastes a shell's broken letters", quick(prompt="a red \udcff circle"), "video.mp4"
  ),
  accepted(
    "pastes control letters",
    encodes("a \x1b[31mred\x1b[0m \x07circle"),
  ),
  accepted(
    "writes markup",
    encodes("[bold]a circle[/bold] <b>red</b>"),
  ),
  accepted(
    "closes a tag that is not open", quick(prompt="a circle [/red] moving"), "video.mp4"
  ),
  accepted(
    "writes special tokens",
    encodes("</s> <pad> <extra_id_0> <unk>"),
  ),
  accepted(
    "writes a quote that never ends",
    encodes('"a circle'),
  ),
  accepted(
    "begins with a dash behind two",
    (*quick()[:1], *quick()[2:], "--", "-a red circle"),
    "video.mp4",
  ),
  accepted(
    "parts a prompt without windows",
    quick(prompt="a circle | a square"),
    "video.mp4",
    says=("note",),
  ),
  refused(
    "writes a negative prompt twice as an option",
    quick("--negative-prompt", "blur"),
    "--negative",
  ),
  accepted(
    "gives the same prompt twice",
    (*quick()[:2], PROMPT, *quick()[2:]),
    "video-1.mp4",
    "video-2.mp4",
  ),
  refused("writes a dash first", generate(prompt="--a red circle"), "--a red circle"),
)

CASES = (*FILES, *WORDS)
