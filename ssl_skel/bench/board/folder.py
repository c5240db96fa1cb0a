"""The folder of a board: which files are a board's own, and how they are written over an earlier board only."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from pathlib import Path

from ssl_skel import fsio
from ssl_skel.bench.board.pages.site import ASSETS, FOLDER, OWN
from ssl_skel.errors import OutputError

MANIFEST = "manifest.json"
FILES = {"html": "index.html", "md": "board.md", "csv": "board.csv", "json": "board.json", "tex": "board.tex"}
REMEDY = "Move it away, or choose another folder with --out."


def refuse_foreign(folder: Path, is_board: bool) -> None:
    """Refuse a folder that holds what no board wrote; hidden files may stay.

    Args:
        folder: It need not exist.
        is_board: Whether it holds the manifest of an earlier board; without one nothing in it is a board's.

    Raises:
        OutputError: Naming the first foreign file.
    """
    for path in _entries(folder):
        pages = path.name == FOLDER and path.is_dir() and not path.is_symlink()
        if not is_board or not (pages or path.name in (MANIFEST, *FILES.values())):
            raise OutputError(f"{path} was not made by a board", REMEDY)
    for path in _entries(folder / FOLDER):
        if not is_own_page(path.name):
            raise OutputError(f"{path} was not made by a board", REMEDY)


def is_own_page(name: str) -> bool:
    """Whether a file in the folder of pages has a name that a board gives."""
    return name in ASSETS or OWN.match(name) is not None


def extra_files(folder: Path, pages: Mapping[str, str]) -> list[Path]:
    """Files of a board's folder that are no part of the board."""
    kept = {MANIFEST, *FILES.values(), *((FOLDER,) if pages else ())}
    return [path for path in _entries(folder) if path.name not in kept] + old_pages(folder, pages)


def old_pages(folder: Path, pages: Mapping[str, str]) -> list[Path]:
    """Pages that this board does not have."""
    return [path for path in _entries(folder / FOLDER) if path.name not in pages]


def write_pages(folder: Path, pages: Mapping[str, str]) -> None:
    """Write the pages that changed and remove those of an earlier board that are gone.

    Raises:
        OutputError: If the folder can't be written.
    """
    if pages:
        fsio.make_folder(folder, FOLDER)
    for name, text in pages.items():
        write_changed(folder / FOLDER / name, text)
    for path in old_pages(folder, pages):
        fsio.remove(path)
    if not pages and (folder / FOLDER).is_dir():
        try:
            (folder / FOLDER).rmdir()
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # a hidden file of someone else's may stay
                raise fsio.output_error(folder / FOLDER, error) from None


def write_changed(path: Path, text: str) -> None:
    """Write a file unless it already has this content: most pages of a board stay as they were."""
    try:
        if path.read_bytes() == text.encode("utf-8", "backslashreplace"):
            return
    except OSError:
        pass
    fsio.write_atomic(path, text)


def _entries(folder: Path) -> Iterator[Path]:
    try:
        found = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise fsio.output_error(folder, error) from None
    yield from (path for path in found if not path.name.startswith("."))
