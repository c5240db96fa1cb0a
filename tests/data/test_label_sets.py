"""Files of labelled clips: shipped ones are what the rule draws, edited ones are refused, the evaluator uses them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from helpers.moving import moving_context
from helpers.tiny import CARD
from ssl_skel.cli.data import data
from ssl_skel.data.label_sets import (
    DRAWS,
    PERCENTS,
    SHIPPED,
    SUMS,
    LabelSets,
    draw_sets,
    find_sets,
    labelled,
    names_sha256,
    read_sets,
    write_sets,
)
from ssl_skel.data.open import open_split
from ssl_skel.errors import BadData, DigestMismatch
from ssl_skel.evaluators.semi import Semi, SemiConfig

SUMMED = dict(line.split("  ")[::-1] for line in (SHIPPED / SUMS).read_text().splitlines())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Label sets of the tiny dataset."""
    made = tmp_path_factory.mktemp("labels")
    write_sets(draw_sets(open_split("tiny", "xsub", card=CARD)), made)
    return made


@pytest.mark.parametrize("name", sorted(SUMMED))
def test_shipped_files_are_as_summed_and_nested(name: str) -> None:
    found = read_sets(SHIPPED / name, SUMMED[name])
    assert found.file == name
    assert set(found.sets) == set(map(str, PERCENTS))
    for smaller, larger in pairwise(PERCENTS):
        for less, more in zip(found.sets[str(smaller)], found.sets[str(larger)], strict=True):
            assert set(less) < set(more)
    assert len(set(found.sets_sha256["10"])) == DRAWS


def test_every_shipped_file_is_summed_and_holds_nothing_but_names() -> None:
    assert {path.name for path in SHIPPED.iterdir()} == {*SUMMED, SUMS}
    assert set(SUMMED) == {*(f"nw-ucla-v{n}.json" for n in range(1, 4)), *(f"sbu-fold{n}.json" for n in range(1, 6))}
    assert all((SHIPPED / name).stat().st_size < 100_000 for name in SUMMED)


def test_a_shipped_file_holds_what_the_rule_draws_from_its_names() -> None:
    """The 40 % of a class hold its 20, 10, 5 and 1 % as the clips whose hashes come first."""
    for name in ("nw-ucla-v3.json", "sbu-fold1.json"):
        found = read_sets(SHIPPED / name, SUMMED[name])
        for number, names in enumerate(found.sets["40"]):
            for percent in PERCENTS[:-1]:
                chosen = set(found.sets[str(percent)][number])
                for label in {_class_of(one) for one in names}:
                    ordered = sorted((one for one in names if _class_of(one) == label),
                                     key=lambda one: hashlib.sha256(f"{number}:{one}".encode()).digest())
                    taken = [one in chosen for one in ordered]
                    assert taken == sorted(taken, reverse=True)
                    assert any(taken)


def _class_of(name: str) -> str:
    """Of ``a01_s01_e00_v01`` or ``s01s02_01_001``."""
    return name[:3] if name.startswith("a") else name.split("_")[1]


def test_draws_are_those_of_the_rule(folder: Path) -> None:
    view = open_split("tiny", "xsub", card=CARD)
    found = find_sets("tiny", view.train_digest, [folder])
    assert found is not None
    assert found.file_sha256 == hashlib.sha256((folder / "tiny-xsub.json").read_bytes()).hexdigest()
    for percent in PERCENTS:
        for number in range(DRAWS):
            index = found.index(view.train.names, percent, number)
            assert index is not None
            assert torch.equal(index, labelled(view.train.names, view.train.labels, percent, number))
            digest = names_sha256([view.train.names[i] for i in index.tolist()])
            assert found.sets_sha256[str(percent)][number] == digest
    assert found.index(view.train.names, 3, 0) is None
    assert found.index(view.train.names, 1, DRAWS) is None


