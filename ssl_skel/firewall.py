"""Keeps labels and test clips from methods: while it is closed, nobody opens data, and a method looks at no frames.

A pretraining gets its clips first; then the labels and names are let go and the firewall is closed around the
method's code. What Python tells its audit hooks (PEP 578) is refused: opening or moving a file of the data folder,
making or opening a dataset; and, to the code of methods, opening what earlier runs predicted, looking through stack
frames or the garbage collector's objects, starting another program. A refusal that the method swallows is raised again
at the end. Reads that Python does not announce (a native library that opens a file) are found by the contract check
`labels_do_not_matter`. What is not shut is said in ``docs/comparability.md``.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

from ssl_skel.errors import ForbiddenRead

OPENED = "ssl_skel.open_dataset"
"""Audit event of opening or generating a dataset, raised with its name."""

_CLOSE, _REOPEN = "ssl_skel.close_wall", "ssl_skel.reopen_wall"
_LOOKING = {"sys._getframe", "sys._current_frames", "sys._current_exceptions", "sys.settrace", "sys.setprofile",
            "sys.monitoring.register_callback", "sys.addaudithook", "gc.get_objects", "gc.get_referrers",
            "gc.get_referents"}
_FRAMES = {"tb_frame", "gi_frame", "cr_frame", "ag_frame"}
_STARTING = {"subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn"}
_NATIVE = {f"ctypes.{name}" for name in ("dlopen", "dlsym", "dlsym/handle", "cdata", "call_function", "string_at",
                                         "wstring_at", "PyObj_FromPtr")}
_MOVES = {"os.rename", "os.link", "os.symlink"}
_STDLIB = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
_HARMLESS = {"collections", "dataclasses", "enum", "logging", "typing", "warnings", "platform"}
"""Modules of the standard library that look at their caller's frame, or start a program, for reasons of their own."""
_HANDING_OUT = {"logging"}
"""Those that have a function which gives the frame to whoever calls it."""
_PACKAGES = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
_RESULTS = re.compile(r"/predictions/[0-9a-f]{16}\.csv$|/records/.+/[0-9a-f]{16}\.json$|/features/[0-9a-f]{16}/.")
"""Files of an output folder, of this run or another, that say what clips are or what was predicted for them."""
_RESULT_FOLDERS = re.compile(r"/(predictions|records|features)(/|$)")
_HANDLES = Path("/proc/self/fd")


@dataclass
class _Wall:
    """A closed firewall: what may not be read, whose code is watched, and what was refused so far.

    Attributes:
        folders: From which nobody opens a file.
        kept: From which the suspects open none; nor do they open results.
        suspects: Folders of their code.
        threads: Native ids of those that ran before; any other may have been started by the suspects.
        outer: Frames in which it was closed. A suspect's folder may hold the script that started the run, too.
        refused: In order.
        heard: Whether the hook knows of it.
    """

    folders: tuple[str, ...]
    kept: tuple[str, ...]
    suspects: tuple[str, ...]
    threads: frozenset[int | None]
    outer: frozenset[FrameType]
    refused: list[str] = field(default_factory=list)
    heard: bool = False


@contextmanager
def closed(folders: Sequence[Path], suspects: Sequence[Path] = (), kept: Sequence[Path] = ()) -> Iterator[None]:
    """Refuse every forbidden read until the block ends.

    Args:
        folders: Of prepared datasets, of which no file may be opened.
        suspects: Folders of the code that may not look at frames, start programs or open results of earlier runs.
        kept: Folders of which the suspects may open no file, though the suite may.

    Raises:
        ForbiddenRead: At the read, and once more at the end if it was swallowed.
    """
    threads = frozenset({threading.get_native_id(), *(thread.native_id for thread in threading.enumerate())})
    wall, key = _Wall(_real(folders), _real(kept), _real(suspects), threads, frozenset(_stack())), object()
    _announce_maps()
    sys.audit(_CLOSE, key, wall)
    if not wall.heard:
        sys.addaudithook(_watch())
        sys.audit(_CLOSE, key, wall)
    try:
        yield
    except Exception as error:
        if wall.refused and not isinstance(error, ForbiddenRead):
            raise _error(wall.refused[0]) from None
        raise
    finally:
        sys.audit(_REOPEN, key)
        wall.outer = frozenset()  # one of the frames holds the wall
    if wall.refused:
        raise _error(wall.refused[0])


