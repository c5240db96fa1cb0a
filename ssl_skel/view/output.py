"""Where a picture goes: the file's suffix says its format, and the file is written whole or not at all."""

from __future__ import annotations

import errno
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_skel.errors import UsageMistake
from ssl_skel.fsio import output_error, write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110
PICTURES = (".png", ".svg")


def picture_path(out: Path | None, *words: str, suffixes: tuple[str, ...] = PICTURES) -> Path:
    """Resolve the file of a picture.

    Args:
        out: What was asked for, or None for a name made of `words`, in the current folder.
        words: What the picture shows.
        suffixes: Those that this picture can be written as.

    Raises:
        UsageMistake: For another suffix, or a folder.
    """
    path = out or Path(re.sub(r"[^\w.+-]+", "-", "-".join(words)) + suffixes[0])
    if path.suffix.lower() not in suffixes:
        kinds = ", ".join(suffixes)
        raise UsageMistake(f"--out {path}: this picture is written as {kinds}", f"For example --out {path.stem}.png")
    if path.is_dir():
        raise UsageMistake(f"--out {path} is a folder")
    return path


def save(figure: Figure, path: Path, title: str) -> Path:
    """Write a figure; no date and no version goes into the file.

    Args:
        figure: What to write.
        path: From `picture_path`.
        title: Kept in the file, for whoever can't see the picture.

    Raises:
        OutputError: If the file can't be written.
    """
    buffer = io.BytesIO()
    kind = path.suffix.lower().lstrip(".")
    metadata = {"Title": title, "Date": None, "Creator": None} if kind == "svg" else {"Title": title, "Software": None}
    extra: dict[str, Any] = {} if kind == "svg" else {"pil_kwargs": {"optimize": True}}
    figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata, **extra)
    return write(path, buffer.getvalue())


def write(path: Path, content: bytes | str) -> Path:
    """Write a file below a folder that is made if need be.

    Raises:
        OutputError: If that can't be done.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise output_error(path.parent, NotADirectoryError(errno.ENOTDIR, "")) from None
    except OSError as error:
        raise output_error(path.parent, error) from None
    write_atomic(path, content)
    return path
