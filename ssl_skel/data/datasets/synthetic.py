"""The synthetic datasets: one person with 20 joints, up to two with 25, up to three with 15."""

from __future__ import annotations

import numpy as np

from ssl_skel.data.card import DatasetCard, Index, Masks, Split, by_name
from ssl_skel.data.synthetic import Action, Role, Swing

_STILL = Role(())
_SWING_R, _SWING_L = Swing("right_arm", 0, 1.3), Swing("left_arm", 0, 1.3)
_LIFT_R, _LIFT_L = Swing("right_arm", 2, 1.3), Swing("left_arm", 2, 1.3)
_KICK_R, _KICK_L = Swing("right_leg", 0, 0.9, bend=0.3), Swing("left_leg", 0, 0.9, bend=0.3)
_KICK_L_LATER = Swing("left_leg", 0, 0.9, phase=0.5, bend=0.3)
_BOW = Swing("torso", 0, 0.8, rate=0.5)

SINGLE = (
    Action("swing right arm", (Role((_SWING_R,)),)),
    Action("swing left arm", (Role((_SWING_L,)),)),
    Action("swing right arm fast", (Role((Swing("right_arm", 0, 1.0, rate=1.9),)),)),
    Action("lift both arms together", (Role((_LIFT_R, _LIFT_L)),)),
    Action("lift both arms in turn", (Role((_LIFT_R, Swing("left_arm", 2, 1.3, phase=0.5))),)),
    Action("kick right", (Role((_KICK_R,)),)),
    Action("march", (Role((_KICK_R, _KICK_L_LATER)),)),
    Action("bow", (Role((_BOW,)),)),
)
PAIRS = (
    Action("swing right arm", (Role((_SWING_R,)),)),
    Action("kick right", (Role((_KICK_R,)),)),
    Action("bow", (Role((_BOW,)),)),
    Action("walk together", (Role((_KICK_R, _KICK_L_LATER), (0.2, 0.0)), Role((_KICK_L,), (-0.2, 0.0)))),
    Action("walk apart", (Role((_KICK_R, _KICK_L_LATER), (-0.2, 0.0)), Role((_KICK_L,), (0.2, 0.0)))),
    Action("punch", (Role((_LIFT_R,)), Role((Swing("torso", 1, 0.3, rate=0.8),), (0.15, 0.0)))),
    Action("greet", (Role((_LIFT_R,)), Role((_LIFT_L,)))),
    Action("watch", (Role((_SWING_L,)), _STILL)),
)
GROUPS = (
    Action("swing right arm", (Role((_SWING_R,)),)),
    Action("march", (Role((_KICK_R, _KICK_L_LATER)),)),
    Action("greet", (Role((_LIFT_R,)), Role((_LIFT_L,)))),
    Action("kick", (Role((_KICK_R,)), _STILL)),
    Action("all bow", (Role((_BOW,)), Role((_BOW,)), Role((_BOW,)))),
    Action("one leads", (Role((_LIFT_L,)), Role((_SWING_R,)), Role((_SWING_R,)))),
    Action("gather", (Role((_KICK_R,), (0.2, 0.0)), Role((_BOW,)), Role((_KICK_R,), (-0.2, 0.0)))),
    Action("part", (Role((_KICK_R,), (-0.2, 0.0)), Role((_BOW,)), Role((_KICK_R,), (0.2, 0.0)))),
)
SCRIPTS = {"synthetic": (1, SINGLE), "synthetic-2p": (2, PAIRS), "synthetic-3p": (3, GROUPS)}
"""Name -> (seed, classes)."""

TEST_SUBJECTS = (3, 6, 9)
TEST_VIEW = 3
HELD_OUT = (2, 7)


def _xsub(index: Index) -> Masks:
    test = np.isin(index["subject"], TEST_SUBJECTS)
    return ~test, test


def _xview(index: Index) -> Masks:
    test = index["view"] == TEST_VIEW
    return ~test, test


def _card(name: str, title: str, layout: str, persons: int) -> DatasetCard:
    return DatasetCard(
        name=name, title=title, layout=layout, persons=persons,
        classes=tuple(action.name for action in SCRIPTS[name][1]),
        splits=by_name(
            Split("xsub", "seven subjects to train on, three others to test", _xsub, HELD_OUT,
                  expected=(336, 144), disjoint_by="subject"),
            Split("xview", "views 1 and 2 to train on, view 3 to test", _xview, HELD_OUT,
                  expected=(320, 160), disjoint_by="view"),
        ),
        generate="ssl_skel.data.synthetic:make_store",
        source="made by ssl_skel, in memory", licence="MIT", citation="none; cite ssl_skel",
    )


CARD = _card("synthetic", "Synthetic actions, one person", "kinect_v1_20", 1)
CARD_2P = _card("synthetic-2p", "Synthetic actions, one or two persons", "kinect_v2_25", 2)
CARD_3P = _card("synthetic-3p", "Synthetic actions, one to three persons", "nite_15", 3)
