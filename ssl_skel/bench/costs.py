"""What a method costs besides time: arithmetic of its encoders, and energy where the machine tells."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ssl_skel.data.loader import Clips

RAPL = Path("/sys/class/powercap")
NVML = "libnvidia-ml.so.1"


@torch.inference_mode()
def forward_flops(encoders: Mapping[str, nn.Module], clips: Clips, frames: int) -> dict[str, float]:
    """Count the floating-point operations of encoding one clip: two for a multiplication with its addition.

    Products and convolutions are counted, as is usual; normalisations, activations and sorting are not.

    Args:
        encoders: Name -> encoder, on the device of the clips, in evaluation mode.
        clips: At least one clip.
        frames: T, to which the clip is resampled.

    Returns:
        Encoder name -> FLOPs.
    """
    batch = clips.sample(torch.zeros(1, dtype=torch.int64), frames, "centred")
    found = {}
    for name, encoder in encoders.items():
        with FlopCounterMode(display=False, custom_mapping=_own_products()) as counter:
            encoder(batch.xyz, batch.valid, batch.layout)
        found[name] = float(counter.get_total_flops())
    return found


def _own_products() -> dict[Any, Any]:
    """Formulas of the products that `ssl_skel.nn.products` calls and torch's counter does not know."""
    linear = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return {linear: _linear_flops} if linear is not None else {}


def _linear_flops(x: torch.Size, weight: torch.Size, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return 2 * x.numel() * weight[0]


class EnergyMeter:
    """Joules between `start` and `read`, as counted by the processors (RAPL) or by an NVIDIA GPU (NVML).

    The counters are those of the whole package or board: what other programs used meanwhile is in the number.

    Args:
        device: Where the work runs; a GPU's work is measured on the GPU alone.
        rapl: Folder of the powercap files.
    """

    def __init__(self, device: torch.device, rapl: Path = RAPL) -> None:
        self._device, self._rapl = device, rapl
        self._before = self._counters()

    def read(self) -> float | None:
        """Joules since the meter was made; None where nothing can be read."""
        after = self._counters()
        if not after or set(after) != set(self._before):
            return None
        return sum((after[name][0] - before) % (wraps or float("inf"))
                   for name, (before, wraps) in self._before.items())

    def _counters(self) -> dict[str, tuple[float, float]]:
        """Name -> (joules so far, joules at which the counter starts anew; 0 if never)."""
        if self._device.type == "cuda":
            joules = _nvml_joules(self._device.index or 0)
            return {} if joules is None else {"gpu": (joules, 0.0)}
        found = {}
        for package in sorted(self._rapl.glob("intel-rapl:[0-9]*")):
            if package.name.count(":") == 1:  # with two it is a part of a package, counted there
                joules, wraps = _microjoules(package / "energy_uj"), _microjoules(package / "max_energy_range_uj")
                if joules is not None:
                    found[package.name] = (joules, wraps or 0.0)
        return found


def _microjoules(path: Path) -> float | None:
    try:
        return int(path.read_text()) / 1e6
    except (OSError, ValueError):
        return None


def _nvml_joules(index: int) -> float | None:
    """Energy that a GPU has used since its driver was loaded; None where NVML or the counter is not there."""
    try:
        nvml = ctypes.CDLL(NVML)
    except OSError:
        return None
    handle, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
    done = (nvml.nvmlInit_v2() == 0 and nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) == 0
            and nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules)) == 0)
    return millijoules.value / 1e3 if done else None
