"""Long work says how far it is, to a terminal only; what it does is the same."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from rich.console import Console

from helpers.tiny import Workshop
from ssl_skel import progress
from ssl_skel.api import Event
from ssl_skel.bench import console
from ssl_skel.bench.features import encode
from ssl_skel.bench.worker import run_unit
from ssl_skel.data.open import open_split
from ssl_skel.progress import reporting, track


def test_track_gives_what_it_is_given_and_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    said: list[dict[str, Any]] = []
    batches = torch.arange(10).split(4)
    with reporting(said.append):
        assert [b.tolist() for b in track(batches, 10)] == [b.tolist() for b in batches]
    assert [(one["step"], one["total"]) for one in said] == [(4, 10), (8, 10), (10, 10)]
    assert all(one["samples_per_s"] > 0 for one in said)
    list(track(batches, 10))
    assert len(said) == 3  # nobody listens any more


def test_reports_come_at_most_twice_a_second() -> None:
    said: list[dict[str, Any]] = []
    with reporting(said.append):
        list(track([[1]] * 10_000, 10_000))
    assert len(said) <= 3


def test_extraction_reports_from_a_worker(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    shop, events = Workshop(tmp_path), []
    plan = shop.plan()
    shop.run_here(plan)
    from ssl_skel.api import Unit
    from ssl_skel.bench.run import RunOptions

    options = RunOptions(shop.out, shop.root / "data", (str(shop.root),), device="cpu").for_units("tiny")
    for path in shop.out.glob("features/*/*"):
        path.unlink()
    cell = plan.evaluations[0]
    unit = Unit(cell.id, "evaluate", cell.model_dump(mode="json"), {**options, "threads": 1, "again": True})
    import threading

    final = run_unit(unit, events.append, threading.Event())
    assert final.status == "ok"
    steps = [event for event in events if "step" in event.detail]
    assert {event.stage for event in steps} == {"extract"}
    assert [(e.detail["step"], e.detail["total"]) for e in steps] == [(27, 27), (9, 9)]


def test_without_a_listener_features_are_the_same() -> None:
    class Mean(torch.nn.Module):
        dim = 3

        def forward(self, xyz: Any, valid: Any, layout: Any) -> Any:
            from ssl_skel.api import Features
            return Features(xyz.mean((1, 2, 3)))

    clips = open_split("synthetic-3p", "xsub", frames=4).test.clips
    one = encode({"e": Mean()}, clips)  # type: ignore[dict-item]
    with reporting(lambda values: None):
        assert torch.equal(encode({"e": Mean()}, clips)["e"], one["e"])  # type: ignore[dict-item]


EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("start", {"pretrainings": 1, "evaluations": 2, "kept": 0}),
    ("begin", {"id": "a", "kind": "pretrain", "title": "one [red]cell[/red]"}),
    ("progress", {"id": "a", "stage": "pretrain", "message": "", "step": 3, "total": 10, "loss": 0.25,
                  "samples_per_s": 41.7}),
    ("progress", {"id": "a", "stage": "pretrain", "message": "off", "warning": "logger 'x' [b]failed"}),
    ("progress", {"id": "a", "stage": "extract", "message": ""}),
    ("progress", {"id": "a", "stage": "extract", "message": "", "step": 64, "total": 128, "samples_per_s": 900.0}),
    ("progress", {"id": "gone", "stage": "wait", "message": "waits"}),
]


def test_a_terminal_shows_rate_loss_stage_and_all_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    told = console._Terminal()
    screen = io.StringIO()
    told.console = told.progress.live.console = Console(file=screen, force_terminal=True, width=160, highlight=False)
    shown = []
    for name, values in EVENTS:
        told(name, values)
        shown.append(" | ".join(f"{task.description}: {task.fields['info']}" for task in told.progress.tasks))
    assert "all cells: 0/3 cells" in shown[0]
    assert "3/10  42 clips/s  loss 0.25" in shown[2]
    assert "extract  64/128  900 clips/s" in shown[5]
    told("end", {"id": "a", "status": "ok", "stage": "extract", "title": "one", "message": ""})
    assert [task.fields["info"] for task in told.progress.tasks] == ["1/3 cells"]
    told("stop", {})
    assert "logger 'x' [b]failed" in screen.getvalue()


def test_without_a_terminal_there_is_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    listen = console.make_listener(as_json=False)
    for name, values in EVENTS:
        listen(name, {"message": "", **values} if "warning" not in values else {**values, "message": values["warning"]})
    out, err = capsys.readouterr()
    assert out.splitlines() == ["1 pretrainings and 2 evaluations to run, 0 records kept",
                                "warning: logger 'x' [b]failed"]
    assert not err
    assert Event("a", "progress").detail == {}
