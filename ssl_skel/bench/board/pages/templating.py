"""The one template environment: every string is escaped, an unknown name is an error, indentation is left out."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

BIDI = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd")
"""Overrides of the direction of writing: one in a plugin's card would turn the text around it."""

SCRIPT, STYLE = "board.js", "board.css"


def render(template: str, **values: Any) -> str:
    """Render a template of the board, without indentation and empty lines between elements.

    Args:
        template: File in ``templates``.
        values: What it refers to.
    """
    text = environment().get_template(template).render(**values)
    text = text.translate(BIDI)
    return re.sub(r"\n[ \n]*\n", "\n", re.sub(r"\n[ ]+(?=<)", "\n", text)).rstrip("\n") + "\n"


@functools.cache
def environment() -> Environment:
    """Made once; jinja2 is imported only here."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(loader=PackageLoader("ssl_skel.bench.board"), autoescape=True, trim_blocks=True,
                       lstrip_blocks=True, undefined=StrictUndefined)
    made.filters["sortable"] = lambda value: "" if value is None else f"{value:.6g}"
    made.filters["breakable"] = lambda value: str(value).replace("+", "+\u200b")
    made.globals.update(style=asset(STYLE), script=asset(SCRIPT), script_hash=script_hash())
    return made


@functools.cache
def asset(name: str) -> str:
    """Text of a file beside the templates, without indentation and empty lines."""
    folder = resources.files("ssl_skel.bench.board") / "templates"
    lines = (folder / name).read_text(encoding="utf-8").splitlines()
    return "\n".join(line.strip() for line in lines if line.strip()) + "\n"


@functools.cache
def script_hash() -> str:
    """What the content security policy of the index allows to run."""
    return base64.b64encode(hashlib.sha256(asset(SCRIPT).encode()).digest()).decode()
