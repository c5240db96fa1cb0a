"""Every registered backbone honours the contract inside a contrastive method and inside the reference."""

from __future__ import annotations

import pytest

from ssl_skel.check import run_checks
from ssl_skel.contract.subject import Subject
from ssl_skel.registry import discover

BACKBONES = discover().names("backbones")


@pytest.mark.parametrize("plugin", ["simclr", "colorization"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_contract_on_every_backbone(plugin: str, backbone: str) -> None:
    catalogue = discover()
    outcomes = list(run_checks(Subject(catalogue.get("plugins", plugin), catalogue, backbone), "api"))
    assert {o.check: o.message for o in outcomes if o.state != "passed"} == {}
    assert len(outcomes) == 11


def test_every_backbone_says_what_makes_it_small() -> None:
    assert {"dgcnn", "stgcn", "agcn", "bigru", "transformer", "pointmlp"} <= set(BACKBONES)
    for name in BACKBONES:
        cls = discover().load("backbones", name)
        small, full = cls.Config(**cls.tiny).model_dump(), cls.Config().model_dump()
        assert all(small[key] <= full[key] for key in cls.tiny)
