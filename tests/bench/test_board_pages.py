"""The pages of a board folder: what they say, what they escape, what a folder may hold."""

from __future__ import annotations

import html.parser
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.records import fill, make_record
from ssl_skel.bench.board import BoardRequest, check_boards, make_board, save_board, write_boards
from ssl_skel.bench.board.pages.facts import DatasetFacts, Facts, SplitFacts
from ssl_skel.bench.board.pages.site import ASSETS, OWN, Site, render_pages
from ssl_skel.bench.store import RecordStore
from ssl_skel.errors import DigestMismatch, OutputError
from ssl_skel.schema import PluginCard

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


def curves(count: int = 200) -> str:
    return "".join(json.dumps({"step": step, "epoch": 0, "lr": 0.1, "loss": 5.0 / step, EVIL: 1.0}) + "\n"
                   for step in range(1, count + 1))


def audit(text: str) -> str:
    seen = {"test_clips": 3}
    split = {"name": text, "test": 60, "duplicates": seen, "shared_frames": seen, "near": seen}
    return json.dumps({"digest": text, "clips": 160, "splits": [split], "findings": [text]})


def make_store(root: Path) -> RecordStore:
    pairs = [make_record(0.6 + 0.1 * seed, plugin="simclr", backbone="stgcn", seed=seed, evaluator=evaluator)
             for seed in (0, 1) for evaluator in ("linear", "knn")]
    pairs += [make_record(0.3, plugin="random", backbone="stgcn", seed=seed, evaluator=evaluator,
                          config__train__epochs=0) for seed in (0, 1) for evaluator in ("linear", "knn")]
    severities = {f"noise/{place}/top1": 0.6 - 0.1 * place for place in range(1, 6)}
    pairs.append(make_record(0.6, plugin="simclr", backbone="stgcn", evaluator="robustness",
                             metrics={"top1": 0.6, "corrupted_top1": 0.4, **severities}, primary="corrupted_top1"))
    store = fill(root, *pairs)
    for record in store.all():
        folder = store.root / "pretrain" / record.pretrain_id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "curves.jsonl").write_text(curves())
    (store.root / "audit/nw-ucla").mkdir(parents=True)
    (store.root / "audit/nw-ucla/audit.json").write_text(audit("split v3: 95 clips are copies"))
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RecordStore:
    store = make_store(tmp_path_factory.mktemp("pages"))
    write_boards(store)
    return store


@pytest.fixture
def own(tmp_path: Path) -> RecordStore:
    """A small store of a test's own."""
    return fill(tmp_path / "own", make_record(0.5), make_record(0.3, plugin="random"))


def read(store: RecordStore, name: str) -> str:
    return (store.root / "boards/all" / name).read_text()


def test_every_plugin_dataset_and_record_has_a_page(store: RecordStore) -> None:
    names = {path.name for path in (store.root / "boards/all/pages").iterdir()}
    cells = {f"cell-{record.id}.html" for record in store.all()}
    assert names == {"plugin-simclr.html", "plugin-random.html", "dataset-nw-ucla.html", *cells, *ASSETS}
    assert check_boards(store) == ["all"]


def test_the_page_of_a_plugin_has_card_deviations_classes_curves_and_cost(store: RecordStore) -> None:
    text = read(store, "pages/plugin-simclr.html")
    assert "A Simple Framework for Contrastive Learning" in text
    assert re.search(r"Deviations from the paper</h3>\n?<ul", text)
    assert 'href="../index.html#nw-ucla-v3-linear"' in text
    record = next(r for r in store.all() if (r.cell.plugin, r.cell.evaluator) == ("simclr", "linear"))
    assert f'href="cell-{record.id}.html"' in text
    assert "Confusion matrix, 8 classes" in text
    assert "loss over step" in text
    assert "noise: top-1, % over severity, 0 is clean" in text
    assert "0.83 M" in text


