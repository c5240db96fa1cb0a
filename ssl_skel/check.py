"""Runs the contract: which checks a plugin's level, a backbone, an evaluator or a dataset has, and what has passed."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from ssl_skel.contract import backbones, blindness, datasets, distributed, evaluators, interface, training
from ssl_skel.contract.subject import Skipped, Subject, Violation
from ssl_skel.errors import SkelError

Level = Literal["card", "api", "train", "full"]
Check = Callable[[Subject], None]

LEVELS: dict[str, tuple[Check, ...]] = {
    "card": (interface.card_is_valid, interface.import_is_harmless),
    "api": (interface.batch_has_no_labels, interface.every_layout_works, interface.every_size_works,
            interface.streams_are_named, interface.gradients_reach_all, interface.rng_is_left_alone,
            interface.invalid_points_are_ignored, interface.batch_mates_do_not_matter, interface.weights_round_trip),
    "train": (training.seeds_decide, training.resuming_changes_nothing, training.loss_falls,
              training.features_do_not_collapse, blindness.labels_do_not_matter),
    "full": (training.pinned_values_hold, distributed.two_processes_equal_one),
}

PARTS: dict[str, tuple[Check, ...]] = {
    "backbones": backbones.CHECKS, "evaluators": evaluators.CHECKS, "datasets": datasets.CHECKS}
"""Checks of what is no plugin; they have no levels."""


@dataclass(frozen=True)
class Outcome:
    """How a check ended.

    Attributes:
        check: Name of the check.
        state: ``passed``, ``failed``, ``skipped``, or ``expected`` (failed as the card says it does).
        message: Why, unless it passed.
    """

    check: str
    state: Literal["passed", "failed", "skipped", "expected"]
    message: str = ""


def checks_of(level: str, kind: str = "plugins") -> list[Check]:
    """Checks of a level and of those before it; or those of another kind of part, which has no levels.

    Args:
        level: ``card``, ``api``, ``train`` or ``full``.
        kind: ``plugins``, or a key of `PARTS`.
    """
    if kind in PARTS:
        return list(PARTS[kind])
    names = list(LEVELS)
    return [check for name in names[:names.index(level) + 1] for check in LEVELS[name]]


def run_check(check: Check, subject: Subject) -> Outcome:
    """Run one check; an error inside the plugin is a failure with the last line of its traceback.

    A failure that the card expects, with a reason, is ``expected``; an expected failure that passes is a failure.
    """
    name = check.__name__
    expected = subject.entry.card.expected_failures.get(name) if subject.entry.card else None
    try:
        check(subject)
    except Skipped as why:
        return Outcome(name, "skipped", str(why))
    except (Violation, SkelError) as error:
        message = str(error)
    except Exception as error:  # the plugin under check may raise anything
        place = traceback.extract_tb(error.__traceback__)[-1]
        message = f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
    else:
        if expected is None:
            return Outcome(name, "passed")
        return Outcome(name, "failed", f"the card expects it to fail ({expected}), but it passes: take it off the card")
    return Outcome(name, "expected", f"{expected} ({message})") if expected else Outcome(name, "failed", message)


def run_checks(subject: Subject, level: str) -> Iterator[Outcome]:
    """Run the checks of a level, one after the other; stops where the card or the import is broken.

    Args:
        subject: The plugin, backbone, evaluator or dataset.
        level: Of a plugin: ``card``, ``api``, ``train`` or ``full``.
    """
    kind = subject.entry.kind
    first = PARTS[kind][:1] if kind in PARTS else LEVELS["card"]
    for check in checks_of(level, kind):
        outcome = run_check(check, subject)
        yield outcome
        if outcome.state == "failed" and check in first:
            return


def passed(outcomes: list[Outcome]) -> bool:
    """Whether a plugin honours the contract: nothing failed, and not everything was skipped."""
    return not any(o.state == "failed" for o in outcomes) and any(o.state == "passed" for o in outcomes)
