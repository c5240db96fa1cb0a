"""Encoders to files and back: out of a finished pretraining, into a folder that needs nothing else of the run."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save

from ssl_skel import ids
from ssl_skel.api import Backbone
from ssl_skel.bench import cards
from ssl_skel.bench.cards import PretrainingCard, read_card
from ssl_skel.data.layouts import Layout, get_layout
from ssl_skel.data.preprocess import get_family
from ssl_skel.encoding import card as files
from ssl_skel.encoding.card import (
    BackboneRef,
    EncoderCard,
    LayoutRef,
    Provenance,
    StreamRef,
    WeightsRef,
    read_encoder_card,
    write_encoder_card,
)
from ssl_skel.encoding.encoder import Encoder
from ssl_skel.encoding.weights import fill, read_tensors
from ssl_skel.errors import DataMissing, DigestMismatch, OutputError
from ssl_skel.fsio import output_error, write_atomic
from ssl_skel.nn.streams import Streamed, streamed
from ssl_skel.registry import Catalogue, discover
from ssl_skel.runtime import pick_device
from ssl_skel.yamlio import validate

ROUNDING = 1e-5
"""Share of the largest feature by which a rebuilt network may differ: the same sums, taken over memory that is aligned
differently, differ by 1e-7; a network that a method has changed differs by more."""


def load_encoder(path: str | Path, *, device: str = "cpu", plugins: Sequence[str] = ()) -> Encoder:
    """Load the frozen encoders of a pretraining.

    Args:
        path: Folder that `export_encoder` wrote, or ``pretrain/<id>`` of an output folder.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        plugins: Folders with further plugins and backbones, as with ``--plugins``.

    Raises:
        DataMissing: If the folder holds neither, or its weights are missing.
        BadCard: If its card is torn or edited.
        DigestMismatch: If the weights are not those that the card describes, or were made by other code versions.
        BrokenPlugin: If only the plugin can build the encoder, and it is not here or has changed.
    """
    folder, place, catalogue = Path(path), pick_device(device), discover(tuple(plugins))
    if (folder / files.FILE).is_file():
        return _load_exported(folder, catalogue, place)
    if (folder / cards.FILE).is_file():
        return _load_pretraining(folder, catalogue, place)[0]
    raise DataMissing(f"{folder} holds no encoder ({files.FILE}) and no pretraining ({cards.FILE})",
                      "Give a folder that `ssl-skel export` wrote, or runs/pretrain/<id>.")


def export_encoder(pretraining: str | Path, to: str | Path, *, plugins: Sequence[str] = ()) -> Path:
    """Write the encoders of a finished pretraining, with a card, to a folder of their own.

    Args:
        pretraining: Folder ``pretrain/<id>`` of an output folder.
        to: New folder.
        plugins: As with ``--plugins``.

    Returns:
        The folder.

    Raises:
        SkelError: If the pretraining can't be loaded (see `load_encoder`).
        OutputError: If the folder exists and is not empty, or can't be written.
    """
    folder, catalogue = Path(to), discover(tuple(plugins))
    encoder, pretrained = _load_pretraining(Path(pretraining), catalogue, torch.device("cpu"))
    data = save({f"{name}/{key}": value.contiguous().clone() for name, network in encoder.networks.items()
                 for key, value in network.state_dict().items()})
    card = _describe(encoder, pretrained, data, catalogue)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise OutputError(f"{folder} is not empty", "Choose another folder; nothing is overwritten.")
    except OSError as error:
        raise output_error(folder, error) from None
    write_atomic(folder / files.WEIGHTS, data)
    write_encoder_card(folder, card)
    return folder


def _load_pretraining(folder: Path, catalogue: Catalogue, device: torch.device) -> tuple[Encoder, PretrainingCard]:
    from ssl_skel.bench.cell import build_task
    from ssl_skel.bench.encoders import load_encoders

    card = read_card(folder)
    cell = card.cell
    _check_versions(catalogue, cell.backbone, cell.backbone_version, cell.preprocessing.name,
                    cell.preprocessing.version, folder)
    layout: Layout = catalogue.load("datasets", cell.dataset.partition("+")[0]).get_layout()
    networks = load_encoders(folder, build_task(catalogue, cell, layout), card.encoders_sha256, device)
    return Encoder(networks, layout, cell.train.frames, cell.preprocessing.name, device), card


def _load_exported(folder: Path, catalogue: Catalogue, device: torch.device) -> Encoder:
    card = read_encoder_card(folder)
    _check_versions(catalogue, card.backbone.name, card.backbone.version, card.preprocessing.name,
                    card.preprocessing.version, folder / files.FILE)
    if card.provenance.core != ids.CORE_NUMERICS:
        warnings.warn(f"{folder}: written with core numerics {card.provenance.core}, these are {ids.CORE_NUMERICS}; "
                      "features may differ from those that were evaluated", stacklevel=3)
    path = folder / files.WEIGHTS
    tensors = read_tensors(path, card.weights.sha256, "Export it again with `ssl-skel export`.", card.weights.bytes)
    networks = _build(card, catalogue)
    fill(networks, tensors, path)
    for network in networks.values():
        network.eval().requires_grad_(False).to(device)
    return Encoder(networks, _layout(card), card.frames, card.preprocessing.name, device, card)


def _check_versions(catalogue: Catalogue, backbone: str, version: int, family: str, family_version: int,
                    where: Path) -> None:
    for what, there, here in (("backbone " + backbone, version, catalogue.load("backbones", backbone).version),
                              ("preprocessing " + family, family_version, get_family(family).version)):
        if there != here:
            raise DigestMismatch(f"{where} was made with {what} version {there}, this is version {here}",
                                 "Install the version of ssl-skel that wrote it, or pretrain again.")


def _layout(card: EncoderCard) -> Layout:
    layout = get_layout(card.layout.name, card.layout.persons)
    if layout.num_joints != card.layout.joints:
        raise DigestMismatch(f"the card says that {card.layout.name} has {card.layout.joints} joints, it has "
                             f"{layout.num_joints}")
    return layout


def _build(card: EncoderCard, catalogue: Catalogue) -> dict[str, Backbone]:
    """Networks of the card's streams, in its order, without their weights; by the plugin only where it has to."""
    layout, cell = _layout(card), card.provenance.cell
    made: dict[str, Backbone] = {}
    if any(stream.modality is None for stream in card.streams.values()):
        from ssl_skel.bench.cell import build_task

        made = build_task(catalogue, cell, layout).encoders()
    backbone = partial(_backbone, catalogue, card.backbone, layout)
    networks = {name: streamed(backbone, stream.modality) if stream.modality else made[name]
                for name, stream in card.streams.items() if stream.modality or name in made}
    if networks.keys() != card.streams.keys() or any(networks[name].dim != s.dim for name, s in card.streams.items()):
        raise DigestMismatch(f"the card names streams that {cell.plugin!r} and {card.backbone.name!r} do not build",
                             "Export it again with `ssl-skel export`.")
    return networks


