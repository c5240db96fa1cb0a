"""How the documentation is built: `sphinx-build -W docs site`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ssl_skel import __version__

project = "ssl_skel"
author = "the ssl_skel authors"
copyright = author
release = __version__
html_title = f"ssl_skel {__version__}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["site", "_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

default_role = "literal"  # docstrings name things in single backticks
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_numpy_docstring = False
napoleon_use_ivar = True
suppress_warnings = ["myst.xref_missing"]  # links to files beside docs/; tests/test_docs_pages.py follows every link

html_theme = "furo"
html_copy_source = False
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "monokai"
html_theme_options = {
    "navigation_with_keys": True,
    "light_css_variables": {"color-brand-primary": "#1f5fa8", "color-brand-content": "#1f5fa8"},
    "dark_css_variables": {"color-brand-primary": "#7db4f0", "color-brand-content": "#7db4f0"},
}


def _part_quotes(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Let a name in backticks end where a word or sign goes on, as in `grid`^2; reStructuredText wants a break."""
    lines[:] = [re.sub(r"(`[^`]+`)(?=[\w^])", r"\1\\ ", line) for line in lines]


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _part_quotes)
