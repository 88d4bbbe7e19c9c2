"""Pictures of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mimicctl.training.trainer import EpochLosses


def plot_losses(history: Sequence[EpochLosses], path: Path) -> None:
    """Training and validation loss over epochs, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    epochs = [losses.epoch for losses in history]
    axes.plot(epochs, [losses.train for losses in history], label="train")
    axes.plot(epochs, [losses.valid for losses in history], label="valid")
    best = min(history, key=lambda losses: losses.valid)
    axes.plot(best.epoch, best.valid, "o", color="C1", label=f"best valid, epoch {best.epoch}")
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