def _backbone(catalogue: Catalogue, ref: BackboneRef, layout: Layout) -> Backbone:
    cls = catalogue.load("backbones", ref.name)
    with torch.random.fork_rng(devices=[]):
        built: Backbone = cls(validate(cls.Config, ref.config, f"backbone {ref.name}"), layout)
    return built


def _describe(encoder: Encoder, pretrained: PretrainingCard, data: bytes, catalogue: Catalogue) -> EncoderCard:
    cell = pretrained.cell
    backbone = BackboneRef(name=cell.backbone, version=cell.backbone_version, config=cell.backbone_config)
    plain = catalogue.load("backbones", cell.backbone)
    build = partial(_backbone, catalogue, backbone, encoder.layout)
    streams = {name: StreamRef(dim=net.dim, modality=_modality(net, plain, build, encoder))
               for name, net in encoder.networks.items()}
    layout = encoder.layout
    return EncoderCard(
        title=cell.title, backbone=backbone, preprocessing=cell.preprocessing, frames=encoder.frames, streams=streams,
        layout=LayoutRef(name=layout.name, joints=layout.num_joints, persons=layout.persons),
        weights=WeightsRef(bytes=len(data), sha256=hashlib.sha256(data).hexdigest()),
        provenance=Provenance(
            pretrain_id=cell.id, cell=cell, core=ids.CORE_NUMERICS, encoders_sha256=pretrained.encoders_sha256,
            cost=pretrained.cost, env=pretrained.env, started=pretrained.started, finished=pretrained.finished))


def _modality(network: Backbone, plain: type[Backbone], build: partial[Backbone],
              encoder: Encoder) -> Literal["joint", "bone", "motion"] | None:
    """What a network sees, if the backbone alone rebuilds it; a method may have changed it after it was built."""
    name: Literal["joint", "bone", "motion"] = "joint"
    if type(network) is Streamed and type(network.inner) is plain:
        name = network.name
    elif type(network) is not plain:
        return None
    peer = streamed(build, name).eval()
    peer.load_state_dict(network.state_dict())
    layout, gen = encoder.layout, torch.Generator().manual_seed(0)
    xyz = torch.randn(2, layout.persons, encoder.frames, layout.num_joints, 3, generator=gen)
    valid = torch.rand(xyz.shape[:-1], generator=gen) > 0.1
    xyz = xyz * valid[..., None]
    with torch.inference_mode():
        found, expected = peer(xyz, valid, layout).pooled, network(xyz, valid, layout).pooled
    same = torch.allclose(found, expected, rtol=0.0, atol=ROUNDING * expected.abs().max().item())
    return name if same else None
