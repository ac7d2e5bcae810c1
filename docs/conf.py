"""Settings of the documentation site, which `make docs` builds.

Pages are read from the root of the repository, README among them, so that a link
between them is the same on GitHub and in the site.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

project = "ltx-jax"
author = "the authors of ltx-jax"
copyright = "the authors of ltx-jax, Apache-2.0"
root_doc = "docs/index"
include_patterns = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  "docs/**",
  "ltx_jax/assets/moving_shapes/README.md",
]
exclude_patterns = [
  *(".*", "build", "demo", "dist", "runs", "sample", "tests", "train"),
  "docs/site",
]

extensions = [
  "myst_parser",
  "sphinx.ext.autodoc",
  "sphinx.ext.autosummary",
  "sphinx.ext.napoleon",
  "sphinx.ext.viewcode",
  "docs.site.extension",
]
myst_heading_anchors = 4
smartquotes_action = "D"  # Dashes alone; quotes belong to code as well.
templates_path = [str(HERE / "site" / "templates")]
rst_prolog = """
.. |br| raw:: html

   <br>
"""

autodoc_default_options = {
  "members": True,
  "member-order": "bysource",
  "special-members": "__call__",
}
# The reference describes ltx_jax.curation without the extra [curate].
autodoc_mock_imports = ["cv2"]
# Everything is described where it is defined.
viewcode_follow_imported_members = False
maximum_signature_line_length = 72
add_module_names = False
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_attr_annotations = False
napoleon_custom_sections = [("Attributes", "params_style")]

html_theme = "furo"
html_title = "ltx-jax"
html_static_path = ["site/static"]
html_css_files = ["site.css"]
html_extra_path = ["site/extra"]
html_copy_source = False
html_show_sphinx = False
