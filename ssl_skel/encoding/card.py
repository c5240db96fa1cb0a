"""The card of an exported encoder, ``encoder.json``: all that is needed to take raw clips, and where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ssl_skel.bench.cells import Preprocessing, PretrainCell
from ssl_skel.bench.record import CellId, Sha256, seal_of
from ssl_skel.errors import BadCard, DataMissing
from ssl_skel.fsio import write_atomic
from ssl_skel.jsonio import read_json
from ssl_skel.schema import LayoutName, Model, Name
from ssl_skel.yamlio import validate

FILE = "encoder.json"
WEIGHTS = "encoder.safetensors"
_MAX_BYTES = 1_000_000
_AGAIN = "Export it again with `ssl-skel export`."


class BackboneRef(Model):
    """A registered backbone with all its keys."""

    name: Name
    version: int
    config: dict[str, Any]


class LayoutRef(Model):
    """Joints of the clips, and the largest number of persons that the encoder was trained with."""

    name: LayoutName
    joints: int = Field(ge=1)
    persons: int = Field(ge=1)


class StreamRef(Model):
    """One encoder of the file.

    Attributes:
        dim: D, length of its vector.
        modality: What its backbone sees; None where only the plugin's own code can build the encoder.
    """

    dim: int = Field(ge=1)
    modality: Literal["joint", "bone", "motion"] | None


class WeightsRef(Model):
    """The weights beside the card, with keys ``<stream>/<parameter>``."""

    file: Literal["encoder.safetensors"] = "encoder.safetensors"
    bytes: int = Field(ge=1)
    sha256: Sha256


class Provenance(Model):
    """Where the weights come from.

    Attributes:
        pretrain_id: Of the pretraining, hash of all that could change them.
        cell: The pretraining: plugin, its version and digest, configuration, data, split, seed, precision.
        core: `CORE_NUMERICS`.
        encoders_sha256: Of the file that the pretraining wrote; equals the digest in its records.
        cost: Of the pretraining.
        env: Machine, versions, git state.
    """

    pretrain_id: CellId
    cell: PretrainCell
    core: int
    encoders_sha256: Sha256
    cost: dict[str, float | None]
    env: dict[str, Any]
    started: str
    finished: str


class EncoderCard(Model):
    """What an exported encoder is.

    Attributes:
        frames: T, to which every clip is resampled.
        streams: Encoder name -> encoder; features stand one after the other in this order.
        seal: `seal_of` the rest.
    """

    schema_: Literal[1] = Field(1, alias="schema")
    kind: Literal["ssl_skel encoder"] = "ssl_skel encoder"
    title: str
    backbone: BackboneRef
    layout: LayoutRef
    preprocessing: Preprocessing
    frames: int = Field(ge=1)
    streams: dict[str, StreamRef] = Field(min_length=1)
    weights: WeightsRef
    provenance: Provenance
    seal: str = ""


def write_encoder_card(folder: Path, card: EncoderCard) -> None:
    """Seal a card and write it; the export is complete from then on.

    Raises:
        OutputError: If the folder can't be written.
    """
    raw = card.model_dump(mode="json", by_alias=True)
    raw["seal"] = seal_of(raw)
    write_atomic(folder / FILE, json.dumps(raw, indent=1, allow_nan=False) + "\n")


def read_encoder_card(folder: Path) -> EncoderCard:
    """Read the card of an exported encoder and check it against its seal.

    Raises:
        DataMissing: If there is none.
        BadCard: If it is torn, edited, or no card of an encoder.
    """
    path = folder / FILE
    try:
        raw = read_json(path, _MAX_BYTES)
        seal = seal_of(raw) if isinstance(raw, dict) else ""
    except FileNotFoundError:
        raise DataMissing(f"{path} is missing", _AGAIN) from None
    except (OSError, ValueError) as error:
        raise BadCard(f"can't read {path}: {getattr(error, 'strerror', None) or error}", _AGAIN) from None
    try:
        card = validate(EncoderCard, raw, str(path))
    except BadCard as error:
        raise BadCard(error.what, _AGAIN) from None
    if card.seal != seal:
        raise BadCard(f"{path} was changed after it was written (its seal does not fit)", _AGAIN)
    return card