def test_classes_of_the_page_are_those_of_the_predictions(store: RecordStore) -> None:
    """The made-up predictions of seed 0 are right for the first 36 of 60 clips, of seed 1 for 42; 8 classes."""
    text = read(store, "pages/plugin-simclr.html")
    section = text[text.index('id="classes-1"'):]
    rows = re.findall(r'<th scope="row"[^>]*>([^<]+)</th><td class="num" data-key="(\d+)">\d+</td>'
                      r'<td class="num shaded t\d" data-key="[^"]*">([\d.]+)</td>', section)
    labels = [clip % 8 for clip in range(60)]
    for label, (_, clips, share) in enumerate(rows):
        right = sum(clip % 8 == label for clip in range(36)) + sum(clip % 8 == label for clip in range(42))
        assert int(clips) == labels.count(label)
        assert float(share) == pytest.approx(100 * right / (2 * labels.count(label)), abs=0.06)
    assert len(rows) == 8


def test_the_page_of_a_dataset_has_counts_leaks_and_audit(store: RecordStore) -> None:
    text = read(store, "pages/dataset-nw-ucla.html")
    assert "Northwestern-UCLA" in text
    assert "use v3-clean" in text
    assert "The complete dataset gives 1020 training and 464 test clips." in text
    assert "split v3: 95 clips are copies" in text
    assert ">simclr<br>stgcn<" in text


def test_the_page_of_a_cell_has_environment_and_command(store: RecordStore) -> None:
    record = next(r for r in store.all() if r.cell.seed == 1 and r.cell.evaluator == "knn")
    text = read(store, f"pages/cell-{record.id}.html")
    assert (f"ssl-skel bench run --suite made-up -p {record.cell.plugin} -b stgcn -d nw-ucla/v3 -e knn -s 1") in text
    for fact in ("made up", record.digests.config, record.seal, "preprocessing.name", "view-aligned", record.finished):
        assert fact in text
    assert f"records/nw-ucla-v3/{record.cell.plugin}/{record.id}.json" in text


