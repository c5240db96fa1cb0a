"""Events in files: what one process appends another reads, whole lines only."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ssl_skel.api import Event, Unit
from ssl_skel.bench.mailbox import EventReader, EventWriter, read_unit, write_unit

EVENTS = st.builds(Event, st.text(max_size=5), st.sampled_from(["progress", "ok", "error"]), st.text(max_size=5),
                   st.text(max_size=30), st.text(max_size=30), st.dictionaries(st.text(max_size=3), st.integers()))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.lists(EVENTS, max_size=4), st.lists(EVENTS, max_size=4))
def test_what_is_written_is_read_once(tmp_path: Path, before: list[Event], after: list[Event]) -> None:
    path = tmp_path / "events"
    path.unlink(missing_ok=True)
    write, read = EventWriter(path), EventReader(path)
    for event in before:
        write(event)
    assert read() == before
    late = EventReader(path, new=True)
    for event in after:
        write(event)
    assert read() == late() == after
    assert read() == []


def test_a_torn_line_waits_and_junk_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events"
    read = EventReader(path)
    assert read() == []
    path.write_bytes(b'{"id": "a", "status": "ok"}\nno json\n[1]\n{"id": "b", "sta')
    assert read() == [Event("a", "ok")]
    with path.open("ab") as handle:
        handle.write(b'tus": "ok"}\n')
    assert read() == [Event("b", "ok")]


def test_a_unit_survives_the_trip(tmp_path: Path) -> None:
    unit = Unit("0" * 16, "pretrain", {"seed": 1, "train": {"epochs": 2}}, {"out": "x", "threads": None})
    write_unit(tmp_path, unit)
    assert read_unit(tmp_path) == unit
