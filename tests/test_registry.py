"""Discovery: a fixed order, nothing imported before its use, and a broken entry harms nothing but itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from helpers.tiny import BODY, Workshop, environment, write_plugin
from ssl_skel.errors import BadCard, BrokenPlugin, UnknownName
from ssl_skel.registry import KINDS, Catalogue, bundled_root, discover, load_target, plugin_entry, static_version


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    discover.cache_clear()
    yield
    discover.cache_clear()


def reasons(catalogue: Catalogue) -> dict[str, str]:
    return {entry.name: entry.error for entry in catalogue.broken}


# -- what is shipped ----------------------------------------------------------------------------------------------


def test_nothing_that_is_shipped_is_broken() -> None:
    catalogue = discover()
    assert not catalogue.broken
    assert {"simclr", "random"} <= set(catalogue.names("plugins"))
    assert {"linear", "knn"} <= set(catalogue.names("evaluators"))


def test_everything_that_is_shipped_can_be_imported() -> None:
    catalogue = discover()
    for kind in KINDS[:-1]:
        for entry in catalogue.entries(kind):
            assert entry.load() is not None, (kind, entry.name)


def test_versions_read_from_the_source_are_those_of_the_classes() -> None:
    catalogue = discover()
    for kind in ("backbones", "evaluators"):
        for entry in catalogue.entries(kind):
            assert static_version(entry.target) == entry.load().version, entry.name


def test_a_version_is_read_without_importing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "loud_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "m.py").write_text("class A:\n    version: int = 7\n\nclass B(A):\n    pass\n")
    (package / "torn.py").write_text("class A(:")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert static_version("loud_package.m:A") == 7
    assert static_version("loud_package.m:B") == 1
    assert static_version("loud_package.gone:A") == static_version("nowhere.m:A") == 1
    with pytest.raises(BrokenPlugin, match="does not parse"):
        static_version("loud_package.torn:A")


@pytest.mark.parametrize("command", [
    ["-c", "import ssl_skel"],
    ["-m", "ssl_skel", "--help"],
    ["-m", "ssl_skel", "--version"],
    ["-m", "ssl_skel", "plugin", "list"],
    ["-m", "ssl_skel", "plugin", "list", "--kind", "suites", "--json"],
    ["-m", "ssl_skel", "plugin", "show", "simclr"],
    ["-m", "ssl_skel", "bench", "--help"],
    ["-m", "ssl_skel", "bench", "run", "--help"],
    ["-m", "ssl_skel", "bench", "board", "--help"],
    ["-m", "ssl_skel", "bench", "status", "--out", "absent"],
    ["-m", "ssl_skel", "schema", "record"],
])
def test_torch_is_not_imported_before_it_is_needed(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-X", "importtime", *command], cwd=tmp_path, env=environment(), text=True,
                          capture_output=True, timeout=60)
    assert done.returncode == (4 if "absent" in command else 0), done.stderr[-2000:]
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert len(imported) > 20  # the listing is there
    assert not {name for name in imported if name.partition(".")[0] in ("torch", "timm", "accelerate", "sklearn")}


# -- folders given by --plugins -----------------------------------------------------------------------------------


def test_a_plugin_a_folder_of_plugins_and_a_registry_are_found(tmp_path: Path) -> None:
    write_plugin(tmp_path / "many" / "one")
    write_plugin(tmp_path / "many" / "two")
    write_plugin(tmp_path / "three")
    shop = Workshop(tmp_path, ["four"])
    paths = (str(tmp_path / "many"), str(tmp_path / "three"), str(shop.root))
    catalogue = discover(paths)
    assert {"one", "two", "three", "four"} <= set(catalogue.names("plugins"))
    assert "tiny" in catalogue.names("backbones")
    assert catalogue.get("plugins", "one").origin == str(tmp_path / "many" / "one")
    assert catalogue.suite("tiny").title == "Tiny"


def test_dots_name_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_plugin(tmp_path / "mine"))
    assert "mine" in discover((".",)).names("plugins")


def test_a_module_of_a_plugin_may_import_its_neighbour(tmp_path: Path) -> None:
    folder = write_plugin(tmp_path / "pair", body=BODY + "\nfrom .other import ANSWER\n")
    (folder / "other.py").write_text("ANSWER = 42\n")
    task = plugin_entry(folder, "here").load()
    assert sys.modules[task.__module__].ANSWER == 42
    twin = write_plugin(tmp_path / "elsewhere" / "pair")
    assert plugin_entry(twin, "there").load() is not task


@pytest.mark.parametrize("given", ["nowhere", "empty", "bad"])
def test_a_given_folder_without_plugins_is_a_mistake(tmp_path: Path, given: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "registry.yaml").write_text("schema: 1\nplugins: ['../*']\n")
    with pytest.raises(BadCard, match=given):
        discover((str(tmp_path / given),))


NET = "class Net:\n    version = 4\n"


def beside(folder: Path, target: str = "net:Net", code: str = NET) -> Path:
    """A registry with a backbone whose module lies beside it."""
    folder.mkdir(parents=True)
    (folder / "registry.yaml").write_text(yaml.safe_dump({"schema": 1, "backbones": {"beside": {"target": target}}}))
    (folder / "net.py").write_text(code)
    return folder


@pytest.mark.parametrize("pattern", ["", "x" * 300, "p" + "]" * 300])
def test_a_pattern_that_names_no_folders_is_refused(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "registry.yaml").write_text(yaml.safe_dump({"schema": 1, "plugins": [pattern]}))
    with pytest.raises(BadCard, match="names no folders"):
        discover((str(tmp_path),))


@pytest.mark.parametrize(("kind", "target", "reason"), [
    ("datasets", "parts:Net", "is a type, no DatasetCard"), ("backbones", "parts:make", "is a function, no class")])
def test_what_is_of_another_kind_is_refused(tmp_path: Path, kind: str, target: str, reason: str) -> None:
    (tmp_path / "parts.py").write_text("class Net:\n    pass\n\n\ndef make():\n    return Net()\n")
    index = {"schema": 1, "plugins": [], kind: {"wrong": {"target": target, "summary": "x"}}}
    (tmp_path / "registry.yaml").write_text(yaml.safe_dump(index))
    with pytest.raises(BrokenPlugin, match=reason):
        discover((str(tmp_path),)).load(kind, "wrong")


def test_a_module_may_lie_beside_a_registry(tmp_path: Path) -> None:
    one = discover((str(beside(tmp_path / "one")),)).get("backbones", "beside")
    assert (one.load().version, one.version, one.folder) == (4, 4, tmp_path / "one")
    two = discover((str(beside(tmp_path / "two")),)).get("backbones", "beside")
    assert two.load() is not one.load()
    assert load_target(f"{one.load().__module__}:Net") is one.load()


def test_a_reader_beside_a_registry_is_found_in_another_process(tmp_path: Path) -> None:
    folder = beside(tmp_path / "one")
    target = discover((str(folder),)).load("backbones", "beside").__module__ + ":Net"
    code = f"from ssl_skel.registry import load_target; print(load_target({target!r}).version)"
    done = subprocess.run([sys.executable, "-c", code], env={**environment(), "SSL_SKEL_PLUGINS": str(folder)},
                          text=True, capture_output=True, timeout=60)
    assert done.stdout == "4\n", done.stderr


def test_the_code_of_outside_parts_has_a_digest_and_that_of_shipped_ones_does_not_count(tmp_path: Path) -> None:
    def code(name: str, **how: str) -> str:
        return discover((str(beside(tmp_path / name, **how)),)).get("backbones", "beside").outside_code()

    first = code("a")
    assert first == code("b", code=NET + "# a comment\n")
    assert first != code("c", code=NET + "    more = 1\n")
    assert first != code("d", code=NET.replace("4", "5"))
    assert discover().get("backbones", "stgcn").outside_code() == ""
    assert discover().get("plugins", "simclr").outside_code() == ""
    with pytest.raises(BrokenPlugin, match="does not parse"):
        code("e", code="def f(:")
    with pytest.raises(BrokenPlugin, match="has no source"):
        code("f", target="nowhere.at_all:Net")


# -- broken entries -----------------------------------------------------------------------------------------------


BREAKAGE = {
    "card-torn": (lambda f: (f / "plugin.yaml").write_text("name: [1"), "line 1"),
    "card-gone": (lambda f: (f / "plugin.yaml").unlink(), "no such file"),
    "card-twice": (lambda f: (f / "plugin.yaml").write_text("name: a\nname: b\n"), "stands twice"),
    "card-key": (lambda f: edit(f, nam="x"), "Did you mean 'name'"),
    "other-name": (lambda f: edit(f, name="another"), "they must be equal"),
    "no-file": (lambda f: (f / "plugin.py").unlink(), "names no file"),
    "needs": (lambda f: edit(f, requires=["surely-not-installed"]), "surely-not-installed, which is not installed"),
    "schema-2": (lambda f: edit(f, schema=2), "schema"),
}


def edit(folder: Path, **changes: object) -> None:
    card = yaml.safe_load((folder / "plugin.yaml").read_text())
    (folder / "plugin.yaml").write_text(yaml.safe_dump({**card, **changes}))


@pytest.mark.parametrize("case", BREAKAGE)
def test_a_broken_card_is_shown_with_its_reason_and_harms_nothing_else(tmp_path: Path, case: str) -> None:
    harm, reason = BREAKAGE[case]
    shop = Workshop(tmp_path, ["good"])
    harm(shop.plugin(case))
    catalogue = shop.catalogue()
    assert {"good", "simclr"} <= set(catalogue.names("plugins"))
    name = "another" if case == "other-name" else case
    assert reason in reasons(catalogue)[name]
    with pytest.raises(BrokenPlugin, match="is broken"):
        catalogue.load("plugins", name)
    assert catalogue.load("plugins", "good").__name__ == "Plugin"


@pytest.mark.parametrize(("body", "reason"), [
    ("import surely_not_there", "ModuleNotFoundError"), ("def f(:", "SyntaxError"), ("1 / 0", "ZeroDivisionError"),
    ("import sys; sys.exit(0)", "SystemExit"), ("x = 1", "AttributeError"), ("raise KeyError('k')", "KeyError")])
def test_a_failing_import_is_told_when_the_plugin_is_used(tmp_path: Path, body: str, reason: str) -> None:
    shop = Workshop(tmp_path, ["good"])
    shop.plugin("bad", body=body)
    catalogue = shop.catalogue()
    assert "bad" in catalogue.names("plugins")  # nothing was imported yet
    with pytest.raises(BrokenPlugin, match=reason) as caught:
        catalogue.load("plugins", "bad")
    assert str(shop.root) in caught.value.message
    assert catalogue.load("plugins", "good")


def test_a_name_that_is_taken_twice_names_both_origins(tmp_path: Path) -> None:
    write_plugin(tmp_path / "a" / "same")
    write_plugin(tmp_path / "b" / "same")
    write_plugin(tmp_path / "b" / "simclr")
    catalogue = discover((str(tmp_path / "a"), str(tmp_path / "b")))
    assert {entry.name: entry.origin for entry in catalogue.entries("plugins")}["same"] == str(tmp_path / "a" / "same")
    assert catalogue.plugin_cards()["simclr"] == discover().plugin_cards()["simclr"]
    message = reasons(catalogue)["same"]
    assert str(tmp_path / "a" / "same") in message
    assert str(tmp_path / "b" / "same") in message
    assert "ssl_skel" in reasons(catalogue)["simclr"]


def test_a_given_plugin_whose_name_is_taken_is_not_silently_another(tmp_path: Path) -> None:
    folder = write_plugin(tmp_path / "simclr")
    with pytest.raises(BrokenPlugin, match=f"{folder}.*'simclr' is taken"):
        discover((str(folder),)).get("plugins", "simclr")
    assert discover((str(folder),)).get("plugins", "random")


@pytest.mark.parametrize("name", ["simclr", "the-liar"])
def test_a_given_plugin_whose_card_lies_is_told_by_either_name(tmp_path: Path, name: str) -> None:
    folder = write_plugin(tmp_path / "the_liar")
    edit(folder, name="simclr")
    with pytest.raises(BrokenPlugin, match="its card says 'simclr', its folder 'the_liar'") as caught:
        discover((str(folder),)).get("plugins", name)
    assert caught.value.exit_code == 2


def test_a_part_of_a_given_registry_whose_name_is_taken_is_told(tmp_path: Path) -> None:
    index = {"schema": 1, "evaluators": {"knn": {"target": "net:Net"}}}
    (tmp_path / "registry.yaml").write_text(yaml.safe_dump(index))
    (tmp_path / "net.py").write_text(NET)
    with pytest.raises(BrokenPlugin, match="'knn' is taken"):
        discover((str(tmp_path),)).get("evaluators", "knn")


def test_what_is_given_twice_is_one_and_the_same() -> None:
    catalogue = discover((str(bundled_root()), str(bundled_root() / "plugins" / "simclr")))
    for kind in KINDS:
        for name in catalogue.names(kind):
            assert catalogue.get(kind, name).shipped


def test_an_installed_plugin_whose_name_is_taken_harms_nobody(site: Path) -> None:
    assert discover().get("plugins", "simclr").shipped


def test_an_unknown_name_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'simclr'") as caught:
        discover().get("plugins", "simcrl")
    assert caught.value.exit_code == 2


def test_code_that_does_not_parse_has_no_digest(tmp_path: Path) -> None:
    folder = write_plugin(tmp_path / "torn")
    before = plugin_entry(folder, "x").digest()
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "junk.py").write_text("def f(:")
    assert plugin_entry(folder, "x").digest() == before
    for content in (b"def f(:", b"\xff\xfe", b"x = '\x00'", b"(" * 5000):
        (folder / "more.py").write_bytes(content)
        with pytest.raises(BrokenPlugin, match="does not parse"):
            plugin_entry(folder, "x").digest()


# -- entry points -------------------------------------------------------------------------------------------------


def install(site: Path, dist: str, points: str, version: str = "1.0") -> None:
    """What `pip install` leaves of a distribution, as far as entry points go."""
    info = site / f"{dist}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n"
                                   f"Summary: Parts of {dist}\n")
    (info / "entry_points.txt").write_text(points)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on ``sys.path`` with one distribution that carries good, broken and colliding entries."""
    site = tmp_path / "site"
    write_plugin(site / "outside_plugins" / "outside_good")
    edit(site / "outside_plugins" / "outside_good", name="outside-good")
    write_plugin(site / "outside_plugins" / "outside_bad", body="raise RuntimeError('no')")
    edit(site / "outside_plugins" / "outside_bad", name="outside-bad")
    write_plugin(site / "outside_plugins" / "simclr")
    write_plugin(site / "outside_plugins" / "torn")
    (site / "outside_plugins" / "torn" / "plugin.yaml").write_text("}")
    (site / "outside_plugins" / "__init__.py").write_text("raise RuntimeError('a plugin was imported too early')")
    install(site, "outside", "[ssl_skel.plugins]\n"
            "outside-good = outside_plugins.outside_good\noutside-bad = outside_plugins.outside_bad\n"
            "simclr = outside_plugins.simclr\ntorn = outside_plugins.torn\ngone = nowhere.at_all\n"
            "[ssl_skel.backbones]\nouter = outside_net:Net\nBad Name = outside_net:Net\nknot = outside_net\n"
            "[ssl_skel.executors]\nknn = outside_net:Net\n")
    (site / "outside_net.py").write_text("class Net:\n    version = 3\n")
    monkeypatch.syspath_prepend(str(site))
    return site


