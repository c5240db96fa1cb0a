"""A disk whose power can be cut: a file with ext4 on it, mounted through a loop device. For root on Linux."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from pathlib import Path

import pytest

_SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN, as xfstests use it."""
_LOSE_THE_JOURNAL = 2


class Disk:
    """An ext4 disk at a folder.

    Args:
        folder: Where it is mounted; the file that holds it lies beside it.
        megabytes: Of the disk.
    """

    def __init__(self, folder: Path, megabytes: int = 64) -> None:
        self.folder, self._image = folder, folder.with_suffix(".img")
        folder.mkdir()
        with self._image.open("wb") as file:
            file.truncate(megabytes << 20)
        made = subprocess.run(["mkfs.ext4", "-q", str(self._image)], capture_output=True)
        if made.returncode or not self._mount():
            pytest.skip("only root can mount a disk")

    def cut_power(self) -> None:
        """Lose what was not synchronised, from one moment to the next; nothing can be written any more."""
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, struct.pack("I", _LOSE_THE_JOURNAL))
        finally:
            os.close(handle)

    def restart(self) -> None:
        """Mount it again, as after a reboot; the file system mends itself by its journal."""
        self.remove()
        assert self._mount()

    def remove(self) -> None:
        """Unmount it."""
        subprocess.run(["umount", str(self.folder)], check=True)

    def _mount(self) -> bool:
        return subprocess.run(["mount", "-o", "loop", str(self._image), str(self.folder)],
                              capture_output=True).returncode == 0
