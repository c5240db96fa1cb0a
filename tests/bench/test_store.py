from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.records import fill, make_record
from ssl_skel import ids
from ssl_skel.bench.predictions import check_scores, read_predictions, rescore, write_predictions
from ssl_skel.bench.record import Failure, Record, seal_of
from ssl_skel.bench.store import MAX_RECORD_BYTES, RecordStore
from ssl_skel.errors import BadRecord, OutputError


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return fill(tmp_path / "out", make_record(0.5), make_record(0.7, seed=1), make_record(0.6, plugin="moco"))


def record_file(store: RecordStore) -> Path:
    record = store.all()[0]
    return store.record_path(record.id, record.cell)


def rewrite(path: Path, **changes: object) -> None:
    """Edit a record by hand, as a person would who knows nothing of the seal."""
    raw = json.loads(path.read_text())
    raw.update(changes)
    path.write_text(json.dumps(raw))


def reseal(path: Path, **changes: object) -> None:
    """Edit a record by hand, and forge the seal."""
    raw = json.loads(path.read_text())
    raw.update(changes)
    path.write_text(json.dumps({**raw, "seal": seal_of(raw)}))


def failure(cell_id: str = "0" * 16, **changes: object) -> Failure:
    return Failure.model_validate({"id": cell_id, "cell": {"plugin": "simclr"}, "status": "diverged",
                                   "stage": "pretrain", "message": "loss is NaN", "when": "now", **changes})


# -- what is written is read back ------------------------------------------------------------------------------


def test_records_come_back_as_they_were_and_sorted(store: RecordStore) -> None:
    records = store.all()
    assert [(r.cell.plugin, r.cell.seed) for r in records] == [("moco", 0), ("simclr", 0), ("simclr", 1)]
    wanted, data = make_record(0.7, seed=1)
    found = store.read(wanted.id)
    assert found.model_dump(exclude={"seal", "predictions"}) == wanted.model_dump(exclude={"seal", "predictions"})
    assert (store.root / found.predictions.path).read_bytes() == data
    assert found.seal
    assert all(store.has(record.id) for record in records)


def test_two_stores_of_equal_records_are_equal_in_bytes(tmp_path: Path) -> None:
    pairs = [make_record(0.5, seed=seed) for seed in range(3)]
    one, other = fill(tmp_path / "one", *pairs), fill(tmp_path / "other", *reversed(pairs))
    files = sorted(p.relative_to(one.root) for p in one.root.rglob("*") if p.is_file())
    assert len(files) == 6
    for name in files:
        assert (one.root / name).read_bytes() == (other.root / name).read_bytes()


def test_writing_a_record_clears_its_failure(tmp_path: Path) -> None:
    record, data = make_record(0.5)
    store = RecordStore(tmp_path).create()
    store.write_failure(failure(record.id))
    store.write_failure(failure("1" * 16, detail={"loss": float("nan"), "clips": ["a"]}))
    assert [f.id for f in store.failures()] == sorted([record.id, "1" * 16])
    assert not store.has(record.id)
    store.write(record, data)
    assert [f.id for f in store.failures()] == ["1" * 16]
    store.clear_failure("1" * 16)
    store.clear_failure("1" * 16)
    assert store.failures() == []


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "nowhere")
    assert store.all() == []
    assert store.failures() == []
    assert not store.has("0" * 16)
    with pytest.raises(BadRecord, match="no record"):
        store.read("0" * 16)


# -- records that do not agree with themselves -----------------------------------------------------------------


@pytest.mark.parametrize("cut", [0, 1, 100, -2])
def test_a_torn_record_is_refused(store: RecordStore, cut: int) -> None:
    path = record_file(store)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(BadRecord, match=str(path)):
        store.all()
    assert not store.has(path.stem)


@pytest.mark.parametrize(("changes", "complaint"), [
    ({"metrics": {"top1": 0.99, "top5": 1.0, "mean_class": 0.99}}, "changed after it was written"),
    ({"suite": "other"}, "changed after it was written"),
    ({"seal": "0" * 64}, "changed after it was written"),
    ({"seal": ""}, "changed after it was written"),
    ({"surprise": 1}, "unknown key 'surprise'"),
    ({"id": "nonsense"}, "id"),
    ({"status": "best-on-test"}, "status"),
])
def test_an_edited_record_is_refused(store: RecordStore, changes: dict[str, object], complaint: str) -> None:
    path = record_file(store)
    rewrite(path, **changes)
    with pytest.raises(BadRecord, match=complaint):
        store.load(path)
    assert not store.has(path.stem)
    assert len(store.scan()[0]) == 2


