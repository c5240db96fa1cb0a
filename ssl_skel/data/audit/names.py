"""Whether what a clip's name says is what the index says."""

from __future__ import annotations

import re
from collections.abc import Callable

from ssl_skel.data.ntu_names import clip_fields
from ssl_skel.data.readers import nw_ucla, pku, sbu
from ssl_skel.data.store import Store
from ssl_skel.errors import BadData

Fields = dict[str, int]
_MULTIVIEW = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d)")


def _multiview(name: str, actions: tuple[int, ...]) -> Fields | None:
    match = _MULTIVIEW.fullmatch(name)
    if match is None or int(match[1]) not in actions:
        return None
    return {"label": actions.index(int(match[1])), "subject": int(match[2]), "repetition": int(match[3]),
            "view": int(match[4])}


def _ntu(name: str, actions: int) -> Fields | None:
    try:
        return clip_fields(name, actions)
    except BadData:
        return None


def _pku(name: str, reader: type[pku.PkuReader]) -> Fields | None:
    video, _, number = name.rpartition("-")
    match = reader.video.fullmatch(video)
    if match is None or not number.isdigit():
        return None
    fields = {key: int(value) for key, value in match.groupdict().items() if key != "side"}
    return fields | {"view": pku.VIEWS.index(match["side"]) + 1, "repetition": int(number)}


def _sbu(name: str) -> Fields | None:
    pair, _, rest = name.partition("_")
    action, _, sequence = rest.partition("_")
    if pair not in sbu.SETS or not (action.isdigit() and sequence.isdigit()):
        return None
    return {"label": int(action) - 1, "subject": sbu.SETS.index(pair) + 1, "repetition": int(sequence)}


SAYS: dict[str, Callable[[str], Fields | None]] = {
    "ntu60": lambda name: _ntu(name, 60),
    "ntu120": lambda name: _ntu(name, 120),
    "nw-ucla": lambda name: _multiview(name, nw_ucla.ACTIONS),
    "uwa3d": lambda name: _multiview(name, tuple(range(1, 31))),
    "pku-mmd-1": lambda name: _pku(name, pku.Pku1Reader),
    "pku-mmd-2": lambda name: _pku(name, pku.Pku2Reader),
    "sbu": _sbu,
}
"""Dataset -> what a clip's name says of it; None where it is not a name of the dataset."""


def check_names(store: Store) -> list[dict[str, object]] | None:
    """Compare names with labels, subjects, views, setups and repetitions.

    Args:
        store: An open store.

    Returns:
        ``clip, field, name_says, index_says`` of each difference; None where names of the dataset say nothing.
    """
    dataset = str(store.meta["dataset"]).partition("+")[0]
    if dataset not in SAYS:
        return None
    wrong: list[dict[str, object]] = []
    columns = {key: store.index[key].tolist() for key in ("label", "subject", "view", "setup", "repetition")}
    for position, name in enumerate(store.names):
        says = SAYS[dataset](name)
        if says is None:
            wrong.append({"clip": name, "field": "name", "name_says": None, "index_says": None})
            continue
        wrong += [{"clip": name, "field": key, "name_says": value, "index_says": columns[key][position]}
                  for key, value in says.items() if columns[key][position] != value]
    return wrong
