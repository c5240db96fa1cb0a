"""Training of encoders with labels: the loop behind `finetune` and `semi`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ssl_skel.api import Backbone, Batch, ClipSource, EvalContext, TaskConfig
from ssl_skel.errors import Diverged, SkelError
from ssl_skel.evaluators.common import stream_names
from ssl_skel.progress import track
from ssl_skel.seed import derive

EVAL_BATCH = 64


class TrainingConfig(TaskConfig):
    """Keys of training with labels. Nothing is chosen: the last epoch counts.

    Attributes:
        epochs: Of training.
        batch: Clips a step.
        lr: Peak rate of AdamW, cosine to zero.
        weight_decay: Of AdamW; biases and norms have none.
        warmup: Share of the steps with a linearly rising rate.
        layer_decay: Factor of the rate per layer below the head (MAMP: 0.8); 1 trains all alike.
        head_dropout: Before the classifier.
        batch_norm: ``train`` updates running statistics; ``frozen`` keeps those of pretraining (AimCLR).
    """

    epochs: int = 30
    batch: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.1
    layer_decay: float = 1.0
    head_dropout: float = 0.0
    batch_norm: Literal["train", "frozen"] = "train"


class Classifier(nn.Module):
    """Encoders, their pooled features side by side, dropout and a linear layer.

    Args:
        encoders: Copied, so that the frozen ones stay as they are.
        num_classes: C.
        dropout: Before the layer.
    """

    def __init__(self, encoders: Sequence[Backbone], num_classes: int, dropout: float) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(copy.deepcopy(encoder) for encoder in encoders)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(sum(encoder.dim for encoder in encoders), num_classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch) -> Tensor:
        """Return (B, C) logits."""
        pooled = [encoder(batch.xyz, batch.valid, batch.layout).pooled for encoder in self.encoders]
        logits: Tensor = self.head(self.dropout(torch.cat(pooled, dim=1)))
        return logits

    def mode(self, batch_norm: str) -> None:
        """Go to training mode, batch norms as configured."""
        self.train()
        for module in self.encoders.modules():
            if batch_norm == "frozen" and isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def finetuned_scores(ctx: EvalContext, cfg: TrainingConfig, labels: Tensor, index: Tensor, seed: int) -> Tensor:
    """Train on the clips `index` and score the test part.

    Fusion: ``concat`` trains all streams under one classifier, ``scores`` each by itself and adds up softmax.

    Args:
        ctx: An evaluation with encoders and clips.
        cfg: Of the training.
        labels: (n_train,) int64.
        index: (k,) int64 labelled clips of the training part.
        seed: Of the head, the order and dropout; the global generators are left as they were.

    Returns:
        (n_test, C) on the CPU.

    Raises:
        Diverged: If a loss is not finite.
    """
    names, train, test = stream_names(ctx), ctx.train_clips, ctx.test_clips
    if train is None or test is None or not ctx.encoders:
        raise SkelError("this evaluator needs the encoders and the clips", "Set needs = 'encoder'.")
    groups = [[name] for name in names] if ctx.fusion == "scores" else [names]
    total = torch.zeros(len(test), ctx.num_classes)
    cuda = [ctx.device] if ctx.device.type == "cuda" else []
    for group in groups:
        with torch.random.fork_rng(devices=cuda):
            torch.manual_seed(derive(seed, "finetune", *group))
            model = Classifier([ctx.encoders[name] for name in group], ctx.num_classes, cfg.head_dropout)
            model.to(ctx.device)
            train_classifier(model, train, labels.to(ctx.device), index.to(ctx.device), cfg, seed)
        weight = ctx.weights.get("+".join(group), 1.0)
        total += weight * torch.softmax(predict(model, test, ctx.device), dim=1).cpu()
    return total


def train_classifier(model: Classifier, clips: ClipSource, labels: Tensor, index: Tensor, cfg: TrainingConfig,
                     seed: int) -> None:
    """Train all weights with AdamW, linear warm-up and cosine decay.

    Raises:
        Diverged: If a loss is not finite.
    """
    from timm.optim import create_optimizer_v2
    from timm.scheduler.cosine_lr import CosineLRScheduler

    for parameter in model.parameters():
        parameter.requires_grad_(True)
    decay = {} if cfg.layer_decay == 1.0 else {"layer_decay": cfg.layer_decay}
    optimiser = create_optimizer_v2(model, "adamw", lr=cfg.lr, weight_decay=cfg.weight_decay, **decay)
    gen = torch.Generator().manual_seed(derive(seed, "order"))
    steps = -(-len(index) // cfg.batch)
    warmup = round(cfg.warmup * steps * cfg.epochs)
    schedule = CosineLRScheduler(optimiser, max(steps * cfg.epochs - warmup, 1), warmup_t=warmup,
                                 warmup_prefix=True, t_in_epochs=False)
    model.mode(cfg.batch_norm)
    done = 0
    orders = (index[torch.randperm(len(index), generator=gen).to(index.device)] for _ in range(cfg.epochs))
    for epoch, order in enumerate(track(orders, cfg.epochs * len(index))):
        worst = torch.zeros((), device=index.device)
        for part in torch.tensor_split(order, steps):  # equal parts: no last batch of one clip
            schedule.step_update(done)
            optimiser.zero_grad(set_to_none=True)
            loss = nn.functional.cross_entropy(model(clips.batch(part)), labels[part])
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            worst, done = worst + loss.detach(), done + 1
        if not bool(worst.isfinite()):
            raise Diverged(f"fine-tuning met a loss that is not finite in epoch {epoch}", "Lower lr.")


@torch.inference_mode()
def predict(model: Classifier, clips: ClipSource, device: torch.device) -> Tensor:
    """Return (n, C) logits of all clips, in evaluation mode."""
    model.eval()
    parts = torch.split(torch.arange(len(clips), device=device), EVAL_BATCH)
    return torch.cat([model(clips.batch(part)) for part in parts])
