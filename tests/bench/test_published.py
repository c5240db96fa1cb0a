from __future__ import annotations

from pathlib import Path

import pytest

from ssl_skel.bench.published import load_published, published_rows
from ssl_skel.errors import BadCard


def test_nw_ucla_marks_stand_with_source_and_trust() -> None:
    rows = {(row.method, row.venue): row for row in published_rows(load_published(), "nw-ucla", "v3", "linear")}
    scc = rows["Colorization", "ICCV 2021"]
    assert (scc.value, scc.trust, scc.source) == (91.1, "C", "KAIST-VICLab/SOfA README.md")
    assert rows["Masked Colorization", "TPAMI 2024"].value == 92.0
    assert published_rows(load_published(), "nw-ucla", "v3", "linear-sgd") == list(rows.values())


def test_mislabelled_and_remembered_numbers_are_never_shown() -> None:
    file = load_published()
    hidden = [(group, value) for group in file.results for value in group.values if group.trust in ("X", "M")]
    assert len(hidden) >= 9
    for group, value in hidden:
        dataset, split = value.at.split("/")
        shown = published_rows(file, dataset, split, group.protocol)
        assert not [row for row in shown if row.method == group.method and row.value == value.value
                    and row.source == file.sources[group.source]]


def test_best_comes_first_and_conflicts_are_told() -> None:
    rows = published_rows(load_published(), "ntu60", "xsub", "linear")
    assert [row.value for row in rows] == sorted((row.value for row in rows), reverse=True)
    assert len(rows) > 50
    assert any("elsewhere" in row.notes for row in rows)


def test_every_number_has_a_known_place() -> None:
    places = {value.at for group in load_published().results for value in group.values}
    assert {place.split("/")[0] for place in places} == {"ntu60", "ntu120", "pku-mmd-1", "pku-mmd-2", "nw-ucla"}


@pytest.mark.parametrize(("edit", "complaint"), [
    (("trust: A", "trust: Z"), "trust"), (("value: 68.3", "value: 683"), "value"),
    (("source: crossclr", "source: nowhere"), "not described"), (("at: ntu60/xsub", "at: ../x"), "at"),
    (("schema: 1", "schema: 2"), "schema")])
def test_a_wrong_file_is_refused(tmp_path: Path, edit: tuple[str, str], complaint: str) -> None:
    path = tmp_path / "published.yaml"
    text = (Path(__file__).parents[2] / "leaderboards/published.yaml").read_text()
    assert edit[0] in text
    path.write_text(text.replace(*edit))
    with pytest.raises(BadCard, match=complaint):
        load_published(path)
