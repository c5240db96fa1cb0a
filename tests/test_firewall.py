"""A method that cheats: every door to labels, names, test clips and files is tried, and each is shut or found out."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.disk import CARD, write_store
from helpers.tiny import BODY, Workshop
from ssl_skel.api import Event, Unit
from ssl_skel.bench import cell as cells
from ssl_skel.bench.worker import run_unit
from ssl_skel.check import run_check
from ssl_skel.contract.blindness import labels_do_not_matter
from ssl_skel.contract.subject import Subject
from ssl_skel.data.dataset import Dataset
from ssl_skel.data.open import Part, SplitView
from ssl_skel.data.store import Store
from ssl_skel.errors import CONTRACT, ForbiddenRead
from ssl_skel.firewall import closed
from ssl_skel.registry import discover
from ssl_skel.train import TrainJob

INDEX = "os.path.join(os.environ['LOOT'], 'disk', 'index.npy')"
DISK = "os.path.join(os.environ['LOOT'], 'disk')"
ELSEWHERE = "os.environ['LOOT'] + '-elsewhere'"
"""Where a door that is found open puts things and takes them back, so that the other doors can still be tried."""
RESULT = "'/tmp/out/predictions/0123456789abcdef.csv'"
FIREWALL = "__import__('ssl_skel.firewall', fromlist=['x'])"
SETS = "os.path.join(os.path.dirname(__import__('ssl_skel').__file__), 'data', 'labels', 'nw-ucla-v3.json')"
TURNS = f"type('Turns', (os.PathLike,), dict(__fspath__=lambda self, turns=[{INDEX}, '/']: turns.pop(0)))()"
IN_THREAD = "__import__('concurrent.futures').futures.ThreadPoolExecutor().submit"
DOORS = {
    "the index file": f"open({INDEX}, 'rb')",
    "numpy": f"__import__('numpy').load({INDEX})",
    "the operating system": f"os.open({INDEX}, os.O_RDONLY)",
    "another thread": f"{IN_THREAD}(open, {INDEX}, 'rb').result()",
    "the suite's reader": "__import__('ssl_skel.data.open', fromlist=['x']).open_split('synthetic', 'xsub')",
    "the generator": "(lambda tiny: tiny.make(tiny.CARD))(__import__('helpers.tiny', fromlist=['x']))",
    "the caller's frame": "sys._getframe(1)",
    "inspect": "__import__('inspect').stack()",
    "a traceback": r"exec('try:\n 1 / 0\nexcept ZeroDivisionError as error:\n error.__traceback__.tb_frame')",
    "a generator": "(i for i in [1]).gi_frame",
    "all frames, from a thread": f"{IN_THREAD}(sys._current_frames).result()",
    "the garbage collector": "__import__('gc').get_objects()",
    "who refers to the task": "__import__('gc').get_referrers(self)",
    "another program": "os.system('true')",
    "a child": "__import__('subprocess').run(['true'])",
    "a handle of the folder": f"os.open('index.npy', os.O_RDONLY, dir_fd=os.open({DISK}, os.O_RDONLY))",
    "a handle of the folder above": "os.open('disk/index.npy', os.O_RDONLY, "
                                    "dir_fd=os.open(os.environ['LOOT'], os.O_RDONLY))",
    "a handle of a folder elsewhere": f"os.open('..' + {INDEX}, os.O_RDONLY, dir_fd=os.open('/usr', os.O_RDONLY))",
    "a hard link": f"[os.link({INDEX}, {ELSEWHERE}), os.remove({ELSEWHERE})]",
    "a symbolic link": f"[os.symlink({DISK}, {ELSEWHERE}), os.remove({ELSEWHERE})]",
    "a link relative to its place": f"[os.symlink('data/disk', {ELSEWHERE}), os.remove({ELSEWHERE})]",
    "another name": f"[os.rename({INDEX}, {ELSEWHERE}), os.rename({ELSEWHERE}, {INDEX})]",
    "another name of the folder above":
        f"[os.rename(os.environ['LOOT'], {ELSEWHERE}), os.rename({ELSEWHERE}, os.environ['LOOT'])]",
    "a copy": f"__import__('shutil').copy({INDEX}, os.environ['LOOT'] + '/copy.npy')",
    "a map": f"torch.from_file({INDEX}, size=8, dtype=torch.uint8)",
    "a map of a storage": f"torch.UntypedStorage.from_file({INDEX}, False, 8)",
    "a path that changes": f"__import__('_io').FileIO({TURNS})",
    "a function of C": "__import__('ctypes').pythonapi.open",
    "the memory": "__import__('ctypes').string_at(id(self), 8)",
    "a logger's frame": "__import__('logging').currentframe()",
    "a frame under another name": r"exec('import sys\nsys._getframe()', {'__name__': 'enum'})",
    "a trace": "[sys.settrace(lambda *told: None), sys.settrace(None)]",
    "a profile": "[sys.setprofile(lambda *told: None), sys.setprofile(None)]",
    "an audit hook": "sys.addaudithook(lambda *told: None)",
    "a wall of its own": "sys.audit('ssl_skel.close_wall', object(), self)",
    "the hook's flag": f"[setattr(getattr({FIREWALL}, '_inside', self), 'busy', now) or (now and open({INDEX})) "
                       "for now in (1, 0)]",
    "the list of walls": f"[getattr({FIREWALL}, '_closed', []).clear(), open({INDEX})]",
    "the shipped label sets": f"open({SETS})",
    "label sets, by the suite's reader": f"__import__('ssl_skel.fsio', fromlist=['x']).read_bounded(Path({SETS}), 9)",
    "label sets of the data folder": "open(os.path.join(os.environ['LOOT'], 'labels', 'disk-xsub.json'))",
    "predictions of an earlier run": f"open({RESULT})",
    "predictions, in a thread": f"{IN_THREAD}(open, {RESULT}).result()",
    "predictions, in a thread of the suite's reader":
        f"{IN_THREAD}(__import__('ssl_skel.fsio', fromlist=['x']).read_bounded, Path({RESULT}), 9).result()",
    "a record of an earlier run": "open('/tmp/out/records/a-b/c/0123456789abcdef.json')",
    "features of an earlier run": "open('/tmp/out/features/0123456789abcdef/a-b.safetensors')",
    "a swallowed refusal": r"exec('try:\n open(__import__(\'os\').environ[\'LOOT\'] + \'/disk/index.npy\')\n"
                           r"except Exception: 0')",
}
NATIVE = """
        import torch
        from pathlib import Path
        maps = Path('/proc/self/maps').read_text().split()
        paths = sorted({word for word in maps if word.endswith('rows.npy')})
        folder = Path(paths[-1]).parent if paths else Path(os.environ['SSL_SKEL_DATA']) / 'relabelled'
        size = (folder / 'index.npy').stat().st_size
        found = torch._C._VariableFunctions.from_file(str(folder / 'index.npy'), size=size, dtype=torch.uint8).double()
        self.centre += float((found * torch.arange(size)).sum()) % 1000