def test_entry_points_good_and_bad(site: Path) -> None:
    catalogue = discover()
    good = catalogue.get("plugins", "outside-good")
    assert good.origin == "outside 1.0"
    assert good.load().__name__ == "Plugin"
    with pytest.raises(BrokenPlugin, match="RuntimeError: no"):
        catalogue.load("plugins", "outside-bad")
    broken = reasons(catalogue)
    assert "outside 1.0 claims it too" in broken["simclr"]
    assert "line 1" in broken["torn"]
    assert "can't be found" in broken["gone"]
    assert "lower-case" in broken["Bad Name"]
    assert catalogue.load("backbones", "outer").version == static_version("outside_net:Net") == 3
    assert catalogue.get("backbones", "outer").summary == "Parts of outside"
    with pytest.raises(BrokenPlugin):
        catalogue.load("backbones", "knot")
    assert catalogue.get("executors", "knn").origin == "outside 1.0"  # another kind is another name space
    assert catalogue.get("evaluators", "knn").origin != "outside 1.0"


def test_a_distribution_and_its_version_are_in_the_digest(site: Path, tmp_path: Path) -> None:
    """Of one code under two versions, or from two distributions, no digest is the same."""
    def digests() -> tuple[str, str]:
        discover.cache_clear()
        found = discover()
        return found.get("plugins", "outside-good").digest(), found.get("backbones", "outer").outside_code()

    before = digests()
    assert discover().get("plugins", "outside-good").distribution == "outside 1.0"
    (site / "outside-1.0.dist-info").rename(site / "outside-1.1.dist-info")
    metadata = site / "outside-1.1.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 1.1"))
    after = digests()
    assert not {*before} & {*after}
    alone = plugin_entry(site / "outside_plugins" / "outside_good", "a folder")
    assert alone.digest() not in (before[0], after[0])


def test_order_of_discovery(site: Path, tmp_path: Path) -> None:
    """Package, entry points, --plugins: the first claimant of a name keeps it."""
    write_plugin(tmp_path / "given" / "outside-good")
    catalogue = discover((str(tmp_path / "given"),))
    assert catalogue.get("plugins", "simclr").folder == bundled_root() / "plugins" / "simclr"
    assert {entry.name: entry.origin for entry in catalogue.entries("plugins")}["outside-good"] == "outside 1.0"
    assert str(tmp_path / "given") in reasons(catalogue)["outside-good"]


def test_the_command_line_stands_beside_broken_packages(site: Path) -> None:
    env = environment()
    env["PYTHONPATH"] += os.pathsep + str(site)
    done = subprocess.run([sys.executable, "-m", "ssl_skel", "plugin", "list", "--json"], env=env, text=True,
                          capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = {(row["name"], row["state"]): row for row in yaml.safe_load(done.stdout)}
    assert {("outside-good", "ok"), ("simclr", "ok"), ("simclr", "broken"), ("torn", "broken")} <= set(rows)
    assert not done.stderr
