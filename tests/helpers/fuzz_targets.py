"""What reads the suite's own files (stores, cards, records, weights), with sound ones and ways to spoil them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

import numpy as np
import torch
import yaml

from helpers import mutate
from helpers.fuzz_data import DATA, Target, spoil_json
from helpers.records import fill, make_record
from helpers.tiny import CARD, Workshop, _clips
from ssl_skel import checkpoint, ids
from ssl_skel.api import Unit
from ssl_skel.bench.board.files import BoardRequest, make_board
from ssl_skel.bench.cards import FILE, read_card
from ssl_skel.bench.cell import build_task
from ssl_skel.bench.encoders import load_encoders
from ssl_skel.bench.predictions import check_scores, read_predictions
from ssl_skel.bench.published import load_published
from ssl_skel.bench.record import Failure, seal_of
from ssl_skel.bench.request import Asked, plan_of
from ssl_skel.bench.run import RunOptions
from ssl_skel.bench.status import status_of
from ssl_skel.bench.store import RecordStore
from ssl_skel.bench.verify import verify_record
from ssl_skel.bench.worker import run_unit
from ssl_skel.data.loader import load_clips
from ssl_skel.data.memory import memory_store
from ssl_skel.data.open import open_split
from ssl_skel.data.preprocess import get_family
from ssl_skel.data.store import FILES, Store, content_digest
from ssl_skel.registry import Catalogue, _outside, bundled_root, discover
from ssl_skel.runtime import Runtime
from ssl_skel.train import Interrupted, TrainJob, _Loop, pretrain

# -- prepared data ------------------------------------------------------------------------------------------------


def _write_store(folder: Path) -> None:
    memory = memory_store(CARD, _clips(), "tiny/1")
    folder.mkdir()
    for name in FILES:
        np.save(folder / name, getattr(memory, name.removesuffix(".npy")))
    (folder / "meta.json").write_text(json.dumps(dict(memory.meta)))


def _read_store(folder: Path) -> None:
    """Everything that a run does with a store."""
    store = Store.open(folder)
    parts = CARD.splits["xsub"].apply(store.index)
    clips = load_clips(store, parts.train, get_family(CARD.preprocessing), frames=4, budget=1 << 30)
    clips.batch(torch.arange(min(3, len(clips))))
    for number, _ in enumerate(store.clips()):
        if number == 3:
            break
    _ = store.names


def store_meta(folder: Path) -> Target:
    _write_store(folder / "tiny")
    path = folder / "tiny" / "meta.json"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        _read_store(folder / "tiny")

    def reshape(rng: Random, data: bytes) -> bytes:
        spoilt = json.loads(spoil_tree_json(rng, data))
        if isinstance(spoilt, dict) and rng.random() < 0.7:
            with suppress(KeyError, TypeError, ValueError):
                spoilt["digest"] = content_digest(spoilt)
        return json.dumps(spoilt).encode("utf-8", "surrogatepass")

    return Target((path.read_bytes(),), read, reshape)


def spoil_tree_json(rng: Random, data: bytes) -> bytes:
    """Spoil the tree of a JSON file and nothing else."""
    return json.dumps(mutate.spoil_tree(rng, json.loads(data))).encode("utf-8", "surrogatepass")


def store_index(folder: Path) -> Target:
    return _array_target(folder, "index.npy")


def store_tracks(folder: Path) -> Target:
    return _array_target(folder, "tracks.npy")


def _array_target(folder: Path, name: str) -> Target:
    """An array of a store whose ``meta.json`` agrees with it."""
    _write_store(folder / "tiny")
    path, meta = folder / "tiny" / name, json.loads((folder / "tiny" / "meta.json").read_text())

    def read(data: bytes) -> None:
        path.write_bytes(data)
        meta["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        meta["digest"] = content_digest(meta)
        (folder / "tiny" / "meta.json").write_text(json.dumps(meta))
        _read_store(folder / "tiny")

    def reshape(rng: Random, data: bytes) -> bytes:
        array = np.load(io.BytesIO(data)).copy()
        for _ in range(rng.choice((1, 2, 5))):
            field = rng.choice([field for field in array.dtype.names if array.dtype[field].kind == "i"])
            largest = np.iinfo(array.dtype[field])
            value = rng.choice(mutate.INTEGERS)
            array[field][rng.randrange(len(array))] = min(max(value, largest.min), largest.max)
        made = io.BytesIO()
        np.save(made, array)
        return made.getvalue()

    return Target((path.read_bytes(),), read, reshape)


# -- cards and registries -----------------------------------------------------------------------------------------


def _plan_all(folder: Path) -> None:
    """Plan every suite of a folder; of what is shipped only the evaluators are known, as reading all takes long."""
    catalogue = Catalogue()
    for entry in (*discover().entries("evaluators"), *_outside(folder)):
        catalogue.add(entry)
    for entry in catalogue.broken:
        assert entry.error.isprintable()
        assert len(entry.error) < 2000
    for suite in catalogue.names("suites"):
        plan_of(Asked(suite=suite, device="cpu"), catalogue, folder / "data")


@cache
def _parsed(data: bytes) -> Any:
    return yaml.safe_load(data)


def _spoil_yaml(rng: Random, data: bytes) -> bytes:
    spoilt, plain, unicode = mutate.spoil_tree(rng, _parsed(data)), rng.random() < 0.5, rng.random() < 0.5
    try:
        text = json.dumps(spoilt) if plain else yaml.safe_dump(spoilt, allow_unicode=unicode)
    except RecursionError:  # too deep for those who write it; whoever reads it gets it all the same
        text = "name: " + "[" * 5000 + "]" * 5000
    return text.encode("utf-8", "surrogatepass")


def plugin_card(folder: Path) -> Target:
    shop = Workshop(folder)
    shop.plugin("full", config={"scale": 2.0}, datasets={"tiny": {"config": {"scale": 3.0}, "train": {"epochs": 1}}},
                tiny={"train": {"batch": 3}}, paper={"title": "A paper", "year": 2024}, persons={"min": 1, "max": 2},
                deviations=["None."], expected_failures={"gradients": "none here"})
    path = shop.root / "plugins" / "full" / "plugin.yaml"
    registry = yaml.safe_load((shop.root / "registry.yaml").read_text())
    registry["suites"]["tiny"]["entries"] = [{"plugin": "full"}]
    registry["suites"]["tiny"]["baseline"] = "full"
    (shop.root / "registry.yaml").write_text(yaml.safe_dump(registry))

    def read(data: bytes) -> None:
        path.write_bytes(data)
        _plan_all(shop.root)

    return Target((path.read_bytes(),), read, _spoil_yaml)


def registry(folder: Path) -> Target:
    shop = Workshop(folder, ["tiny"])
    path = shop.root / "registry.yaml"
    full = yaml.safe_load(path.read_text())
    full["suites"]["tiny"] |= {
        "summary": "A suite", "seeds": [0, 1], "train": {"epochs": 1}, "precision": "fp32", "fusions": ["concat"],
        "evaluators": ["knn", {"name": "linear", "config": {"l2": [0.1]}}],
        "entries": [{"plugin": "tiny", "label": "x", "config": {"scale": 2.0}, "streams": [["encoder"]]}]}

    def read(data: bytes) -> None:
        path.write_bytes(data)
        _plan_all(shop.root)

    return Target((path.read_bytes(), yaml.safe_dump(full).encode()), read, _spoil_yaml)


def published(folder: Path) -> Target:
    path = folder / "published.yaml"
    full = yaml.safe_load((bundled_root() / "leaderboards" / "published.yaml").read_text())
    names = {full["results"][0]["source"]} | {n for v in full["results"][0]["values"][:2] for n in v.get("also", ())}
    few = {**full, "results": [{**full["results"][0], "values": full["results"][0]["values"][:2]}],
           "sources": {name: full["sources"][name] for name in names}, "conflicts": full["conflicts"][:1],
           "caveats": full["caveats"][:1], "intervals": full["intervals"][:1]}

    def read(data: bytes) -> None:
        path.write_bytes(data)
        load_published(path)

    return Target((yaml.safe_dump(few, allow_unicode=True).encode(),), read, _spoil_yaml)


# -- records and what lies beside them ----------------------------------------------------------------------------


def record(folder: Path) -> Target:
    """A record; one that is read goes on a board in every format."""
    store = fill(folder / "out", make_record(0.5), make_record(0.7, plugin="moco"))
    sound = store.all()[0]
    path = store.record_path(sound.id, sound.cell)

    def read(data: bytes) -> None:
        path.write_bytes(data)
        found = store.load(path)
        verify_record(store, found, rescore=True)
        rendered = make_board(store, BoardRequest())
        for form in ("html", "md", "csv", "json", "tex"):
            rendered.text(form)

    def reshape(rng: Random, data: bytes) -> bytes:
        spoilt = json.loads(spoil_tree_json(rng, data))
        if isinstance(spoilt, dict) and rng.random() < 0.8:
            with suppress(KeyError, TypeError, ValueError):
                spoilt["digests"]["config"] = ids.digest(spoilt["config"])
            with suppress(ValueError):
                spoilt["seal"] = seal_of(spoilt)
        return json.dumps(spoilt).encode("utf-8", "surrogatepass")

    return Target((path.read_bytes(),), read, reshape)


def predictions(folder: Path) -> Target:
    pairs = [make_record(0.5), make_record(0.5, classes=3, n=12)]

    def read(data: bytes) -> None:
        check_scores(pairs[0][0], read_predictions(data, "predictions.csv"))

    return Target((pairs[0][1],), read)


def failure(folder: Path) -> Target:
    """A failure, as `bench status` reads it."""
    store = fill(folder / "out", make_record(0.5))
    path = store.write_failure(Failure.model_validate({
        "id": "0" * 16, "cell": {"plugin": "simclr"}, "status": "crashed", "stage": "pretrain", "message": "gone",
        "detail": {"exit_code": 3}, "when": "now"}))
    (store.root / "plan.json").write_text(json.dumps({"schema": 1, "suite": "made-up", "cells": [
        {"id": "1" * 16, "pretrain_id": "0" * 16, "cell": make_record(0.5)[0].cell.model_dump(mode="json")}]}))

    def read(data: bytes) -> None:
        path.write_bytes(data)
        status_of(store.root)

    return Target((path.read_bytes(),), read, spoil_json)


def plan_file(folder: Path) -> Target:
    """``plan.json``, as `bench status` and the board read it."""
    store = fill(folder / "out", make_record(0.5))
    shop = Workshop(folder)
    path = store.root / "plan.json"
    path.write_text(json.dumps(shop.plan().file_content()))

    def read(data: bytes) -> None:
        path.write_bytes(data)
        status_of(store.root)
        make_board(store, BoardRequest(incomplete=True)).text("html")

    return Target((path.read_bytes(),), read, spoil_json)


def manifest(folder: Path) -> Target:
    """The manifest of a board, from which `bench board --check` renders it again."""
    from ssl_skel.bench.board.files import check_boards, write_boards

    store = fill(folder / "out", make_record(0.5), make_record(0.7, plugin="moco"))
    write_boards(store)
    path = store.root / "boards" / "all" / "manifest.json"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        check_boards(store)

    return Target((path.read_bytes(),), read, spoil_json)


# -- pretrainings -------------------------------------------------------------------------------------------------


def _pretrained(folder: Path) -> tuple[Workshop, Path, Any]:
    """A workshop, the folder of its one pretraining, and the pretraining's cell."""
    shop = Workshop(folder)
    cell = shop.plan().pretrainings[0]
    RecordStore(shop.out).create()
    options = RunOptions(shop.out, shop.root / "data", (str(shop.root),), device="cpu").for_units("custom")
    ended = run_unit(Unit(cell.id, "pretrain", cell.model_dump(mode="json"), options), lambda event: None, Event())
    if ended.status != "ok":
        raise SystemExit(f"the sound run failed: {ended.message}")
    return shop, shop.out / "pretrain" / cell.id, cell


