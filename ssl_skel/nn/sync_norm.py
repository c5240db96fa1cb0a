"""torch's own batch normalisation with the statistics of all processes, on any device.

`torch.nn.SyncBatchNorm` works on GPUs only. Here a layer keeps its name, parameters and buffers, so that its state
dict fits one process and several.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssl_skel.nn.batch_stats import combine_moments, update_running, uses_batch
from ssl_skel.nn.gather import world_size
from ssl_skel.nn.norm import normalise, statistics

__all__ = ["synchronise"]


class _Synchronised(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation over the batches of all processes; in evaluation mode, and in one process, torch's."""

    def forward(self, input: Tensor) -> Tensor:
        if world_size() == 1 or not uses_batch(self):
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        with torch.no_grad(), torch.autocast(input.device.type, enabled=False):
            count, mean, var = combine_moments(*statistics(input, None))
            update_running(self, mean, var, count[0])
        weight = torch.ones_like(mean) if self.weight is None else self.weight
        bias = torch.zeros_like(mean) if self.bias is None else self.bias
        return normalise(input, weight, bias, None, torch.stack([count, mean, var]), self.eps)


class _Synchronised1d(_Synchronised, nn.BatchNorm1d):
    pass


class _Synchronised2d(_Synchronised, nn.BatchNorm2d):
    pass


class _Synchronised3d(_Synchronised, nn.BatchNorm3d):
    pass


_CLASSES: dict[type, type[nn.Module]] = {
    nn.BatchNorm1d: _Synchronised1d, nn.BatchNorm2d: _Synchronised2d, nn.BatchNorm3d: _Synchronised3d,
}


def synchronise(module: nn.Module) -> None:
    """Let every `nn.BatchNorm1d`, `2d` and `3d` of a module take its statistics from all processes.

    The layers are changed in place: whoever holds one of them goes on holding it.
    """
    for layer in module.modules():
        if type(layer) in _CLASSES:
            layer.__class__ = _CLASSES[type(layer)]
