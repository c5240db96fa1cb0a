from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.records import fill, make_record
from ssl_skel.bench.board import BoardRequest, check_boards, make_board, save_board, write_boards
from ssl_skel.bench.board.files import FILES
from ssl_skel.bench.record import Record, seal_of
from ssl_skel.bench.store import RecordStore
from ssl_skel.errors import BadRecord, DigestMismatch, OutputError, UsageMistake

FAMILIES = {"simclr": "contrastive"}


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    pairs = [make_record(0.5 + 0.1 * seed, plugin=plugin, seed=seed) for plugin in ("simclr", "moco")
             for seed in (0, 1)]
    return fill(tmp_path / "out", *pairs, make_record(0.3, plugin="random"), make_record(0.3, plugin="random", seed=1))


def files(store: RecordStore, name: str = "all") -> dict[str, bytes]:
    folder = store.root / "boards" / name
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_format_is_written_and_the_check_agrees(store: RecordStore) -> None:
    paths = write_boards(store, families=FAMILIES)
    assert [path.name for path in paths] == list(FILES.values())
    assert all(path.stat().st_size > 100 for path in paths)
    assert check_boards(store) == ["all"]


def test_writing_twice_changes_no_byte(store: RecordStore) -> None:
    write_boards(store, families=FAMILIES)
    before = files(store)
    write_boards(store, families=FAMILIES)
    assert files(store) == before


def test_the_same_records_written_in_another_order_give_the_same_board(store: RecordStore, tmp_path: Path) -> None:
    write_boards(store, families=FAMILIES)
    other = RecordStore(tmp_path / "other").create()
    for record in reversed(store.all()):
        other.write(record, store.predictions_path(record.id).read_bytes())
    write_boards(other, families=FAMILIES)
    assert files(other) == files(store)


@pytest.mark.parametrize("name", [*FILES.values(), "manifest.json"])
def test_an_edited_board_is_refused(store: RecordStore, name: str) -> None:
    write_boards(store, families=FAMILIES)
    path = store.root / "boards/all" / name
    text = before = path.read_text()
    for old, new in (("contrastive", "masked"), ("55.0", "59.0"), ("0.55", "0.59")):
        text = text.replace(old, new)
    path.write_text(text)
    assert text != before
    with pytest.raises(DigestMismatch, match="not what its records give"):
        check_boards(store)


@pytest.mark.parametrize("name", FILES.values())
def test_a_missing_board_file_is_noticed(store: RecordStore, name: str) -> None:
    write_boards(store)
    (store.root / "boards/all" / name).unlink()
    with pytest.raises(DigestMismatch, match=name):
        check_boards(store)


def test_a_removed_record_is_noticed(store: RecordStore) -> None:
    write_boards(store)
    gone = store.all()[0]
    store.record_path(gone.id, gone.cell).unlink()
    with pytest.raises(BadRecord, match=f"record {gone.id}, which board 'all' was made from, is gone"):
        check_boards(store)


def test_a_record_that_no_board_has_seen_is_noticed(store: RecordStore) -> None:
    write_boards(store)
    store.write(*make_record(0.9, plugin="byol"))
    with pytest.raises(DigestMismatch, match="lacks record"):
        check_boards(store)


def test_an_edited_record_is_noticed_even_with_a_forged_seal(store: RecordStore) -> None:
    write_boards(store)
    record = store.all()[0]
    path = store.record_path(record.id, record.cell)
    raw = json.loads(path.read_text())
    raw["metrics"]["top1"] = 0.99
    path.write_text(json.dumps(raw))
    with pytest.raises(BadRecord, match="changed after it was written"):
        check_boards(store)
    path.write_text(json.dumps({**raw, "seal": seal_of(raw)}))
    with pytest.raises(BadRecord, match="its predictions give"):
        check_boards(store)


def test_a_forged_interval_is_noticed_by_the_board(store: RecordStore) -> None:
    """What predictions can't tell is still compared: the board was rendered from the record as it was."""
    write_boards(store)
    record = store.all()[0]
    path = store.record_path(record.id, record.cell)
    raw = json.loads(path.read_text())
    raw["cost"]["pretrain_hours"] = 99.0
    path.write_text(json.dumps({**raw, "seal": seal_of(raw)}))
    with pytest.raises(DigestMismatch, match="not what its records give"):
        check_boards(store)


def test_changed_predictions_are_noticed(store: RecordStore) -> None:
    write_boards(store)
    path = store.predictions_path(store.all()[0].id)
    path.write_bytes(path.read_bytes().replace(b"clip-000", b"clip-x00"))
    with pytest.raises(BadRecord, match="sha256"):
        check_boards(store)


def test_a_record_that_became_stale_is_noticed(store: RecordStore) -> None:
    def fresh(record: Record) -> dict[str, str] | None:
        return {"plugin": record.digests.plugin} if record.cell.plugin == "moco" else None

    def changed(record: Record) -> dict[str, str]:
        return {"plugin": "changed"}

    write_boards(store, current=fresh)
    assert check_boards(store, current=fresh) == ["all"]
    with pytest.raises(DigestMismatch, match=r"does not say what has changed since record \w+ was made: plugin"):
        check_boards(store, current=changed)
    write_boards(store, current=changed)
    assert check_boards(store, current=changed) == ["all"]
    assert check_boards(store) == ["all"], "without a registry the marks are taken as they are"
    assert "stale: plugin changed since" in (store.root / "boards/all/board.md").read_text()
    with pytest.raises(DigestMismatch, match="made: nothing"):
        check_boards(store, current=fresh)