def pretraining_card(folder: Path) -> Target:
    _, place, _ = _pretrained(folder)

    def read(data: bytes) -> None:
        (place / FILE).write_bytes(data)
        read_card(place)

    return Target(((place / FILE).read_bytes(),), read, spoil_json)


def encoders(folder: Path) -> Target:
    """Weights whose card knows their digest, so that it does not save the reader."""
    shop, place, cell = _pretrained(folder)
    task = build_task(shop.catalogue(), cell, CARD.get_layout())
    path = place / "encoders.safetensors"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        load_encoders(place, task, hashlib.sha256(data).hexdigest(), torch.device("cpu"))

    return Target((path.read_bytes(),), read, _spoil_safetensors)


def features(folder: Path) -> Target:
    """Cached features: what is spoilt is made anew, so nothing is ever refused."""
    from ssl_skel.bench import features as module

    sound = {"encoder": torch.arange(24.0).reshape(6, 4)}
    path = folder / "x.safetensors"
    module.write_cache(path, sound)

    def read(data: bytes) -> None:
        path.write_bytes(data)
        found = module.read_cache(path)
        assert found is None or (list(found) == ["encoder"] and torch.equal(found["encoder"], sound["encoder"]))

    return Target((path.read_bytes(),), read, _spoil_safetensors)


