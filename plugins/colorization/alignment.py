"""Agreement of the codes that the fine and the coarse encoder of one colour give for the same clips.

The journal version (arXiv 2304.08799) has such a loss; its form and weight are not known, so the three forms
here, and the weight, are configuration.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_skel.nn.gather import all_gather
from ssl_skel.nn.precision import full_precision

Form = Literal["mse", "cosine", "infonce"]


@full_precision
def clip_mean(values: Tensor, present: Tensor) -> Tensor:
    """Mean over the clips that have a valid point; zero if none has.

    Args:
        values: (B,) one value a clip.
        present: (B,) bool.

    Returns:
        Scalar.
    """
    return values.masked_fill(~present, 0.0).sum() / present.sum().clamp(min=1)


@full_precision
def symmetric_info_nce(fine: Tensor, coarse: Tensor, present: Tensor, temperature: float) -> Tensor:
    """Find each clip's other code among those of the batch, both ways (InfoNCE, arXiv 1807.03748).

    Args:
        fine: (B, D) projected codes, over all processes once gathered.
        coarse: (B, D).
        present: (B,) bool; other clips are neither queries nor negatives.
        temperature: Divides the cosines.

    Returns:
        Scalar mean over present clips and both directions.
    """
    fine, coarse = F.normalize(all_gather(fine), dim=1), F.normalize(all_gather(coarse), dim=1)
    keep = all_gather(present.to(fine.dtype)) > 0
    logits = fine @ coarse.T / temperature
    own = logits.diagonal()
    least = torch.finfo(logits.dtype).min
    rows = logits.masked_fill(~keep, least).logsumexp(1)
    columns = logits.masked_fill(~keep[:, None], least).logsumexp(0)
    loss = ((rows - own) + (columns - own)) / 2
    return clip_mean(loss, keep)


@full_precision
def distance(fine: Tensor, coarse: Tensor, form: Literal["mse", "cosine"]) -> Tensor:
    """Distance of two (B, D) codes, clip by clip: mean square over the channels, or 1 - cosine; (B,)."""
    if form == "cosine":
        return 1 - F.cosine_similarity(fine, coarse, dim=1)
    return (fine - coarse).square().mean(1)


class Alignment(nn.Module):
    """Alignment loss of one colour.

    Args:
        form: ``mse`` over the code's channels, ``cosine``, or ``infonce`` through a projector of each side.
        dim: D, length of the codes.
        projector_dim: Width of the projectors' output (``infonce``).
        temperature: Of ``infonce``.
    """

    def __init__(self, form: Form, dim: int, projector_dim: int, temperature: float) -> None:
        super().__init__()
        self.form, self.temperature = form, temperature
        self.projectors = nn.ModuleList()
        if form == "infonce":
            for _ in ("fine", "coarse"):
                self.projectors.append(
                    nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, projector_dim)))

    def forward(self, fine: Tensor, coarse: Tensor, present: Tensor) -> Tensor:
        """Return the scalar loss between (B, D) codes of the clips that are `present` (B,)."""
        if self.form != "infonce":
            return clip_mean(distance(fine, coarse, self.form), present)
        fine, coarse = (net(code) for net, code in zip(self.projectors, (fine, coarse), strict=True))
        return symmetric_info_nce(fine, coarse, present, self.temperature)