class Elements(html.parser.HTMLParser):
    """Counts elements, event handlers, ids and links."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


def elements(text: str) -> Elements:
    found = Elements()
    found.feed(text)
    return found


def all_pages(store: RecordStore) -> Iterator[Path]:
    yield from sorted((store.root / "boards/all").rglob("*.html"))


def test_every_link_leads_somewhere_in_the_folder(store: RecordStore) -> None:
    ids = {path: set(elements(path.read_text()).ids) for path in all_pages(store)}
    for path in ids:
        links = elements(path.read_text()).links
        assert links
        for link in links:
            if link == "data:,":
                continue
            name, _, anchor = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target.is_file(), (path.name, link)
            assert not anchor or anchor in ids[target], (path.name, link)


def test_ids_are_unique_on_every_page(store: RecordStore) -> None:
    for path in all_pages(store):
        found = elements(path.read_text()).ids
        assert len(found) == len(set(found)), path.name


def evil_facts() -> Facts:
    card = PluginCard.model_validate({
        "name": "simclr", "version": 1, "family": "other", "summary": EVIL, "license": EVIL[:60],
        "paper": {"title": EVIL, "authors": EVIL, "venue": EVIL, "arxiv": EVIL[:40],
                  "url": "https://x.org/" + EVIL},
        "backbones": {"default": "stgcn", "supported": [EVIL]}, "distributed": EVIL, "deviations": [EVIL],
        "expected_failures": {EVIL: EVIL}, "config": {EVIL: EVIL}, "train": {EVIL: EVIL}})
    split = SplitFacts(name="v3", description=EVIL, known_leak=EVIL, clean_twin=EVIL, expected=(1, 2))
    data = DatasetFacts(title=EVIL, joints=20, persons=1, classes=(EVIL,) * 8, source=EVIL, licence=EVIL, terms=EVIL,
                        citation=EVIL, notes=(EVIL,), splits=(split,))
    return Facts(plugins={"simclr": card}, datasets={"nw-ucla": data})


def evil_pages(tmp_path: Path) -> dict[str, str]:
    """Pages where every string that a plugin, a dataset, a training or a machine supplies is markup."""
    changes: dict[str, Any] = {
        "label": EVIL[:60], "streams": EVIL, "suite": EVIL, "config__task": {EVIL: [EVIL]}, "chosen": {EVIL: EVIL},
        "env": {EVIL: EVIL, "packages": {EVIL: EVIL}, "git": {"commit": EVIL, "dirty": True}},
        "versions": {EVIL: EVIL}, "started": EVIL, "finished": EVIL, "digests__plugin": EVIL,
        "metrics": {"top1": 0.5, EVIL: 0.5, f"x/{EVIL}": 0.1}}
    pair = make_record(0.5, **changes)
    store = fill(tmp_path, pair)
    record = store.all()[0]
    folder = store.root / "pretrain" / record.pretrain_id
    folder.mkdir(parents=True)
    (folder / "curves.jsonl").write_text(curves())
    (store.root / "audit/nw-ucla").mkdir(parents=True)
    (store.root / "audit/nw-ucla/audit.json").write_text(audit(EVIL))
    rendered = make_board(store, BoardRequest(families={"simclr": EVIL}))
    return dict(render_pages(Site(rendered.board, store.all(), evil_facts(), {record.id: (EVIL,)}, store)))


def test_markup_of_cards_classes_curves_and_machines_stays_text(tmp_path: Path) -> None:
    pages = evil_pages(tmp_path)
    assert len(pages) == 5
    for name, text in pages.items():
        if not name.endswith(".html"):
            continue
        found = elements(text)
        assert found.tags.count("script") == 1, name
        assert "img" not in found.tags, name
        assert found.handlers == [], name
        assert "alert(1)" in text, name
        assert all(re.fullmatch(r"data:,|[a-z0-9./#-]*", link) for link in found.links), (name, found.links)


def test_a_board_without_pages_links_to_none_and_stays_so(own: RecordStore) -> None:
    write_boards(own, pages=False)
    folder = own.root / "boards/all"
    assert not (folder / "pages").exists()
    assert "pages/" not in (folder / "index.html").read_text()
    assert "ssl-skel bench run --suite made-up -p simclr" in (folder / "index.html").read_text()
    write_boards(own)
    assert not (folder / "pages").exists(), "as the board was"
    write_boards(own, pages=True)
    assert (folder / "pages/plugin-simclr.html").is_file()
    write_boards(own)
    assert (folder / "pages/plugin-simclr.html").is_file()
    write_boards(own, pages=False)
    assert not (folder / "pages").exists()
    assert check_boards(own) == ["all"]


def test_pages_of_records_that_are_gone_go_too(own: RecordStore) -> None:
    write_boards(own)
    gone = next(record for record in own.all() if record.cell.plugin == "random")
    own.record_path(gone.id, gone.cell).unlink()
    write_boards(own)
    names = {path.name for path in (own.root / "boards/all/pages").iterdir()}
    assert not names & {f"cell-{gone.id}.html", "plugin-random.html"}
    assert check_boards(own) == ["all"]


@pytest.mark.parametrize("name", ["notes.txt", "pages/notes.html", "pages/cell-x.html", "pages/sub", "data"])
def test_a_folder_with_foreign_files_is_refused_whole(own: RecordStore, name: str) -> None:
    write_boards(own)
    folder = own.root / "boards/all"
    foreign = folder / name
    if foreign.suffix:
        foreign.write_text("mine")
    else:
        foreign.mkdir()
    own.write(*make_record(0.9, plugin="byol"))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(OutputError, match=rf"{foreign.name} was not made by a board"):
        write_boards(own)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("manifest", ["{}", '{"name": "my app", "icons": []}'])
def test_the_manifest_of_something_else_is_no_board(own: RecordStore, tmp_path: Path, manifest: str) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "manifest.json").write_text(manifest)
    (folder / "index.html").write_text("mine")
    with pytest.raises(OutputError, match="was not made by a board"):
        save_board(make_board(own, BoardRequest()), folder)
    assert (folder / "index.html").read_text() == "mine"
    assert len(list(folder.iterdir())) == 2


def test_pages_behind_a_link_are_not_written(own: RecordStore, tmp_path: Path) -> None:
    write_boards(own, pages=False)
    (tmp_path / "outside").mkdir()
    (own.root / "boards/all/pages").symlink_to(tmp_path / "outside")
    with pytest.raises(OutputError, match="pages was not made by a board"):
        write_boards(own, pages=True)
    assert list((tmp_path / "outside").iterdir()) == []


def test_hidden_files_may_stay(own: RecordStore) -> None:
    folder = own.root / "boards/all"
    folder.mkdir(parents=True)
    (folder / ".nojekyll").touch()
    write_boards(own)
    write_boards(own)
    assert (folder / ".nojekyll").exists()
    assert check_boards(own) == ["all"]


def test_the_check_sees_edited_missing_and_added_pages(own: RecordStore) -> None:
    write_boards(own)
    page = own.root / "boards/all/pages/plugin-simclr.html"
    text = page.read_text()
    page.write_text(text.replace("simclr", "best"))
    with pytest.raises(DigestMismatch, match=r"plugin-simclr\.html is not what its records give"):
        check_boards(own)
    page.unlink()
    with pytest.raises(DigestMismatch, match=r"plugin-simclr\.html"):
        check_boards(own)
    page.write_text(text)
    extra = own.root / "boards/all/pages/plugin-other.html"
    extra.write_text("more")
    with pytest.raises(DigestMismatch, match=r"plugin-other\.html is no part of board 'all'"):
        check_boards(own)
    extra.unlink()
    assert check_boards(own) == ["all"]


def test_unchanged_pages_are_not_written_again(own: RecordStore) -> None:
    write_boards(own)
    page = own.root / "boards/all/pages/style.css"
    before = page.stat().st_ino
    write_boards(own)
    assert page.stat().st_ino == before


@pytest.mark.parametrize("content", ["", "{", "[]", '{"splits": [1], "findings": [], "clips": 1, "digest": ""}'])
def test_an_audit_that_can_not_be_read_is_as_none(own: RecordStore, content: str) -> None:
    (own.root / "audit/nw-ucla").mkdir(parents=True)
    (own.root / "audit/nw-ucla/audit.json").write_text(content)
    write_boards(own)
    assert "No audit lies beside these records" in (own.root / "boards/all/pages/dataset-nw-ucla.html").read_text()


def test_names_of_pages_are_the_ones_that_are_recognised() -> None:
    for name in ("plugin-barlow-twins.html", "dataset-nw-ucla+imported.html", "cell-0123456789abcdef.html"):
        assert OWN.match(name)
    for name in ("plugin-.HTML", "cell-0123.html", "index.html", "plugin-x.html.bak", "dataset-A.html"):
        assert not OWN.match(name)


def test_a_card_turns_no_text_around_it(tmp_path: Path) -> None:
    turned = "".join(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))
    store = fill(tmp_path, make_record(0.5, env={"cpu": f"a{turned}b"}))
    facts = Facts(plugins={}, datasets={})
    rendered = make_board(store, BoardRequest(families={"simclr": f"c{turned}d"}))
    pages = dict(render_pages(Site(rendered.board, store.all(), facts, {}, store)))
    for text in (*pages.values(), rendered.text("html")):
        assert not set(turned) & set(text)
    assert "a" + "\ufffd" * 9 + "b" in pages[f"cell-{store.all()[0].id}.html"]
    assert "c" + "\ufffd" * 9 + "d" in rendered.text("html")


def test_the_best_of_fine_tuning_is_shown_where_only_the_ceiling_was_fine_tuned(tmp_path: Path) -> None:
    store = fill(tmp_path, make_record(0.5), make_record(0.9, plugin="random", evaluator="finetune",
                                                        config__train__epochs=0))
    write_boards(store)
    best = read(store, "pages/dataset-nw-ucla.html")
    best = best[best.index('id="best"'):]
    assert re.search(r"v3, finetune</th><td[^>]*>random · st-gcn · encoder</td><td[^>]*>90\.0<", best)


def test_the_floor_of_a_transfer_is_not_called_pretrained(tmp_path: Path) -> None:
    store = fill(tmp_path, *(make_record(0.5, plugin=plugin, cell__pretrained_on="ntu60/xsub",
                                         chosen={"top1": 0.5104166666})
                             for plugin in ("simclr", "random")))
    write_boards(store)
    for name in ("board.md", "index.html", "pages/plugin-random.html"):
        assert "encoder shaped for ntu60/xsub" in read(store, name)
    assert "pretrained on ntu60/xsub" in read(store, "pages/plugin-simclr.html")
    assert "pretrained on ntu60/xsub" not in read(store, "pages/plugin-random.html")
    assert "top1 = 0.5104 · finished" in read(store, "index.html")
    assert "top1 = 0.5104<" in read(store, f"pages/cell-{store.all()[0].id}.html")
