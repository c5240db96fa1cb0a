"""Each check of the contract catches a plugin that violates it, and only that check does."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from ssl_skel.check import Outcome, passed, run_check, run_checks
from ssl_skel.contract import distributed, interface, training
from ssl_skel.contract.subject import Subject
from ssl_skel.registry import discover

CARD = """
schema: 1
name: {name}
version: 1
target: plugin:Good
family: other
summary: a plugin made by a test
backbones: {{default: stgcn}}
min_batch: 2
tiny:
  train: {{batch: 8, frames: 12, lr: 0.01, optimizer: adamw}}
  backbone: {{width: 4, dim: 16, dropout: 0.0}}
{more}
"""

CODE = """
import torch
from torch import nn
from ssl_skel.api import Batch, PretextTask
import random as _random

GLOBAL = []

class Good(PretextTask):
    '''Tells apart clips played forwards and backwards.'''

    def __init__(self, cfg, backbone, layout):
        super().__init__(cfg, backbone, layout)
        self.encoder = backbone()
        self.head = nn.Linear(self.encoder.dim, 2)
        {init}

    def views(self, batch, gen):
        turn = torch.rand(len(batch), generator=gen) < 0.5
        {views}
        back = turn[:, None, None, None]
        xyz = torch.where(back[..., None], batch.xyz.flip(2), batch.xyz)
        valid = torch.where(back, batch.valid.flip(2), batch.valid)
        return {{"xyz": xyz, "valid": valid, "turn": turn.long(), "layout": batch.layout}}

    def forward(self, views):
        xyz, valid = views["xyz"], views["valid"]
        {forward}
        pooled = self.encoder(xyz, valid, views["layout"]).pooled
        loss = nn.functional.cross_entropy(self.head(pooled), views["turn"])
        {loss}
        return {{"loss": loss}}

    def after_step(self, step, total):
        {after}

    def encoders(self):
        {encoders}
        return {{"encoder": self.encoder}}
"""

SLOTS = ("init", "views", "forward", "loss", "after", "encoders")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Subject]:
    """Write a plugin whose code has extra lines in named places."""

    def build(top: str = "", more: str = "", readme: bool = True, name: str = "made-up", **slots: str) -> Subject:
        folder = tmp_path / name
        folder.mkdir()
        lines = {slot: textwrap.indent(slots.get(slot, "pass"), " " * 8).strip() for slot in SLOTS}
        (folder / "plugin.py").write_text(CODE.format(**lines) + top)
        (folder / "plugin.yaml").write_text(CARD.format(name=name, more=more))
        if readme:
            (folder / "README.md").write_text("# made up\n" + "A plugin that a test has written. " * 5)
        catalogue = discover((str(folder),))
        found = [e for e in (*catalogue.entries("plugins"), *catalogue.broken) if e.folder == folder]
        return Subject(found[0], catalogue)

    return build


def state(check: Callable[[Subject], None], subject: Subject) -> str:
    return run_check(check, subject).state


def test_the_good_plugin_passes_every_level_but_what_needs_a_pin(make: Callable[..., Subject]) -> None:
    outcomes = list(run_checks(make(), "train"))
    assert {o.check: o.message for o in outcomes if o.state != "passed"} == {}
    assert passed(outcomes)


def test_two_processes_of_the_good_plugin_equal_one(make: Callable[..., Subject]) -> None:
    outcome = run_check(distributed.two_processes_equal_one, make())
    assert (outcome.state, outcome.message) == ("passed", "")


VIOLATIONS = {
    "every_layout_works": {"loss": "loss = loss.expand(3)"},
    "every_size_works": {"forward": "assert len(xyz) != 7, 'seven clips are too many'"},
    "streams_are_named": {"encoders": "return {'other': self.encoder}"},
    "gradients_reach_all": {"init": "self.unused = nn.Linear(3, 3)"},
    "rng_is_left_alone": {"views": "turn = torch.rand(len(batch)) < 0.5"},
    "invalid_points_are_ignored": {"loss": "loss = loss + xyz.abs().mean()"},
    "batch_mates_do_not_matter": {"init": """
