"""Processes that end with the one that started them, however it ends; nobody would collect their results."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

PARENT = "SSL_SKEL_PARENT"
"""Environment variable: process id of who starts a process that calls `end_with_parent`."""


def tie_to_parent() -> None:
    """Ask Linux to kill this process when its parent ends, even while a loop in C keeps Python from running."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def end_with_parent() -> None:
    """Tie this process to the one named by the environment; end at once if that is gone already."""
    tie_to_parent()
    if os.environ.get(PARENT) not in (None, str(os.getppid())):
        os._exit(1)