def test_foreign_files_are_not_overwritten(store: RecordStore) -> None:
    folder = store.root / "boards/all"
    folder.mkdir(parents=True)
    (folder / "board.md").write_text("my notes")
    with pytest.raises(OutputError, match="not made by a board"):
        write_boards(store)
    assert files(store) == {"board.md": b"my notes"}


def test_a_board_folder_behind_a_link_is_not_written(store: RecordStore, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (store.root / "boards").symlink_to(tmp_path / "outside")
    with pytest.raises(OutputError, match="symbolic link"):
        write_boards(store)
    assert list((tmp_path / "outside").iterdir()) == []


def plan_of(store: RecordStore, *extra: Record, label: str = "") -> None:
    records = [*store.all(), *extra]
    cells = [{"id": r.id, "pretrain_id": r.pretrain_id, "cell": {**r.cell.model_dump(), "label": label}}
             for r in records]
    plan = {"schema": 1, "suite": "made-up", "title": "Made up", "baseline": "moco", "pretrainings": [], "cells": cells}
    (store.root / "plan.json").write_text(json.dumps(plan))


def test_the_plan_gives_title_baseline_labels_and_what_is_missing(store: RecordStore) -> None:
    store.write(*make_record(0.9, plugin="byol", suite="other"))
    late = make_record(0.5, plugin="simclr", seed=2)[0]
    (store.root / "records/nw-ucla-v3/byol").rename(store.root / "byol")
    plan_of(store, late, label="entry")
    (store.root / "byol").rename(store.root / "records/nw-ucla-v3/byol")
    rendered = make_board(store, BoardRequest("made-up", families=FAMILIES))
    board = rendered.board
    assert (board.title, board.baseline, board.name) == ("Made up", "moco", "made-up")
    rows = list(board.tables[0].rows())
    assert {row.key.method for row in rows} == {"moco [entry]", "random [entry]"}
    assert board.tables[0].hidden == 1
    assert len(board.record_ids) == 6


def test_the_board_is_still_checked_when_another_plan_has_taken_the_place(store: RecordStore) -> None:
    plan_of(store, label="entry")
    write_boards(store, "made-up", families=FAMILIES)
    before = files(store, "made-up")
    (store.root / "plan.json").write_text(json.dumps({"schema": 1, "suite": "other", "cells": []}))
    assert check_boards(store, "made-up") == ["made-up"]
    write_boards(store, "made-up", families=FAMILIES)
    assert files(store, "made-up") == before


def test_boards_of_suites_lie_side_by_side(store: RecordStore) -> None:
    store.write(*make_record(0.9, plugin="byol", suite="other"))
    for suite in (None, "made-up", "other"):
        write_boards(store, suite)
    assert check_boards(store) == ["all", "made-up", "other"]
    text = (store.root / "boards/other/board.md").read_text()
    assert "byol" in text
    assert "moco" not in text


@pytest.mark.parametrize("name", ["../x", "a/b", "A", "a b"])
def test_a_suite_name_that_leads_elsewhere_is_refused(store: RecordStore, name: str) -> None:
    with pytest.raises(UsageMistake, match="no suite name"):
        write_boards(store, name)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 1}', "[" * 100_000])
def test_torn_manifests_and_plans_are_one_line(store: RecordStore, content: str) -> None:
    write_boards(store)
    (store.root / "boards/all/manifest.json").write_text(content)
    with pytest.raises(BadRecord, match=r"manifest\.json"):
        check_boards(store)
    (store.root / "plan.json").write_text(content)
    with pytest.raises(BadRecord, match=r"plan\.json"):
        make_board(store, BoardRequest())


def test_checking_where_no_board_is(store: RecordStore) -> None:
    with pytest.raises(BadRecord, match="no board"):
        check_boards(store)
    with pytest.raises(BadRecord, match=r"no manifest\.json"):
        check_boards(store, "nothing")


def test_an_empty_store_still_gets_a_board(tmp_path: Path) -> None:
    store = RecordStore(tmp_path).create()
    write_boards(store, "smoke")
    assert check_boards(store) == ["smoke"]


def test_a_folder_of_ones_own_keeps_its_pages_and_a_new_one_gets_them(store: RecordStore, tmp_path: Path) -> None:
    """What the board under the records has, as the committed ones without pages, says nothing of another folder."""
    write_boards(store, pages=False)
    folder = tmp_path / "site"
    folder.mkdir()

    def saved(pages: bool | None) -> bool:
        save_board(make_board(store, BoardRequest(pages=pages)), folder)
        return (folder / "pages").is_dir()

    assert saved(None), "a new folder gets pages"
    assert saved(None), "and keeps them"
    assert not saved(False)
    assert not saved(None), "it stays without"
    assert "ssl-skel bench run" in (folder / "index.html").read_text(), "the index then holds the commands"
    assert saved(True)
    write_boards(store)
    assert not (store.root / "boards/all/pages").exists()
    assert check_boards(store) == ["all"]


def test_a_board_without_a_complete_row_says_so(store: RecordStore) -> None:
    plan_of(store, *(make_record(0.5, plugin=r.cell.plugin, seed=9)[0] for r in store.all()))
    for request, said in ((BoardRequest("made-up"), "--incomplete shows them"),
                          (BoardRequest("made-up", incomplete=True), "no complete row yet")):
        rendered = make_board(store, request)
        assert "no complete row yet" in rendered.text("md")
        assert said in rendered.text("html")
