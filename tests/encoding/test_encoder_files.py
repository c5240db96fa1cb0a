"""An encoder leaves a run and comes back the same; whatever is wrong with its files is one clear line."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save

import ssl_skel
from helpers.tiny import BODY, TinyNet, Workshop, write_plugin
from ssl_skel.api import Features
from ssl_skel.bench.record import seal_of
from ssl_skel.cli.export import export
from ssl_skel.data.layouts import Layout, get_layout
from ssl_skel.encoding.card import FILE, WEIGHTS, read_encoder_card
from ssl_skel.encoding.encoder import Encoder
from ssl_skel.encoding.files import _modality
from ssl_skel.errors import SkelError
from ssl_skel.registry import discover

WRAPPED = BODY.replace('return {"encoder": self.encoder}', 'return {"encoder": Doubled(self.encoder)}') + '''

from ssl_skel.api import Backbone, Features


class Doubled(Backbone):
    def __init__(self, inner):
        torch.nn.Module.__init__(self)
        self.inner, self.dim = inner, inner.dim

    def forward(self, xyz, valid, layout):
        return Features(2 * self.inner(xyz, valid, layout).pooled)
'''
STREAMS = ("streams=[joint,bone]", "train.epochs=1", "train.batch=9", "train.frames=4")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    made = Workshop(tmp_path_factory.mktemp("export"))
    write_plugin(made.root / "plugins" / "wrapped", body=WRAPPED)
    assert made.run_here(made.plan("tiny", "wrapped")) == 0
    assert made.run_here(made.plan("simclr", backbones=("tiny",), settings=STREAMS)) == 0
    yield made
    discover.cache_clear()


@pytest.fixture(scope="module")
def pretrained(shop: Workshop) -> dict[str, Path]:
    cards = {path: json.loads(path.read_text()) for path in shop.out.glob("pretrain/*/card.json")}
    return {card["cell"]["plugin"]: path.parent for path, card in cards.items()}


@pytest.fixture(scope="module")
def exported(shop: Workshop, pretrained: dict[str, Path]) -> dict[str, Path]:
    return {name: ssl_skel.export_encoder(folder, shop.root / "encoders" / name, plugins=[str(shop.root)])
            for name, folder in pretrained.items()}


@pytest.mark.parametrize(("name", "modalities"), [
    ("tiny", {"encoder": "joint"}), ("simclr", {"joint": "joint", "bone": "bone"}), ("wrapped", {"encoder": None})])
def test_what_comes_back_gives_the_features_of_the_run(shop: Workshop, pretrained: dict[str, Path],
                                                       exported: dict[str, Path], name: str,
                                                       modalities: dict[str, str | None]) -> None:
    card = read_encoder_card(exported[name])
    assert {stream: ref.modality for stream, ref in card.streams.items()} == modalities
    data = ssl_skel.load_dataset("tiny/xsub", plugins=[str(shop.root)])
    found = ssl_skel.load_encoder(exported[name], plugins=[str(shop.root)])
    before = ssl_skel.load_encoder(pretrained[name], plugins=[str(shop.root)])
    assert found.card is not None
    features = found.encode(data.test)
    assert features.shape == (len(data.test), found.dim) == (9, 8 * len(modalities))
    assert np.array_equal(features, before.encode(data.test))
    assert np.array_equal(features, found.encode(data.test.arrays()))
    cached = [load_file(path) for path in shop.out.glob(f"features/{card.provenance.pretrain_id}/*")]
    of_test = next(parts for parts in cached if len(next(iter(parts.values()))) == 9)
    for stream, vectors in found.features(data.test).items():
        assert torch.equal(vectors, of_test[stream])


@pytest.mark.parametrize(("change", "modality"), [(1e-7, "joint"), (1e-3, None)])
def test_rounding_does_not_make_an_encoder_its_plugins_own(change: float, modality: str | None) -> None:
    class Rounding(TinyNet):
        """Every network sums in another order, which a factor stands for."""

        made = 0

        def __init__(self, cfg: Any, layout: Layout) -> None:
            super().__init__(cfg, layout)
            Rounding.made += 1
            self.factor = 1 + Rounding.made * change

        def forward(self, xyz: torch.Tensor, valid: torch.Tensor, layout: Layout) -> Features:
            return Features(super().forward(xyz, valid, layout).pooled * self.factor)

    layout = get_layout("nite_15")
    build: Any = partial(Rounding, Rounding.Config(), layout)
    network = build().eval()
    encoder = Encoder({"encoder": network}, layout, 4, "first-frame", torch.device("cpu"))
    assert _modality(network, Rounding, build, encoder) == modality


def test_streams_can_be_chosen(shop: Workshop, exported: dict[str, Path]) -> None:
    encoder = ssl_skel.load_encoder(exported["simclr"], plugins=[str(shop.root)])
    clips = ssl_skel.load_dataset("tiny/xsub", plugins=[str(shop.root)]).test
    whole = encoder.encode(clips)
    assert np.array_equal(encoder.encode(clips, ["bone"]), whole[:, 8:])
    assert np.array_equal(encoder.encode(clips, ["bone", "joint"]), np.hstack([whole[:, 8:], whole[:, :8]]))
    with pytest.raises(SkelError, match="unknown stream 'bones'"):
        encoder.encode(clips, ["bones"])


def test_the_card_says_where_the_encoder_comes_from(pretrained: dict[str, Path], exported: dict[str, Path]) -> None:
    card, origin = read_encoder_card(exported["tiny"]), json.loads((pretrained["tiny"] / "card.json").read_text())
    provenance = card.provenance
    assert (provenance.pretrain_id, provenance.encoders_sha256) == (origin["id"], origin["encoders_sha256"])
    assert provenance.cell.plugin_digest == origin["cell"]["plugin_digest"]
    assert card.weights.sha256 == hashlib.sha256((exported["tiny"] / WEIGHTS).read_bytes()).hexdigest()
    assert (card.layout.name, card.layout.joints, card.frames) == ("nite_15", 15, 4)


def test_an_encoder_that_only_its_plugin_builds_says_so(shop: Workshop, exported: dict[str, Path],
                                                        tmp_path: Path) -> None:
    other = Workshop(tmp_path)  # the same dataset and backbone, without the plugin
    with pytest.raises(SkelError, match="unknown plugin 'wrapped'"):
        ssl_skel.load_encoder(exported["wrapped"], plugins=[str(other.root)])
    write_plugin(other.root / "plugins" / "wrapped")
    discover.cache_clear()
    with pytest.raises(SkelError, match="has changed"):
        ssl_skel.load_encoder(exported["wrapped"], plugins=[str(other.root)])
    assert ssl_skel.load_encoder(exported["tiny"], plugins=[str(other.root)]).dim == 8


# -- arrays -------------------------------------------------------------------------------------------------------


def test_arrays_in_any_form_are_the_same_clips(shop: Workshop, exported: dict[str, Path]) -> None:
    encoder = ssl_skel.load_encoder(exported["tiny"], plugins=[str(shop.root)])
    rng = np.random.default_rng(0)
    clips = rng.normal(size=(5, 7, 15, 3))
    wanted = encoder.encode(clips)
    assert wanted.dtype == np.float32
    for form in (list(clips), clips[:, None], clips.astype(np.float32), clips.tolist(), list(clips[:, None])):
        assert np.array_equal(encoder.encode(form), wanted)
    np.testing.assert_allclose(encoder.encode([clips[1], clips[0, :3]])[0], wanted[1], atol=1e-6)


def test_what_was_not_seen_changes_nothing(shop: Workshop, exported: dict[str, Path]) -> None:
    encoder = ssl_skel.load_encoder(exported["tiny"], plugins=[str(shop.root)])
    clip = np.random.default_rng(1).normal(size=(2, 6, 15, 3))
    clip[0, :, 3, 1] = np.nan  # one coordinate is enough to lose the joint
    other = clip.copy()
    other[0, :, 3] = np.nan
    assert np.array_equal(encoder.encode([clip]), encoder.encode([other]))
    empty = np.concatenate([clip, np.full_like(clip[:1], np.nan)])
    assert np.array_equal(encoder.encode([clip]), encoder.encode([empty]))


@pytest.mark.parametrize(("clips", "problem"), [
    ([], "no clip"), (np.zeros((2, 3)), "shape"), ([np.zeros((4, 14, 3))], "14 joints"), (["xyz"], "no numbers"),
    ([np.full((4, 15, 3), np.inf)], "infinite"), ([np.full((4, 15, 3), np.nan)], "no valid joint"),
    (np.zeros((2, 4, 15, 2)), "shape"), ([np.zeros((4, 15, 3)), np.zeros((0, 15, 3))], "empty")])
def test_an_array_that_is_no_clip(shop: Workshop, exported: dict[str, Path], clips: Any, problem: str) -> None:
    encoder = ssl_skel.load_encoder(exported["tiny"], plugins=[str(shop.root)])
    with pytest.raises(SkelError, match=problem):
        encoder.encode(clips)


def test_other_joints_are_refused(exported: dict[str, Path], shop: Workshop) -> None:
    encoder = ssl_skel.load_encoder(exported["tiny"], plugins=[str(shop.root)])
    with pytest.raises(SkelError, match="takes nite_15, the dataset has kinect_v1_20"):
        encoder.encode(ssl_skel.load_dataset("synthetic").test)


# -- files --------------------------------------------------------------------------------------------------------


def _weights(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        (folder / WEIGHTS).write_bytes(change((folder / WEIGHTS).read_bytes()))
    return harm


def _resealed(content: Callable[[dict[str, torch.Tensor]], bytes]) -> Callable[[Path], None]:
    """Weights whose digest the card agrees with: only their content is wrong."""
    def harm(folder: Path) -> None:
        data = content(load_file(folder / WEIGHTS))
        (folder / WEIGHTS).write_bytes(data)
        _edit(folder, weights={"file": WEIGHTS, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    return harm


def _edit(folder: Path, **changes: Any) -> None:
    raw = {**json.loads((folder / FILE).read_text()), **changes}
    raw["seal"] = seal_of(raw)
    (folder / FILE).write_text(json.dumps(raw))


def _linked(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "elsewhere")
    (folder / WEIGHTS).symlink_to(folder / "elsewhere")


class _Evil:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("unpickled"),)


@pytest.mark.parametrize(("harm", "problem"), [
    (_weights(lambda data: data[:-7]), "is cut short: it has"),
    (_weights(lambda data: data + b"x"), "is not what its card says"),
    (_weights(lambda data: data[:-1] + b"\x01"), "its sha256 differs"),
    (lambda folder: (folder / WEIGHTS).unlink(), "is missing"),
    (_linked, "can't read"),
    (_resealed(lambda tensors: pickle.dumps(_Evil())), "is no safetensors file"),
    (_resealed(lambda tensors: b"\xff" * 64), "is no safetensors file"),
    (_resealed(lambda tensors: save({**tensors, "encoder/inner.bias": torch.zeros(3)})),
     r"tensor 'encoder/inner.bias' has shape \(3,\), not \(8,\)"),
    (_resealed(lambda tensors: save({**tensors, "encoder/more": torch.zeros(3)})), "'encoder/more' is none of theirs"),
    (_resealed(lambda tensors: save({key: value for key, value in tensors.items() if "outer.bias" not in key})),
     "'encoder/outer.bias' is missing"),
    (_resealed(lambda tensors: save({key: value.double() for key, value in tensors.items()})), "holds torch.float64"),
    (lambda folder: (folder / FILE).write_text((folder / FILE).read_text().replace('"frames": 4', '"frames": 5')),
     "its seal does not fit"),
    (lambda folder: (folder / FILE).write_text("{"), "can't read"),
    (lambda folder: (folder / FILE).write_text("[]"), "valid dictionary"),
    (lambda folder: (folder / FILE).write_text("[" * 100_000), "can't read"),
    (lambda folder: (folder / FILE).write_text("1" * 2_000_000), "larger than 1 MB"),
    (lambda folder: _edit(folder, kind="model"), "kind"),
    (lambda folder: _edit(folder, more=1), "unknown key 'more'"),
    (lambda folder: _edit(folder, backbone={"name": "tinny", "version": 1, "config": {}}), "Did you mean 'tiny'"),
    (lambda folder: _edit(folder, backbone={"name": "tiny", "version": 2, "config": {}}), "this is version 1"),
    (lambda folder: _edit(folder, backbone={"name": "tiny", "version": 1, "config": {"dimm": 8}}), "key 'dimm'"),
    (lambda folder: _edit(folder, backbone={"name": "tiny", "version": 1, "config": {"dim": 9}}), "do not build"),
    (lambda folder: _edit(folder, preprocessing={"name": "first-fram", "version": 1}), "Did you mean 'first-frame'"),
    (lambda folder: _edit(folder, layout={"name": "nite_15", "joints": 16, "persons": 1}), "has 16 joints, it has 15"),
    (shutil.rmtree, "holds no encoder"),
])
def test_whatever_is_wrong_is_one_clear_line(shop: Workshop, exported: dict[str, Path], tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], None],
                                             problem: str) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "encoder"
    shutil.copytree(exported["tiny"], folder)
    harm(folder)
    with pytest.raises(SkelError, match=problem) as caught:
        ssl_skel.load_encoder(folder, plugins=[str(shop.root)])
    assert "\n" not in caught.value.message
    assert not Path("unpickled").exists()


def test_other_core_numerics_are_a_warning(shop: Workshop, exported: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(exported["tiny"], tmp_path / "e")
    raw = json.loads((tmp_path / "e" / FILE).read_text())
    _edit(tmp_path / "e", provenance={**raw["provenance"], "core": 999})
    with pytest.warns(UserWarning, match="core numerics 999"):
        ssl_skel.load_encoder(tmp_path / "e", plugins=[str(shop.root)])


@pytest.mark.parametrize("harm", [
    lambda folder: (folder / "encoders.safetensors").write_bytes(b"x"),
    lambda folder: (folder / "encoders.safetensors").unlink(), lambda folder: (folder / "card.json").write_text("{}")])
def test_a_pretraining_that_is_damaged(shop: Workshop, pretrained: dict[str, Path], tmp_path: Path,
                                       harm: Callable[[Path], None]) -> None:
    folder = tmp_path / pretrained["tiny"].name
    shutil.copytree(pretrained["tiny"], folder)
    harm(folder)
    for use in (ssl_skel.load_encoder, lambda path, **kw: ssl_skel.export_encoder(path, tmp_path / "to", **kw)):
        with pytest.raises(SkelError):
            use(folder, plugins=[str(shop.root)])
    assert not (tmp_path / "to").exists()


# -- the command --------------------------------------------------------------------------------------------------


def test_export_by_id_of_a_pretraining_of_a_record_and_by_folder(shop: Workshop, pretrained: dict[str, Path],
                                                                 tmp_path: Path) -> None:
    record = next(shop.out.glob("records/*/tiny/*.json")).stem
    for number, source in enumerate((pretrained["tiny"].name, record, str(pretrained["tiny"]))):
        to = tmp_path / str(number)
        done = CliRunner().invoke(export, [source, "--to", str(to), "--out", str(shop.out), "--plugins",
                                           str(shop.root)])
        assert done.exit_code == 0, done.output
        assert f"wrote {to}" in done.output
        assert sorted(path.name for path in to.iterdir()) == [FILE, WEIGHTS]


def test_export_overwrites_nothing(shop: Workshop, pretrained: dict[str, Path], tmp_path: Path) -> None:
    common = ["--out", str(shop.out), "--plugins", str(shop.root)]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    done = CliRunner().invoke(export, [str(pretrained["tiny"]), "--to", str(tmp_path / "mine"), *common])
    assert done.exit_code == 1
    assert "is not empty" in done.output
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file"]
    done = CliRunner().invoke(export, [str(pretrained["tiny"]), "--to", str(tmp_path / "mine" / "file"), *common])
    assert done.exit_code == 1
    assert "Error" in done.output
    done = CliRunner().invoke(export, ["0" * 16, "--to", str(tmp_path / "new"), *common])
    assert done.exit_code == 2
    assert "no pretraining and no record" in done.output


@pytest.mark.parametrize("source", ["nope", "0123", "ABCDEF0123456789"])
def test_export_of_what_is_no_pretraining(shop: Workshop, tmp_path: Path, source: str) -> None:
    done = CliRunner().invoke(export, [source, "--to", str(tmp_path / "new"), "--out", str(shop.out)])
    assert done.exit_code == 2
    assert f"'{source}' is no folder, and no id of a pretraining or record under {shop.out}" in done.output
    assert not (tmp_path / "new").exists()
