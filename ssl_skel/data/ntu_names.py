"""The names of the NTU RGB+D clips: the whole grid by rule, and the official lists of missing skeletons.

A recording setup was visited by the performers in ``names/ntu_setups.txt``, each seen by three cameras in two
replications of 60 actions (1-60 in setups 1-17, 61-120 after); that gives exactly the 114,480 recordings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files

from ssl_skel.errors import BadData

NAME = re.compile(r"S(?P<setup>\d{3})C(?P<camera>\d{3})P(?P<subject>\d{3})R(?P<replication>\d{3})A(?P<action>\d{3})")
MISSING = {"ntu60": "ntu60_missing.txt", "ntu120": "ntu120_missing.txt"}
SETUPS_60 = range(1, 18)
SETUPS_120 = range(1, 33)


def clip_fields(name: str, actions: int) -> dict[str, int]:
    """Read label (from 0), subject, view, setup and repetition from a clip's name.

    Args:
        name: ``SsssCcccPpppRrrrAaaa``.
        actions: A, the number of classes of the dataset.

    Raises:
        BadData: If it is not such a name, or its action is not one of 1 to A.
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise BadData(f"{name!r} is not a name of the form SsssCcccPpppRrrrAaaa")
    setup, camera, subject, replication, action = map(int, match.groups())
    if not 1 <= action <= actions:
        raise BadData(f"{name}: action {action} is not one of 1 to {actions}")
    return {"label": action - 1, "subject": subject, "view": camera, "setup": setup, "repetition": replication}


def read_names(name: str) -> list[str]:
    """Read a list that the package ships; lines that start with ``#`` are comments."""
    lines = files("ssl_skel.data").joinpath("names", name).read_text(encoding="ascii").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def recorded_names(setups: range) -> Iterator[str]:
    """Name every recording of some setups, in order of setup and performer.

    Args:
        setups: `SETUPS_60` or `SETUPS_120`.
    """
    for line in read_names("ntu_setups.txt"):
        setup, subjects = line.split(":")
        if int(setup) not in setups:
            continue
        actions = range(1, 61) if int(setup) in SETUPS_60 else range(61, 121)
        for subject in subjects.split():
            for camera in (1, 2, 3):
                for replication in (1, 2):
                    head = f"S{int(setup):03d}C{camera:03d}P{int(subject):03d}R{replication:03d}A"
                    yield from (f"{head}{action:03d}" for action in actions)


def usable_names(dataset: str) -> list[str]:
    """Name the recordings of a dataset that are not on its list of missing skeletons, sorted.

    Args:
        dataset: ``ntu60`` or ``ntu120``.
    """
    missing = set(read_names(MISSING[dataset]))
    setups = SETUPS_60 if dataset == "ntu60" else SETUPS_120
    return sorted(name for name in recorded_names(setups) if name not in missing)
