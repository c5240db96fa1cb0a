"""Keys from config files and from `--set`: later ones win, slips are told with the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ssl_skel.bench.settings import settings_of
from ssl_skel.errors import SkelError
from ssl_skel.schema import Overrides

HERE, KNOWN = ["a", "b"], ["a", "b", "simclr"]


def effective(settings: object, plugin: str) -> dict[str, dict[str, object]]:
    """What a plugin ends with, group by group."""
    found: dict[str, dict[str, object]] = {"config": {}, "train": {}, "backbone": {}}
    for one in settings.of(plugin):  # type: ignore[attr-defined]
        for group in found:
            found[group] |= getattr(one, group)
    return found


def write(folder: Path, **content: object) -> Path:
    path = folder / f"{len(list(folder.iterdir()))}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_files_then_set_and_later_ones_win(tmp_path: Path) -> None:
    first = write(tmp_path, train={"epochs": 1, "lr": 0.1}, config={"view": {"shear": 0.5, "noise": 0.1}},
                  plugins={"a": {"train": {"epochs": 2}}})
    second = write(tmp_path, train={"lr": 0.2}, config={"view": {"shear": 0.25}})
    found = settings_of([first, second], ["train.batch=8", "b:train.epochs=9"], HERE, KNOWN)
    assert effective(found, "a")["train"] == {"epochs": 2, "lr": 0.2, "batch": 8}
    assert effective(found, "b")["train"] == {"epochs": 9, "lr": 0.2, "batch": 8}
    assert effective(found, "a")["config"] == {"view": {"shear": 0.25, "noise": 0.1}}


def test_the_command_line_wins_over_what_a_file_says_of_one_plugin(tmp_path: Path) -> None:
    path = write(tmp_path, plugins={"a": {"train": {"epochs": 2}}})
    assert effective(settings_of([path], ["train.epochs=5"], HERE, KNOWN), "a")["train"] == {"epochs": 5}
    assert effective(settings_of([path], ["b:train.epochs=5"], HERE, KNOWN), "a")["train"] == {"epochs": 2}


def test_a_file_may_speak_of_plugins_that_are_not_part_of_the_run(tmp_path: Path) -> None:
    path = write(tmp_path, plugins={"simclr": {"config": {"temperature": 0.2}}})
    assert effective(settings_of([path], [], HERE, KNOWN), "a") == {"config": {}, "train": {}, "backbone": {}}


@pytest.mark.parametrize(("content", "problem"), [
    ({"trian": {"epochs": 1}}, "unknown key 'trian'. Did you mean 'train'?"),
    ({"plugins": {"simcrl": {}}}, "there is no plugin 'simcrl'. Did you mean 'simclr'?"),
    ({"plugins": {"a": {"trian": {}}}}, "Did you mean 'train'?"),
    ({"train": 3}, "train: input should be a valid dictionary"),
    ({"plugins": {"../a": {}}}, "lower-case")])
def test_a_slip_in_a_file_names_the_file_and_the_nearest(tmp_path: Path, content: dict[str, object],
                                                        problem: str) -> None:
    path = write(tmp_path, **content)
    with pytest.raises(SkelError) as caught:
        settings_of([path], [], HERE, KNOWN)
    assert problem in caught.value.message
    assert str(path) in caught.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SkelError, match="no such file"):
        settings_of([tmp_path / "nowhere.yaml"], [], HERE, KNOWN)


TABLE = st.dictionaries(st.sampled_from("xyz"), st.integers(0, 9), max_size=3)


@given(st.lists(st.tuples(st.sampled_from(["", "a"]), TABLE), max_size=4))
def test_reading_in_order_is_overwriting(tmp_path_factory: pytest.TempPathFactory,
                                         steps: list[tuple[str, dict[str, int]]]) -> None:
    folder = tmp_path_factory.mktemp("files")
    files = [write(folder, **({"plugins": {name: {"train": table}}} if name else {"train": table}))
             for name, table in steps]
    expected: dict[str, int] = {}
    for _, table in steps:
        expected |= table
    assert effective(settings_of(files, [], HERE, KNOWN), "a")["train"] == expected
    assert Overrides.model_fields.keys() == {"config", "train", "backbone"}