def _spoil_safetensors(rng: Random, data: bytes) -> bytes:
    """Spoil the header, with its length put right."""
    size = int.from_bytes(data[:8], "little")
    head = spoil_tree_json(rng, data[8:8 + size]) if rng.random() < 0.7 else mutate.spoil(rng, data[8:8 + size], [])
    return len(head).to_bytes(8, "little") + head + data[8 + size:]


def checkpoints(folder: Path) -> Target:
    """A checkpoint that a pretraining would go on from; what is spoilt is passed over, or refused in one line."""
    shop = Workshop(folder)
    cell = shop.plan().pretrainings[0]
    data = open_split(cell.dataset, cell.split, shop.root / "data", card=CARD, frames=4).pretraining()
    place, runtime = folder / "place", Runtime(torch.device("cpu"))
    place.mkdir()

    def job(**options: Any) -> TrainJob:
        task = build_task(shop.catalogue(), cell, data.layout)
        names = [str(number) for number in range(len(data.clips))]
        return TrainJob(cell.id, task, data.clips, names, cell.train, 0, place, runtime, **options)

    with suppress(Interrupted):
        pretrain(job(stop_after=3))
    (place / "previous.ckpt").unlink(missing_ok=True)
    sound = (place / "last.ckpt").read_bytes()
    state, loop = checkpoint.load(place, cell.id), _Loop(job(), 3, 6)

    def read(content: bytes) -> None:
        (place / "last.ckpt").write_bytes(content)
        found = checkpoint.load(place, cell.id)
        if found is not None:
            loop._restore(found)

    def reshape(rng: Random, content: bytes) -> bytes:
        if rng.random() < 0.3:
            return checkpoint.seal(mutate.spoil(rng, bytes(checkpoint.unseal(content)), []))
        kept = {"owner": cell.id} if rng.random() < 0.9 else {}
        spoilt, made = mutate.spoil_tree(rng, state), io.BytesIO()
        torch.save({**spoilt, **kept} if isinstance(spoilt, dict) else spoilt, made)
        return checkpoint.seal(made.getvalue())

    return Target((sound,), read, reshape)


TARGETS: dict[str, Callable[[Path], Target]] = {
    **DATA, "store-meta": store_meta, "store-index": store_index, "store-tracks": store_tracks, "card": plugin_card,
    "registry": registry, "published": published, "record": record, "predictions": predictions, "failure": failure,
    "plan": plan_file, "manifest": manifest, "pretraining-card": pretraining_card, "encoders": encoders,
    "features": features, "checkpoint": checkpoints}