from ssl_skel.api import Features
inner = self.encoder.forward
self.encoder.forward = lambda x, v, l: Features(inner(x, v, l).pooled - inner(x, v, l).pooled.mean(0))
"""},
    "weights_round_trip": {"init": """
from ssl_skel.api import Features
secret, inner = torch.randn(self.encoder.dim), self.encoder.forward
self.encoder.forward = lambda x, v, l: Features(inner(x, v, l).pooled * secret)
"""},
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_of_the_interface_is_caught(make: Callable[..., Subject], name: str) -> None:
    outcome = run_check(getattr(interface, name), make(**VIOLATIONS[name]))
    assert outcome.state == "failed", outcome


TRAINING = {
    "seeds_decide": {"loss": "GLOBAL.append(1)\nloss = loss * (1 + len(GLOBAL))"},
    "resuming_changes_nothing": {"init": "self.count = 0", "after": "self.count += 1", "loss":
                                 "loss = loss * (1 + self.count)"},
    "loss_falls": {"init": "self.count = 0", "after": "self.count += 1", "loss": "loss = loss + self.count"},
    "features_do_not_collapse": {"init": """
from ssl_skel.api import Features
inner = self.encoder.forward
self.encoder.forward = lambda x, v, l: Features(inner(x, v, l).pooled * 0)
"""},
}


@pytest.mark.parametrize("name", TRAINING)
def test_a_violation_in_training_is_caught(make: Callable[..., Subject], name: str) -> None:
    outcome = run_check(getattr(training, name), make(**TRAINING[name]))
    assert outcome.state == "failed", outcome


def test_a_loss_that_does_not_fall_says_where_its_rate_comes_from(make: Callable[..., Subject]) -> None:
    message = run_check(training.loss_falls, make(**TRAINING["loss_falls"])).message
    assert "steps of adamw at lr " in message
    assert "`train` of its `tiny`" in message


def test_a_plugin_that_ignores_the_other_process_is_caught(make: Callable[..., Subject]) -> None:
    local = make(loss="loss = loss + (pooled - pooled.mean(0)).pow(2).sum() * len(pooled)")
    assert state(distributed.two_processes_equal_one, local) == "failed"


def test_import_with_side_effects_is_caught(make: Callable[..., Subject]) -> None:
    subject = make(top="\ntorch.manual_seed(0)\n")
    assert state(interface.import_is_harmless, subject) == "failed"


def test_a_card_without_readme_is_caught_and_ends_the_run(make: Callable[..., Subject]) -> None:
    outcomes = list(run_checks(make(readme=False), "api"))
    assert [o.state for o in outcomes] == ["failed"]
    assert "README" in outcomes[0].message


def test_pinned_values_are_compared(make: Callable[..., Subject]) -> None:
    subject = make()
    assert "missing" in run_check(training.pinned_values_hold, subject).message
    pinned = training.measure_pinned(subject)
    path = subject.entry.folder / "expected.json"
    path.write_text(str(pinned).replace("'", '"'))
    assert state(training.pinned_values_hold, subject) == "passed"
    path.write_text(str({**pinned, "loss_1": pinned["loss_1"] * 1.05}).replace("'", '"'))
    assert "loss_1" in run_check(training.pinned_values_hold, subject).message


def test_expected_failures_are_strict(make: Callable[..., Subject]) -> None:
    more = "expected_failures: {gradients_reach_all: one layer is never used}"
    expected = make(more=more, **VIOLATIONS["gradients_reach_all"])
    assert state(interface.gradients_reach_all, expected) == "expected"
    healed = make(more=more, name="healed")
    outcome = run_check(interface.gradients_reach_all, healed)
    assert outcome.state == "failed"
    assert "take it off the card" in outcome.message


def test_all_skipped_counts_as_failure() -> None:
    assert not passed([Outcome("a", "skipped", "no")])
    assert not passed([])
    assert passed([Outcome("a", "skipped", "no"), Outcome("b", "passed")])