def test_splits_of_one_training_part_share_a_file_and_others_have_none(folder: Path) -> None:
    clean, other = (open_split("tiny", split, card=CARD) for split in ("xsub-clean", "xrep"))
    assert find_sets("tiny", clean.train_digest, [folder.parent / "nowhere", folder]) is not None
    assert find_sets("tiny", other.train_digest, [folder]) is None
    assert find_sets("tin", clean.train_digest, [folder]) is None


def test_edited_files_are_refused(folder: Path, tmp_path: Path) -> None:
    digest = open_split("tiny", "xsub", card=CARD).train_digest
    raw = (folder / "tiny-xsub.json").read_text()
    (tmp_path / SUMS).write_text((folder / SUMS).read_text())
    with pytest.raises(BadData, match="can't read the label sets"):
        find_sets("tiny", digest, [tmp_path])
    (tmp_path / "tiny-xsub.json").write_text(raw.replace("c0_s1_e0", "c0_s1_e1", 1))
    with pytest.raises(DigestMismatch, match="is not the file that SHA256SUMS"):
        find_sets("tiny", digest, [tmp_path])
    content = json.loads(raw)
    content["sets"]["1"][0][0] = "another"
    text = json.dumps(content)
    (tmp_path / "tiny-xsub.json").write_text(text)
    (tmp_path / SUMS).write_text(f"{hashlib.sha256(text.encode()).hexdigest()}  tiny-xsub.json\n")
    with pytest.raises(DigestMismatch, match="holds other clips"):
        find_sets("tiny", digest, [tmp_path])
    for text in ("{", "[]", '{"schema": 1}', "[" * 10_000):
        (tmp_path / "tiny-xsub.json").write_text(text)
        (tmp_path / SUMS).write_text(f"{hashlib.sha256(text.encode()).hexdigest()}  tiny-xsub.json\n")
        with pytest.raises(BadData):
            find_sets("tiny", digest, [tmp_path])
    (tmp_path / SUMS).write_text("0  ../tiny-xsub.json\n")
    with pytest.raises(BadData, match="no list of digests"):
        find_sets("tiny", digest, [tmp_path])


def test_the_command_writes_one_file_a_training_part(tmp_path: Path) -> None:
    result = CliRunner().invoke(data, ["labels", "synthetic", "--data-root", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "labels").iterdir()} == {
        "synthetic-xsub.json", "synthetic-xview.json", SUMS}
    assert "336 training clips; labelled 1 %: 8, 5 %: 16, 10 %: 32, 20 %: 64, 40 %: 136" in result.output
    before = (tmp_path / "labels" / SUMS).read_bytes()
    again = CliRunner().invoke(data, ["labels", "synthetic/xview", "--data-root", str(tmp_path)])
    assert again.exit_code == 0
    assert (tmp_path / "labels" / SUMS).read_bytes() == before
    wrong = CliRunner().invoke(data, ["labels", "synthetic/xvue", "--data-root", str(tmp_path)])
    assert wrong.exit_code == 2
    assert "Did you mean 'xview'" in wrong.output


def test_the_evaluator_uses_the_file_and_names_it() -> None:
    ctx, _ = moving_context()
    names, labels = ctx.train.names, ctx.train.labels
    assert labels is not None
    chosen = tuple(names[i] for i in labelled(names, labels, 20, 3).tolist())  # not what draw 0 would be
    sets = LabelSets(dataset="x", split="y", train_sha256="", sets={"20": (chosen,)}, sets_sha256={},
                     file_sha256="f" * 64)
    evaluator = Semi(SemiConfig(percent=20, draws=1, epochs=1))
    with_file = evaluator.evaluate(replace(ctx, label_sets=sets)).chosen
    assert with_file["labels_sha256"] == [names_sha256(chosen)]
    assert with_file["labels_file_sha256"] == "f" * 64
    without = evaluator.evaluate(ctx).chosen
    assert without["labels_sha256"] != with_file["labels_sha256"]
    assert "labels_file_sha256" not in without
    two = Semi(SemiConfig(percent=20, draws=2, epochs=1)).evaluate(replace(ctx, label_sets=sets)).chosen
    assert "labels_file_sha256" not in two  # the second draw was not in it
