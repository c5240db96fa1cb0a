"""Keeps labels and test clips from methods: while it is closed, nobody opens data, and a method looks at no frames.

A pretraining gets its clips first; then the labels and names are let go and the firewall is closed around the
method's code. What Python tells its audit hooks (PEP 578) is refused: opening a file of the data folder, making or
opening a dataset, looking through stack frames or the garbage collector's objects, starting another program. A
refusal that the method swallows is raised again at the end. Reads that Python does not announce (a native library
that maps a file) are found by the contract check `labels_do_not_matter`.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from ssl_skel.errors import ForbiddenRead

OPENED = "ssl_skel.open_dataset"
"""Audit event of opening or generating a dataset, raised with its name."""

_LOOKING = {"sys._getframe", "sys._current_frames", "gc.get_objects", "gc.get_referrers", "gc.get_referents"}
_FRAMES = {"tb_frame", "gi_frame", "cr_frame", "ag_frame"}
_STARTING = {"subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn",
             "ctypes.dlopen"}
_STDLIB = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
_HARMLESS = {"collections", "dataclasses", "enum", "logging", "typing", "warnings", "platform"}
"""Modules of the standard library that look at their caller's frame, or start a program, for reasons of their own."""
_PACKAGES = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))


@dataclass
class _Closed:
    """A closed firewall: what may not be read, whose code is watched, and what was refused so far."""

    folders: tuple[str, ...]
    suspects: tuple[str, ...]
    refused: list[str] = field(default_factory=list)


_closed: list[_Closed] = []
_inside = threading.local()
_hooked: list[bool] = []


@contextmanager
def closed(folders: Sequence[Path], suspects: Sequence[Path] = ()) -> Iterator[None]:
    """Refuse every forbidden read until the block ends.

    Args:
        folders: Of prepared datasets, of which no file may be opened.
        suspects: Folders of the code that may not look at frames or start programs.

    Raises:
        ForbiddenRead: At the read, and once more at the end if it was swallowed.
    """
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked.append(True)
    wall = _Closed(_real(folders), _real(suspects))
    _closed.append(wall)
    try:
        yield
    except Exception as error:
        if wall.refused and not isinstance(error, ForbiddenRead):
            raise _error(wall.refused[0]) from None
        raise
    finally:
        _closed.remove(wall)
    if wall.refused:
        raise _error(wall.refused[0])


def _error(what: str) -> ForbiddenRead:
    return ForbiddenRead(f"the firewall refused to {what} during pretraining or evaluation",
                         "A method sees training clips only, and no label; see CONTRIBUTING.md.")


def _hook(event: str, args: tuple[Any, ...]) -> None:
    """Called by Python for every audit event of the process."""
    if not _closed or getattr(_inside, "busy", False):
        return
    _inside.busy = True
    try:
        for wall in _closed:
            what = _forbidden(wall, event, args)
            if what:
                wall.refused.append(what)
                raise _error(what)
    finally:
        _inside.busy = False


def _forbidden(wall: _Closed, event: str, args: tuple[Any, ...]) -> str:
    """Say what is refused; empty if the event is allowed."""
    if event == "open":
        return f"open {_shown(args[0])}" if _below(args[0], wall.folders) else ""
    if event == OPENED:
        return f"open dataset {args[0]!r}"
    if (event in _LOOKING or (event == "object.__getattr__" and args[1] in _FRAMES)) and _by_suspect(wall):
        return f"look at the program's frames and objects ({event})"
    if event in _STARTING and _by_suspect(wall):
        return f"start another program or library ({event})"
    return ""


def _real(paths: Sequence[Path]) -> tuple[str, ...]:
    return tuple(os.path.realpath(path) + os.sep for path in paths)


def _below(path: Any, folders: tuple[str, ...]) -> bool:
    if not folders or not isinstance(path, str | bytes | os.PathLike):
        return False
    return os.path.realpath(os.fsdecode(path)).startswith(folders)


def _shown(path: Any) -> str:
    return repr(os.fsdecode(path))


def _by_suspect(wall: _Closed) -> bool:
    """Whether a suspect's code caused the event: as the innermost code outside the standard library, or in a thread."""
    frame: FrameType | None = sys._getframe(3)
    if not wall.suspects or (frame is not None and _module_of(frame) in _HARMLESS):
        return False
    while frame is not None:
        name = frame.f_code.co_filename
        made = name.startswith("<")  # by exec or eval: whoever called that is behind it
        if not made and (not name.startswith(_STDLIB) or name.startswith(_PACKAGES)):
            return os.path.realpath(name).startswith(wall.suspects)
        frame = frame.f_back
    return True


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
