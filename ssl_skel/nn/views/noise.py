"""Views that disturb coordinates: Gaussian noise and Gaussian blur along time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_skel.nn.precision import full_precision
from ssl_skel.nn.views.clips import Clips, chance, choose, uniform


def gaussian_noise(clips: Clips, gen: torch.Generator, std: float = 0.01, p: float = 0.5) -> Clips:
    """With probability `p` add N(0, std^2) to every coordinate. Source: AimCLR (0.01, 0.5)."""
    draw = torch.randn(clips.xyz.shape, generator=gen, device=clips.xyz.device, dtype=clips.xyz.dtype)
    noisy = Clips(clips.xyz + std * draw, clips.valid).clean()
    return choose(chance(clips, gen, p), noisy, clips)


@full_precision
def _blur(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolve (B, R, T) along T with one (B, K) kernel a clip, the border frames repeated."""
    half = kernel.shape[1] // 2
    padded = F.pad(x, (half, half), mode="replicate")
    return F.conv1d(padded.transpose(0, 1), kernel[:, None], groups=len(x)).transpose(0, 1)


def gaussian_blur(clips: Clips, gen: torch.Generator, kernel: int = 15, low: float = 0.1, high: float = 2.0,
                  p: float = 0.5) -> Clips:
    """With probability `p` smooth along time with a Gaussian of deviation U(low, high) frames.

    Source: AimCLR (15, [0.1, 2], 0.5). Weights are renormalised over valid frames.
    """
    offset = torch.arange(kernel, device=clips.xyz.device, dtype=clips.xyz.dtype) - kernel // 2
    weight = (-offset.square() / (2 * uniform(clips, gen, low, high, 1).square())).exp()
    batch, persons, frames, joints, _ = clips.xyz.shape
    mark = clips.valid[..., None].to(clips.xyz.dtype)
    rows = torch.cat([clips.xyz, mark], -1).permute(0, 1, 3, 4, 2).reshape(batch, -1, frames)
    smooth = _blur(rows, weight).view(batch, persons, joints, 4, frames).permute(0, 1, 4, 2, 3)
    blurred = Clips(smooth[..., :3] / smooth[..., 3:].clamp(min=1e-12), clips.valid).clean()
    return choose(chance(clips, gen, p), blurred, clips)