def _error(what: str) -> ForbiddenRead:
    return ForbiddenRead(f"the firewall refused to {what} during pretraining or evaluation",
                         "A method sees training clips only, and no label; see CONTRIBUTING.md.")


def _watch() -> Callable[[str, tuple[Any, ...]], None]:
    """Make the audit hook of the process.

    The walls, and whether the hook is at work itself, are known to it alone: as names of this module they could be set
    by those they are meant for. A wall is opened again by the key it was closed with.
    """
    walls: dict[object, _Wall] = {}
    busy = threading.local()

    def judge(event: str, args: tuple[Any, ...]) -> None:
        for wall in tuple(walls.values()):
            what = _forbidden(wall, event, args)
            if what:
                wall.refused.append(what)
                raise _error(what)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == _REOPEN:
            if type(args[0]) is object:
                walls.pop(args[0], None)
            return
        if getattr(busy, "now", False) or not (walls or event == _CLOSE):
            return
        plain = args if event == _CLOSE else _plain(event, args)  # may run code of a method, so this is watched, too
        busy.now = True
        try:
            judge(event, plain)
        finally:
            busy.now = False
        if event == _CLOSE:
            walls[args[0]], args[1].heard = args[1], True

    return hook


def _plain(event: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments of an event that are looked at, as strings that have no code of their own; other things as None."""
    count = 2 if event in _MOVES or event == "object.__getattr__" else 1
    return tuple(_text(value) for value in args[:count])


def _text(value: Any) -> str | None:
    kind = type(value)
    if issubclass(kind, str):
        return str.__str__(value)
    if issubclass(kind, bytes):
        return os.fsdecode(bytes.__add__(value, b""))
    if kind in (pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath, pathlib.PureWindowsPath):
        text: str = os.fspath(value)
        return text
    # Any other path may say something else to whoever asks next: it is taken for the folder that holds everything.
    return os.sep if hasattr(kind, "__fspath__") else None


def _forbidden(wall: _Wall, event: str, args: tuple[Any, ...]) -> str:
    """Say what is refused; empty if the event is allowed."""
    if event == "open":
        return f"open {args[0]!r}" if args[0] is not None and _may_not_open(wall, args[0]) else ""
    if event == OPENED:
        return f"open dataset {args[0]!r}"
    if event in _MOVES:
        return f"move or link {args[0]!r}" if _may_not_move(wall, event, *args) else ""
    if (event in _LOOKING or (event == "object.__getattr__" and args[1] in _FRAMES)) and _by_suspect(wall):
        return f"look at the program's frames and objects ({event})"
    if (event in _STARTING or event in _NATIVE) and _by_suspect(wall):
        return f"start another program or library ({event})"
    return "close another wall" if event == _CLOSE and _by_suspect(wall) else ""


# -- files ------------------------------------------------------------------------------------------------------------


def _real(paths: Sequence[Path]) -> tuple[str, ...]:
    return tuple(os.path.realpath(path) + os.sep for path in paths)


def _may_not_open(wall: _Wall, path: str) -> bool:
    """Whether a path, wherever it may lead, is one of a guarded folder; the folder itself gives a handle to all."""
    for place in _places(path):
        if (place + os.sep).startswith(wall.folders):
            return True
        if ((place + os.sep).startswith(wall.kept) or _RESULTS.search(place) or place == os.sep) and _behind(wall):
            return True
    return False


def _may_not_move(wall: _Wall, event: str, source: str | None, target: str | None) -> bool:
    """Whether something guarded, or a folder that holds it, would get another name."""
    if event == "os.link" and _by_suspect(wall):
        return True
    if source is None:
        return False
    if event == "os.symlink" and target is not None:
        source = str(Path(target).parent / source)
    for place in (found + os.sep for found in _places(source)):
        if any(place.startswith(folder) or folder.startswith(place) for folder in wall.folders):
            return True
        kept = any(place.startswith(folder) or folder.startswith(place) for folder in wall.kept)
        results = _RESULTS.search(place[:-1]) or (_RESULT_FOLDERS.search(place) and Path(place).is_dir())
        if (kept or results) and _behind(wall):
            return True
    return False


def _places(path: str) -> Iterator[str]:
    """Where a path may lead: from here, or from any folder that is held open, as `dir_fd` is not announced."""
    yield os.path.realpath(path)
    if Path(path).is_absolute() or not _HANDLES.is_dir():
        return
    for handle in _HANDLES.iterdir():
        with contextlib.suppress(OSError):
            folder = handle.readlink()
            if folder.is_absolute() and folder.is_dir():
                yield os.path.realpath(folder / path)


def _announce_maps() -> None:
    """Let PyTorch's functions that map a file announce it as Python's `open` does; they are native and don't."""
    torch = sys.modules.get("torch")
    for place in (torch, getattr(torch, "UntypedStorage", None)):
        native = getattr(place, "from_file", None)
        if native is not None and not hasattr(native, "announces"):
            made = _announcing(native)
            place.from_file = made if place is torch else staticmethod(made)  # type: ignore[union-attr]


def _announcing(native: Callable[..., Any]) -> Callable[..., Any]:
    def from_file(filename: Any, *args: Any, **kwargs: Any) -> Any:
        sys.audit("open", filename, "r", 0)
        return native(filename, *args, **kwargs)

    from_file.announces = True  # type: ignore[attr-defined]
    return from_file


# -- who it was -------------------------------------------------------------------------------------------------------


def _by_suspect(wall: _Wall) -> bool:
    """Whether a suspect's code caused the event: as the innermost code outside the standard library, or in a thread."""
    frame = _first()
    if not wall.suspects or (frame is not None and _harmless(frame)):
        return False
    while frame is not None:
        name = frame.f_code.co_filename
        made = name.startswith("<")  # by exec or eval: whoever called that is behind it
        if not made and (not name.startswith(_STDLIB) or name.startswith(_PACKAGES)):
            return _is_theirs(name, wall)
        frame = frame.f_back
    return True


def _behind(wall: _Wall) -> bool:
    """Whether a suspect's code called whatever caused the event, or started the thread in which it happened."""
    if not wall.suspects:
        return False
    for frame in _stack():
        if frame in wall.outer:
            return False
        if _is_theirs(frame.f_code.co_filename, wall):
            return True
    return threading.get_native_id() not in wall.threads


def _is_theirs(name: str, wall: _Wall) -> bool:
    """Whether a file of code is a suspect's; what is installed in an environment below their folder is not."""
    real = "" if name.startswith("<") else _real_file(name)
    return any(real.startswith(folder) and not any(own != folder and own.startswith(folder) and real.startswith(own)
                                                   for own in _installed()) for folder in wall.suspects)


@lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    return _real([Path(__file__).parent, *map(Path, (*_PACKAGES, *_STDLIB))])


def _first() -> FrameType | None:
    """The frame that caused the event: the innermost outside this file."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return frame


def _stack() -> Iterator[FrameType]:
    """Frames from the one that caused the event outwards."""
    frame = _first()
    while frame is not None:
        yield frame
        frame = frame.f_back


def _harmless(frame: FrameType) -> bool:
    """Whether a module of the standard library looks at frames for itself, and hands none to a caller outside it."""
    module = _module_of(frame)
    if module in _HANDING_OUT:
        return frame.f_back is not None and _module_of(frame.f_back) == module
    return module in _HARMLESS


def _module_of(frame: FrameType) -> str:
    """Top-level module of the standard library by the file of its code; a name among the globals may be made up."""
    name = frame.f_code.co_filename
    if not name.startswith(_STDLIB) or name.startswith(_PACKAGES):
        return ""
    folder = next(folder for folder in _STDLIB if name.startswith(folder))
    return name[len(folder):].lstrip(os.sep).partition(os.sep)[0].removesuffix(".py")


@lru_cache(maxsize=4096)
def _real_file(name: str) -> str:
    return os.path.realpath(name)
