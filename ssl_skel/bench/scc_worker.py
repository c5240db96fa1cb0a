"""One side of `bench speed scc-step`: a process that runs pretraining steps when told to, and times their parts.

Reads a JSON line of sizes, then ``step`` lines, each answered by a JSON line; ends with its input, answering
with its peak memory over that after the imports.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ssl_skel.bench.memory import held_mb
from ssl_skel.bench.peers.scc_textbook import TextbookDecoder, TextbookEncoder, textbook_chamfer
from ssl_skel.data.layouts import LAYOUTS
from ssl_skel.nn.chamfer import chamfer
from ssl_skel.nn.dgcnn import DGCNN, DGCNNConfig
from ssl_skel.nn.folding import FoldingNet
from ssl_skel.runtime import peak_mb, reset_peak

__all__ = ["Side", "clouds", "main"]

JOINTS = 20


def clouds(batch: int, points: int, seed: int = 0) -> Tensor:
    """Draw coloured skeleton clouds: joints that wander over frames, coloured by time from red to blue.

    Args:
        batch: B.
        points: N; `JOINTS` a frame.
        seed: For the positions.

    Returns:
        (B, N, 6) float32.
    """
    gen = torch.Generator().manual_seed(seed)
    frames = -(-points // JOINTS)
    path = 0.05 * torch.randn(batch, frames, JOINTS, 3, generator=gen).cumsum(1)
    positions = 0.5 * torch.randn(batch, 1, JOINTS, 3, generator=gen) + path
    time_of = torch.linspace(0, 1, frames)
    red, blue = (1 - 2 * time_of).clamp(min=0), (2 * time_of - 1).clamp(min=0)
    colours = torch.stack([red, 1 - red - blue, blue], 1)[None, :, None].expand_as(positions)
    return torch.cat([positions, colours], 3).flatten(1, 2)[:, :points].contiguous()


class Side:
    """Networks, optimiser and data of one side, and a stopwatch on each of its parts.

    Args:
        side: ``ours`` or ``peer``.
        batch: Clouds.
        points: Of a cloud.
        k: Neighbours.
        precision: ``fp32`` or ``bf16`` (autocast), ours only: published code runs in float32.
        reduction: ``max`` or ``sum`` of the directed means.
        device: Where to run.
    """

    def __init__(
        self, side: str, batch: int, points: int, k: int, precision: str, reduction: str, device: str
    ) -> None:
        self.device, self.reduction = torch.device(device), reduction
        self.target = clouds(batch, points).to(self.device)
        self.positions = self.target[..., :3].contiguous()
        self.valid = torch.ones(batch, points, dtype=torch.bool, device=self.device)
        self.bf16 = precision == "bf16" and side == "ours"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            encoder, decoder = DGCNN(DGCNNConfig(k=k), LAYOUTS["kinect_v1_20"]), FoldingNet(1024)
        self.encoder, self.decoder = (encoder, decoder) if side == "ours" else _textbook(encoder, decoder, k)
        parameters = [*self.encoder.to(self.device).parameters(), *self.decoder.to(self.device).parameters()]
        self.optimiser = torch.optim.Adam(parameters, lr=1e-4, fused=side == "ours")
        self.parts: dict[str, float] = {}
        for conv in self.encoder.get_submodule("convs").children():
            self._watch(conv, "edge_convolution")
        self._watch(self.encoder.get_submodule("head"), "head")
        self._watch(self.decoder, "decoder")

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def _watch(self, module: nn.Module, part: str) -> None:
        def add(sign: int) -> None:
            self.parts[part] = self.parts.get(part, 0.0) + sign * self._now()

        module.register_forward_pre_hook(lambda *_: add(-1))
        module.register_forward_hook(lambda *_: add(1))

    def _encode(self) -> Tensor:
        if isinstance(self.encoder, DGCNN):
            return self.encoder.encode(self.positions, self.valid)
        code: Tensor = self.encoder(self.positions)
        return code

    def step(self) -> dict[str, Any]:
        """Run one step; return its loss, its seconds, its processor seconds and the milliseconds of its parts."""
        loss_of: Callable[..., Tensor] = chamfer if isinstance(self.encoder, DGCNN) else textbook_chamfer
        self.parts.clear()
        start, used = self._now(), time.process_time()
        self.optimiser.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            code = self._encode()
            encoded = self._now()
            decoded = self.decoder(code)
            at_loss = self._now()
            loss = loss_of(decoded, self.target, reduction=self.reduction)
        forward = self._now()
        torch.autograd.backward(loss)
        backward = self._now()
        self.optimiser.step()
        end = self._now()
        self.parts |= {
            "knn": encoded - start - self.parts["edge_convolution"] - self.parts["head"],
            "chamfer": forward - at_loss, "backward": backward - forward, "optimiser": end - backward,
        }
        parts = {name: 1e3 * seconds for name, seconds in self.parts.items()}
        used = time.process_time() - used
        return {"loss": float(loss.detach()), "seconds": end - start, "cpu_seconds": used, "parts": parts}


def _textbook(encoder: DGCNN, decoder: FoldingNet, k: int) -> tuple[nn.Module, nn.Module]:
    other, fold = TextbookEncoder(k), TextbookDecoder()
    other.load(encoder)
    fold.load(decoder)
    return other, fold


def serve(lines: Any, answer: Callable[[dict[str, Any]], None]) -> None:
    """Run what the lines ask for."""
    sizes = json.loads(next(lines))
    torch.set_num_threads(sizes.pop("threads"))
    tiny = sizes | {"batch": 2, "points": 4 * JOINTS, "k": min(sizes["k"], 8)}
    Side(**tiny).step()  # loads and compiles everything, so that memory counts the step alone
    device = torch.device(sizes["device"])
    reset_peak(device)
    before = held_mb(device)
    side = Side(**sizes)
    answer(side.step())
    for _ in lines:
        answer(side.step())
    answer({"peak_mb": peak_mb(device) - before})


def main() -> None:
    """Serve standard input."""
    serve(iter(sys.stdin), lambda reply: print(json.dumps(reply), flush=True))


if __name__ == "__main__":
    main()
