"""What Sphinx asks while it builds: how names, signatures and links are shown."""

from __future__ import annotations

import collections
import os
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

import ltx_jax
from docs.site import programs
from docs.site.docstrings import to_rest
from docs.site.signatures import aliases, shapes, signature_of

ROOT = programs.ROOT
_TYPES = aliases(ROOT / "ltx_jax" / "typing.py")
_SHAPES = {name: source for name, (source, _) in _TYPES.items()}


def _path(thing: Any) -> str | None:
  """The full path of a class or a function, and None of anything else."""
  if not isinstance(thing, type) and not callable(thing):
    return None
  module, name = (getattr(thing, at, None) for at in ("__module__", "__qualname__"))
  return f"{module}.{name}" if module and name else None


_PUBLIC = {_path(getattr(ltx_jax, name)): name for name in ltx_jax.__all__}


def signature(
  app: Sphinx, what: str, name: str, thing: Any, *_: Any
) -> tuple[str, str | None] | None:
  """Shows a signature as it is written; see `signatures`."""
  found = signature_of(thing)
  if found is None:
    return None
  parameters, result = found
  return parameters, None if what == "class" else result


def docstring(
  app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
  """Turns a docstring into reStructuredText, before Napoleon reads its sections."""
  lines[:] = to_rest(lines)
  if what == "module":
    lines += _aliases() if name == "ltx_jax.typing" else _moved(thing)


def add_shapes(
  app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
  """Adds what the names of arrays in a signature stand for, after Napoleon's fields."""
  if what not in ("function", "method", "class"):
    return
  found = signature_of(thing)
  known = list(shapes(" ".join(filter(None, found or ())), _SHAPES))
  if known:
    lines += ["", ":Shapes: " + " |br| ".join(f"``{each}``" for each in known), ""]


def _aliases() -> Iterable[str]:
  """The array types of `ltx_jax.typing`, which have a source and no signature."""
  for name, (source, about) in _TYPES.items():
    yield from (f".. py:type:: {name}", f"   :canonical: {source}", "")
    yield from (f"   {line}" for line in to_rest(about.split("\n")))
    yield ""


def _moved(module: Any) -> Iterable[str]:
  """Names what a module defines and the page of the public names describes."""
  here = [
    f":py:obj:`ltx_jax.{name}`"
    for path, name in _PUBLIC.items()
    if path.rpartition(".")[0] == module.__name__
  ]
  if here:
    yield from ("", f"Among the public names: {', '.join(here)}.", "")


def skip(
  app: Sphinx, what: str, name: str, thing: Any, skipped: bool, options: Any
) -> bool | None:
  """Describes everything once: the public names on their page, the rest at home."""
  if what != "module":
    return None
  module = app.env.current_document.autodoc_module
  if module == "ltx_jax.typing" and name in _TYPES:
    return True
  home = getattr(thing, "__module__", module)
  return True if _path(thing) in _PUBLIC or home != module else None


def public_name(app: Sphinx, domain: str, kind: str, content: nodes.Element) -> None:
  """Puts `ltx_jax.` before a public name, as it is written after `import ltx_jax`."""
  for signature in content.parent.findall(addnodes.desc_signature):
    path = f"{signature.get('module')}.{signature.get('fullname')}"
    if path in _PUBLIC and signature.parent is content.parent:
      (name, *_) = signature.findall(addnodes.desc_name)
      name.replace_self([addnodes.desc_addname("", "ltx_jax."), name.deepcopy()])


class Names(SphinxPostTransform):
  """Leads the names in signatures to what the module that holds them means by them.

  By itself, Sphinx would look for anything that ends in that name.
  """

  default_priority = 5  # Before references are resolved, which is 10.

  def run(self, **_: Any) -> None:
    objects = self.env.get_domain("py").objects
    by_name: dict[str, list[str]] = collections.defaultdict(list)
    for path in objects:
      by_name[path.rpartition(".")[2]].append(path)
    for node in list(self.document.findall(addnodes.pending_xref)):
      if node.get("refdomain") == "py":
        name = node["reftarget"]
        target = _meant(name, _module_around(node))
        if target not in objects and len(by_name[name]) == 1:
          # A field that is inherited has its type from another module.
          (target,) = by_name[name]
        if target in objects or target in sys.modules:
          node["reftarget"] = target
        else:
          node.replace_self(node.children)


def _module_around(node: nodes.Element) -> str | None:
  """The module of the description that a name stands in."""
  while node is not None and not isinstance(node, addnodes.desc):
    node = node.parent
  return None if node is None else node[0].get("module")


def _meant(name: str, module: str | None) -> str:
  """The full path of what a name stands for in a module."""
  first, *rest = name.split(".")
  if name.startswith("ltx_jax."):
    thing, rest = sys.modules["ltx_jax"], rest
  elif first in _TYPES:
    return f"ltx_jax.typing.{name}"
  else:
    thing = getattr(sys.modules.get(module), first, None)
  for attribute in rest:
    thing = getattr(thing, attribute, None)
  if isinstance(thing, types.ModuleType):
    return thing.__name__
  # A number or an alias does not know where it stands.
  return _path(thing) or (name if "." in name else f"{module}.{name}")


def link_sources(app: Sphinx, doctree: nodes.document, docname: str) -> None:
  """Leads links to files of Python to their page; one without a page is downloaded."""
  for node in list(doctree.findall(addnodes.download_reference)):
    path = Path(os.path.normpath(ROOT / Path(docname).parent / node["reftarget"]))
    if path.suffix != ".py":
      continue
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    entry = app.env.get_domain("py").modules.get(module)
    if entry is None:
      continue
    uri = app.builder.get_relative_uri(docname, entry.docname)
    link = nodes.reference("", "", *node.children, refuri=f"{uri}#{entry.node_id}")
    node.replace_self(link)


def setup(app: Sphinx) -> dict[str, Any]:
  """Connects the functions of this folder to Sphinx."""
  app.add_directive("program-help", programs.ProgramHelp)
  app.connect("env-before-read-docs", programs.start)
  app.connect("autodoc-process-signature", signature)
  # Napoleon's own priority is 500: the one before it, the other after it.
  app.connect("autodoc-process-docstring", docstring, priority=400)
  app.connect("autodoc-process-docstring", add_shapes, priority=600)
  app.connect("autodoc-skip-member", skip)
  app.connect("object-description-transform", public_name)
  app.add_post_transform(Names)
  app.connect("doctree-resolved", link_sources)
  return {"parallel_read_safe": False, "parallel_write_safe": True}
