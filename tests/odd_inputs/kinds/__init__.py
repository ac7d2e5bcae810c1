"""The cases, a module for each kind."""

FEW = frozenset(
  {
    "leaves a size at nothing",
    "types the unit",
    "misspells a flag",
    "gives a switch a value",
    "names a recipe by its file",
    "opens the page to all",
    "lets nobody wait",
    "names no program",
    "mistypes the list",
    "names a folder of other files",
    "draws a run that is not there",
    "draws curves of words",
    "lists records that are not there",
    "gives the tokenizer no pieces",
    "pages through the help",
    "has a code page and no such records",
  }
)
"""Quick ones, of most programs, that need nothing of the shelf."""
