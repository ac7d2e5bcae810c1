"""What makes the site: docstrings as reStructuredText, signatures, and its checks."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from docs.site import check
from docs.site.docstrings import inline, to_rest
from docs.site.signatures import aliases, shapes, signature_of

ROOT = Path(__file__).resolve().parent.parent.parent
TYPES = {
  name: source for name, (source, _) in aliases(ROOT / "ltx_jax" / "typing.py").items()
}


def test_code_equations_tables_and_lists_of_a_docstring_are_kept():
  text = """\
The `x` of |q| and CFG-Zero*, `a
b`s too:

  v  = noise - x0      (1)

  second

| letter | what |
|--------|------|
| b      | `n`  |

- one
  more

Args:
  x: the `y`
    goes on.

    And on."""
  assert to_rest(text.split("\n")) == [
    "The ``x`` of \\|q\\| and CFG-Zero\\*, ``a b``\\ s too:",
    "",
    "::",
    "",
    "     v  = noise - x0      (1)",
    "",
    "     second",
    "",
    ".. list-table::",
    "   :header-rows: 1",
    "",
    "   * - letter",
    "     - what",
    "   * - b",
    "     - ``n``",
    "",
    "- one",
    "  more",
    "",
    "Args:",
    "  x: the ``y``",
    "    goes on.",
    "",
    "    And on.",
    "",
  ]


def test_columns_without_indentation_are_kept_too():
  lines = ["encode   text -> numbers", "decode   numbers -> video"]
  assert to_rest(lines)[:3] == ["::", "", "   " + lines[0]]


def test_commands_have_the_lines_of_the_source():
  joined = "    python -m train.vae tiny       --steps 1       --seed 2"
  assert to_rest([joined])[2:-1] == [
    "       python -m train.vae tiny \\",
    "         --steps 1 \\",
    "         --seed 2",
  ]


@pytest.mark.parametrize(
  ("text", "rest"),
  [
    ("res_x_ and x_", "res_x\\_ and x\\_"),
    ("(`x`)", "(``x``)"),
    ("see --lora.rank.", "see ``--lora.rank``."),
    ("a -- b, a--b", "a -- b, a--b"),
    ("a\\b", "a\\\\b"),
    ("`a`/`b`", "``a``/\\ ``b``"),
  ],
)
def test_what_is_markup_to_sphinx_only_is_escaped(text, rest):
  assert inline(text) == rest


class Levels(NamedTuple):
  sigma: Float[AnyArray, "b s"]


def method(
  self, tokens: Tokens, mu: Float[AnyArray, "b"] = TYPES, key=..., *, n: int = 3
) -> Float[Array, "b n c"]: ...


def test_a_signature_is_shown_as_it_is_written():
  parameters, result = signature_of(method)
  assert parameters == (
    "(tokens: Tokens, mu: Float[AnyArray, 'b'] = dict(...), key=Ellipsis, *, "
    "n: int = 3)"
  )
  assert result == "Float[Array, 'b n c']"
  assert signature_of(Levels)[0] == "(sigma: Float[AnyArray, 'b s'])"
  assert signature_of(3) is None


def test_what_names_in_a_signature_stand_for_is_listed():
  known = {"A": "X['b n']", "Pair": "tuple[A, B]", "B": "X['m']", "Key": "X"}
  assert list(shapes("(key: Key, a: Pair, other: C)", known)) == [
    "A = X['b n']",
    "B = X['m']",
  ]
  assert TYPES["Tokens"] == "Float[AnyArray, 'b n c']"
  assert "PLAIN" not in TYPES


PAGE = """<html><head><link rel=stylesheet href=a.css><script src=a.js></script></head>
<body><h1 id=here>x</h1><a href="#here">a</a><a href="b.html#there">b</a>
<a href="https://arxiv.org/abs/2501.00103">c</a><img src=a.png></body></html>"""


@pytest.fixture
def site(tmp_path):
  (tmp_path / "a.html").write_text(PAGE)
  (tmp_path / "b.html").write_text("<p id=there>")
  for name in ("a.css", "a.js", "a.png"):
    (tmp_path / name).write_text("")
  return tmp_path.resolve()


def test_a_good_site_has_no_fault(site):
  assert not list(check.faults(site))


@pytest.mark.parametrize(
  ("name", "text", "why"),
  [
    ("b.html", "<p>", "a.html: b.html#there names no place in b.html"),
    ("c.html", "<a href='d.html'>", "c.html: d.html leads nowhere"),
    ("c.html", "<a href='http:/x'>", "c.html: http:/x is not an address"),
    ("c.html", "<img src=d.png>", "c.html: d.png leads nowhere"),
    ("c.html", "<script src='//cdn.x/a.js'>", "another server for //cdn.x/a.js"),
    ("c.html", "<iframe src='https://x.y'>", "another server for https://x.y"),
    ("c.html", "<img srcset='a.png 1x, https://x.y/b 2x'>", "for https://x.y/b"),
    ("c.html", "<style>@import 'https://x.y/f'</style>", "for https://x.y/f"),
    ("c.html", "<p style='background: url(//x.y/f)'>", "for //x.y/f"),
    ("c.html", "<script>fetch('https://x.y/z')</script>", "for https://x.y/z"),
    ("a.css", "a { src: url(https://x.y/font) }", "a.css: asks another server"),
    ("a.js", "img.src = 'https://x.y/pixel'", "a.js: asks another server"),
    ("a.js", "r.open('GET', 'https://x.y')", "a.js: asks another server"),
  ],
)
def test_a_fault_of_a_site_is_told(site, name, text, why):
  (site / name).write_text(text)
  assert why in "\n".join(check.faults(site))


def test_a_site_without_pages_is_a_fault(tmp_path):
  assert list(check.faults(tmp_path)) == [f"There is no page in {tmp_path}."]
