"""Which names a new part may have, and what is named after them."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass

from ssl_skel.errors import UsageMistake
from ssl_skel.registry import Catalogue
from ssl_skel.schema import NAME

LONGEST = 40


@dataclass(frozen=True)
class Names:
    """A part's name and what follows from it.

    Attributes:
        name: Registered, e.g. ``my-net``.
        module: As an identifier, ``my_net``.
        cls: Of the class, ``MyNet``.
        package: Of an installable project, ``ssl_skel_my_net``.
        dist: Of its distribution and folder, ``ssl-skel-my-net``.
    """

    name: str

    @property
    def module(self) -> str:
        """The name as an identifier."""
        return self.name.replace("-", "_")

    @property
    def cls(self) -> str:
        """The name as that of a class."""
        return "".join(part[:1].upper() + part[1:] for part in self.name.split("-"))

    @property
    def package(self) -> str:
        """The import package of a project."""
        return f"ssl_skel_{self.module}"

    @property
    def dist(self) -> str:
        """The distribution of a project."""
        return f"ssl-skel-{self.name}"


def new_name(name: str, kind: str, catalogue: Catalogue) -> Names:
    """Check the name of a part that is to be written.

    Args:
        name: As it was asked for.
        kind: ``plugin``, ``backbone``, ``evaluator`` or ``dataset``.
        catalogue: What is registered already.

    Raises:
        UsageMistake: If it is no name (a path, capitals, a word of Python), or taken; says by whom.
    """
    shown = repr(name[:60])
    if not NAME.match(name) or not name[0].isalpha() or len(name) > LONGEST:
        near = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()).strip("-")
        near = re.sub(r"^[0-9-]+", "", near)[:LONGEST]
        hint = f"For example {near!r}." if near and NAME.match(near) else "For example 'my-method'."
        raise UsageMistake(f"{shown} is no name: lower-case letters, digits and single hyphens, a letter first, at "
                           f"most {LONGEST} characters", hint)
    if keyword.iskeyword(name):
        raise UsageMistake(f"{shown} is a word of Python and can't name a module", f"For example '{name}-net'.")
    for entry in (*catalogue.entries(f"{kind}s"), *catalogue.broken):
        if (entry.kind, entry.name) == (f"{kind}s", name):
            raise UsageMistake(f"the {kind} name {name!r} is taken by {entry.origin}", "Choose another name.")
    return Names(name)