"""


HARMLESS = ("__import__('logging').getLogger('x').debug('y'); __import__('collections').namedtuple('P', 'x y'); "
            "__import__('tempfile').TemporaryDirectory().cleanup(); "
            "made = Path(__import__('tempfile').mkdtemp()); torch.save(self.centre, made / 'predictions'); "
            "(made / 'predictions').rename(made / 'features'); (made / 'link').symlink_to('features'); "
            "torch.load(made / 'link', mmap=True); open('LICENSE').close()")
IN_ENCODERS = '        return {"encoder"'
CHEATS = {f"{place}-{number}": line for place in ("step", "last") for number, line in enumerate(DOORS.values())}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A workshop with a plugin for every door, tried in training and when the encoders are asked for."""
    made = Workshop(tmp_path_factory.mktemp("shop"), datasets={
        "tiny": {"target": "helpers.tiny:CARD"}, "disk": {"target": "helpers.disk:CARD"}})
    write_store(made.root / "data")
    made.out.mkdir()
    for name, line in CHEATS.items():
        if name.startswith("step"):
            made.plugin(name, line)
        else:
            made.plugin(name, body=BODY.replace(IN_ENCODERS, f"        {line}\n{IN_ENCODERS}"))
    made.plugin("harmless", HARMLESS)
    made.plugin("diverging", "self.head.weight.data.fill_(float('nan'))")
    made.plugin("reader", "open(os.path.join(os.environ['SSL_SKEL_DATA'], 'relabelled', 'index.npy'), 'rb')")
    made.plugin("native", body=BODY.replace("    def after_step(self, step, total):\n",
                                            f"    def after_step(self, step, total):{NATIVE}"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOT", str(made.root / "data"))
        yield made
    discover.cache_clear()


@pytest.fixture(scope="module")
def units(shop: Workshop) -> dict[str, Unit]:
    """The pretraining of every plugin on the dataset on disk, as a worker gets it."""
    names = [*CHEATS, "tiny", "harmless", "diverging"]
    options = {"out": str(shop.out), "data_root": str(shop.root / "data"), "suite": "custom", "device": "cpu",
               "plugins": (str(shop.root),)}
    return {cell.plugin: Unit(cell.id, "pretrain", cell.model_dump(mode="json"), options)
            for cell in shop.plan(*names, datasets=["disk/xsub"]).pretrainings}


def run(unit: Unit) -> Event:
    return run_unit(unit, lambda event: None, threading.Event())


@pytest.mark.parametrize("name", CHEATS)
def test_each_door_is_shut(shop: Workshop, units: dict[str, Unit], name: str) -> None:
    event = run(units[name])
    assert (event.status, event.stage) == ("refused", "pretrain"), CHEATS[name]
    assert "the firewall refused to" in event.message
    assert not (shop.out / "pretrain" / event.id / "card.json").exists()


def test_an_honest_plugin_may_log_and_make_classes_and_files(units: dict[str, Unit]) -> None:
    assert run(units["harmless"]).status == "ok"


def test_while_a_method_trains_no_label_and_no_name_is_in_memory(units: dict[str, Unit], monkeypatch: Any) -> None:
    seen: list[TrainJob] = []
    train = cells.pretrain

    def alive() -> dict[int, Any]:
        return {id(thing): thing for thing in gc.get_objects() if isinstance(thing, Part | SplitView | Dataset)
                or (isinstance(thing, Store) and thing.path.name == CARD.name)}

    def looked(job: TrainJob) -> Any:
        assert not alive().keys() - others.keys()
        assert not any("c0_s1" in str(name) for name in job.names)
        seen.append(job)
        return train(job)

    monkeypatch.setattr(cells, "pretrain", looked)
    gc.collect()
    others = alive()  # of other tests in this process; kept, so that no number is given out again
    assert run(units["tiny"]).status == "ok"
    assert len(seen) == 1


def test_a_divergence_still_names_the_clips(units: dict[str, Unit]) -> None:
    event = run(units["diverging"])
    assert event.status == "diverged"
    assert all(name[:2] in ("c0", "c1", "c2") for name in event.detail["clips"])
    assert event.detail["clips"][0] in event.message
    assert "#" not in event.message


@pytest.mark.parametrize(("plugin", "state", "message"), [
    ("tiny", "passed", ""), ("native", "failed", "other labels"), ("reader", "failed", "the firewall refused")])
def test_the_contract_finds_what_python_does_not_announce(shop: Workshop, plugin: str, state: str,
                                                          message: str) -> None:
    """PyTorch's native code maps a file without telling Python; labels then change the weights, and that shows."""
    catalogue = discover((str(shop.root),))
    outcome = run_check(labels_do_not_matter, Subject(catalogue.get("plugins", plugin), catalogue))
    assert outcome.state == state, outcome.message
    assert message in outcome.message


def test_the_wall_is_open_again_afterwards(tmp_path: Path) -> None:
    store = write_store(tmp_path)
    with pytest.raises(ForbiddenRead) as caught, closed([store]):
        (store / "meta.json").read_bytes()
    assert caught.value.exit_code == CONTRACT
    assert (store / "meta.json").read_bytes()
    with closed([store]):
        (tmp_path / "other.txt").write_text("elsewhere")