@pytest.mark.parametrize(("changes", "complaint"), [
    ({"id": "f" * 16}, "predictions"),
    ({"predictions": {"path": "../../etc/passwd", "sha256": "0" * 64}}, "points to predictions"),
    ({"primary": "none"}, "ranks by"),
    ({"config": {"frames": 41}}, "configuration"),
])
def test_a_resealed_record_must_still_agree(store: RecordStore, changes: dict[str, object], complaint: str) -> None:
    path = record_file(store)
    reseal(path, **changes)
    with pytest.raises(BadRecord, match=complaint):
        store.load(path)


def test_a_moved_record_is_refused(store: RecordStore) -> None:
    path = record_file(store)
    for place in ("records/nw-ucla-v3/byol", "records/other-split/moco"):
        target = store.root / place / path.name
        target.parent.mkdir(parents=True)
        path.rename(target)
        with pytest.raises(BadRecord, match="belongs to nw-ucla-v3/moco"):
            store.all()
        target.rename(path)
    renamed = path.with_name("0" * 16 + ".json")
    path.rename(renamed)
    with pytest.raises(BadRecord, match="belongs to"):
        store.load(renamed)


@pytest.mark.parametrize("content", [
    b"[]", b"null", b'{"a": 1, "a": 2}', b'{"a": NaN}', b"\xff\xfe", b"[" * 100_000, b'{"a": ' * 50_000, b"1" * 10_000,
    b'{"a": "\\ud800"}', b" " * (MAX_RECORD_BYTES + 1)])
def test_hostile_files_are_refused_in_one_line(store: RecordStore, content: bytes) -> None:
    path = record_file(store)
    path.write_bytes(content)
    with pytest.raises(BadRecord) as caught:
        store.load(path)
    assert "\n" not in caught.value.format_message()
    assert len(caught.value.format_message()) < 500


def test_links_are_not_followed(store: RecordStore, tmp_path: Path) -> None:
    outside = fill(tmp_path / "outside", make_record(0.9, plugin="byol"))
    source = record_file(outside)
    (store.root / "records/nw-ucla-v3/byol").symlink_to(source.parent)
    with pytest.raises(BadRecord, match="symbolic link"):
        store.all()
    with pytest.raises(BadRecord, match="symbolic link"):
        store.load(store.root / "records/nw-ucla-v3/byol" / source.name)
    (store.root / "records/nw-ucla-v3/byol").unlink()
    (tmp_path / "empty").mkdir()
    (store.root / "records/empty").symlink_to(tmp_path / "empty")
    with pytest.raises(BadRecord, match="symbolic link"):
        store.all()
    (store.root / "records/empty").unlink()
    link = store.root / "records/nw-ucla-v3/moco" / source.name
    link.symlink_to(source)
    with pytest.raises(BadRecord, match="symbolic link"):
        store.all()
    assert not store.has(source.stem)
    link.unlink()
    predictions = store.predictions_path(store.all()[0].id)
    predictions.rename(tmp_path / "elsewhere.csv")
    predictions.symlink_to(tmp_path / "elsewhere.csv")
    with pytest.raises(BadRecord, match="symbolic link"):
        store.read_predictions(store.all()[0])


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "out").create()
    (tmp_path / "outside").mkdir()
    (store.root / "records").symlink_to(tmp_path / "outside")
    with pytest.raises(OutputError, match="symbolic link"):
        store.write(*make_record(0.5))
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_pipe_in_the_folder_does_not_hang_the_reader(store: RecordStore) -> None:
    path = record_file(store)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BadRecord, match="no regular file"):
        store.all()


@pytest.mark.parametrize("name", ["../../outside", "a/b", "..", "A", "", "a" * 61, "a\n"])
@pytest.mark.parametrize("field", ["plugin", "dataset", "split", "backbone", "evaluator"])
def test_names_that_lead_elsewhere_are_no_names(name: str, field: str) -> None:
    with pytest.raises(ValueError, match="name"):
        make_record(0.5, **{field: name})


@pytest.mark.parametrize("bad", ["../" * 5 + "etc", "ABCDEF0123456789", "0" * 15, "0" * 16 + "\n"])
def test_ids_that_lead_elsewhere_are_no_ids(store: RecordStore, bad: str) -> None:
    for ask in (store.read, store.clear_failure, store.predictions_path, store.pretrain_folder):
        with pytest.raises(BadRecord, match="no id"):
            ask(bad)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e308])
def test_a_record_with_no_number_is_not_written(tmp_path: Path, value: float) -> None:
    store = RecordStore(tmp_path).create()
    record, data = make_record(0.5)
    broken = record.model_copy(update={"metrics": {"top1": value}})
    with pytest.raises(BadRecord):
        store.write(broken, data)
    assert not list(tmp_path.rglob("*.*"))


# -- predictions -----------------------------------------------------------------------------------------------


