"""A linear probe fitted once on clean training features, asked about changed test clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ssl_skel.api import Batch, ClipSource, EvalContext
from ssl_skel.bench.features import encode
from ssl_skel.errors import SkelError
from ssl_skel.evaluators.common import held_out, problems
from ssl_skel.evaluators.corruptions import ChangedClips
from ssl_skel.evaluators.linear import fit_probe


class FrozenProbe:
    """The linear probe of an evaluation, with its encoders.

    Args:
        ctx: An evaluation that has encoders and test clips.
        penalties: To choose from on held-out training subjects.

    Raises:
        SkelError: As the linear probe does.
    """

    def __init__(self, ctx: EvalContext, penalties: tuple[float, ...]) -> None:
        held_out(ctx)
        fitted = {problem.name: fit_probe(problem, penalties) for problem in problems(ctx)}
        self.probes = {name: probe for name, (probe, _) in fitted.items()}
        choices = {name: chosen for name, (_, chosen) in fitted.items()}
        self.chosen: Mapping[str, object] = next(iter(choices.values())) if len(choices) == 1 else choices
        self._ctx = ctx

    def scores(self, streams: Mapping[str, Tensor]) -> Tensor:
        """Sum of softmax scores, (n, C), of features by stream."""
        total = []
        for name, probe in self.probes.items():
            features = torch.cat([streams[stream] for stream in name.split("+")], dim=1).to(self._ctx.device)
            total.append(torch.softmax(probe.logits(features), dim=1))
        return torch.stack(total).sum(dim=0)

    def changed(self, change: Callable[[Batch], Batch]) -> Tensor:
        """Scores of the test clips, each batch of them changed before it is encoded."""
        clips: ClipSource | None = self._ctx.test_clips
        if clips is None or not self._ctx.encoders:
            raise SkelError("this evaluator needs the encoders and the test clips", "Set needs = 'encoder'.")
        for encoder in self._ctx.encoders.values():
            encoder.eval()
        return self.scores(encode(self._ctx.encoders, ChangedClips(clips, change)))