def test_changed_predictions_are_noticed(store: RecordStore) -> None:
    record = store.all()[0]
    path = store.predictions_path(record.id)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"clip-001,1,", b"clip-001,2,"))
    with pytest.raises(BadRecord, match="sha256"):
        store.read_predictions(record)
    assert not store.has(record.id)
    path.unlink()
    with pytest.raises(BadRecord, match="missing"):
        store.read_predictions(record)


names = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\r\0"), max_size=12)


@given(st.lists(names, unique=True, max_size=20), st.integers(1, 5), st.randoms(use_true_random=False))
def test_predictions_survive_a_round_trip_whatever_clips_are_called(clips: list[str], width: int, rng) -> None:
    labels = [rng.randrange(9) for _ in clips]
    top = [rng.sample(range(9), width) for _ in clips] or [[0] * width][:0]
    if not clips:
        return
    data = write_predictions(clips, labels, top)
    table = read_predictions(data, "x")
    assert table.clips == tuple(clips)
    assert table.labels.tolist() == labels
    assert table.top.tolist() == top
    assert write_predictions(clips, labels, top) == data


@given(st.binary(max_size=200))
def test_reading_predictions_ends_in_a_table_or_one_error(data: bytes) -> None:
    for start in (b"", b"clip,label,top1\n"):
        try:
            read_predictions(start + data, "x")
        except BadRecord:
            continue


def test_one_endless_number_takes_no_memory() -> None:
    """numpy gives every text of an array the room of the longest."""
    lines = [f"clip{number},0,1" for number in range(10_000)]
    data = "\n".join(["clip,label,top1", *lines, "last,0," + "9" * 10**5, ""]).encode()
    with pytest.raises(BadRecord, match="too many digits"):
        read_predictions(data, "x")


def test_rescoring_by_hand() -> None:
    record, _ = make_record(0.5, classes=8)
    data = write_predictions(["a", "b", "c"], [0, 0, 7], [[0, 1, 2, 3, 4], [1, 0, 2, 3, 4], [1, 2, 3, 4, 5]])
    table = read_predictions(data, "x")
    assert rescore(record, table) == {"top1": pytest.approx(1 / 3), "top5": pytest.approx(2 / 3), "mean_class": 0.25}


def test_rescoring_agrees_with_the_metrics_of_the_suite() -> None:
    torch = pytest.importorskip("torch")
    from ssl_skel.bench.metrics import classification_metrics

    for classes in (3, 8):
        record, data = make_record(0.43, classes=classes, predictions_seed=3)
        table = read_predictions(data, "x")
        wanted = classification_metrics(torch.from_numpy(table.top), torch.from_numpy(table.labels), classes)
        assert rescore(record, table) == pytest.approx(wanted)
        assert check_scores(record, table) == sorted(wanted)


def test_a_record_that_claims_more_than_its_predictions_give_is_refused() -> None:
    record, data = make_record(0.5, metrics={"top1": 0.6})
    with pytest.raises(BadRecord, match=r"says top1 0\.600000, its predictions give 0\.500000"):
        check_scores(record, read_predictions(data, "x"))


def test_a_class_that_does_not_exist_is_refused() -> None:
    record, _ = make_record(0.5, classes=8)
    with pytest.raises(BadRecord, match="outside"):
        rescore(record, read_predictions(write_predictions(["a"], [8], [[0]]), "x"))


# -- hypothesis over records -----------------------------------------------------------------------------------

text = st.text(st.characters(blacklist_categories=("Cs",)), max_size=8)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=8)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["task", "train", "note"]), plain), plain, st.text(max_size=30))
def test_any_plain_content_survives_and_stays_sealed(tmp_path_factory, config, chosen, suite: str) -> None:
    store = RecordStore(tmp_path_factory.mktemp("store"))
    record, data = make_record(0.5)
    raw = record.model_dump(by_alias=True)
    record = Record.model_validate({**raw, "config": config, "chosen": {"x": chosen}, "suite": suite,
                                    "digests": {**raw["digests"], "config": ids.digest(config)}})
    try:
        store.write(record, data)
    except BadRecord:
        assert any(0xD800 <= ord(c) < 0xE000 for c in suite)
        return
    found = store.read(record.id)
    assert found.config == record.config
    assert found.suite == suite


@settings(deadline=None)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=4))
def test_no_flipped_bytes_pass_unnoticed(tmp_path_factory, place: int, patch: bytes) -> None:
    store = fill(tmp_path_factory.mktemp("store"), make_record(0.5))
    path = record_file(store)
    before, data = store.all()[0], bytearray(path.read_bytes())
    place %= len(data)
    data[place:place + len(patch)] = patch
    path.write_bytes(bytes(data))
    with contextlib.suppress(BadRecord):
        assert store.load(path) == before  # white space, or the same bytes
