"""One row of numbers that holds all there is to know of an env: how Isaac Lab's many tensors become a `Snapshot`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicctl.envs.isaaclab import versions

if TYPE_CHECKING:
    import torch


class Rows:
    """Where each named part is in a row. A part is a tensor (N, ...); a row is (K,)."""

    def __init__(self, parts: Mapping[str, torch.Tensor]) -> None:
        self._parts: dict[str, tuple[slice, tuple[int, ...]]] = {}
        self.width = 0
        for name, value in parts.items():
            shape = tuple(value.shape[1:])
            size = math.prod(shape)
            self._parts[name] = slice(self.width, self.width + size), shape
            self.width += size

    def pack(self, parts: Mapping[str, torch.Tensor]) -> np.ndarray:
        """(N, K) float64, in one transfer from the simulator's device."""
        import torch

        flat = [parts[name].reshape(len(parts[name]), -1).to(torch.float32) for name in self._parts]
        return torch.cat(flat, dim=1).cpu().numpy().astype(np.float64)

    def read(self, rows: np.ndarray, name: str) -> np.ndarray:
        """(..., *shape) of one part, from rows (..., K)."""
        where, shape = self._parts[name]
        return rows[..., where].reshape((*rows.shape[:-1], *shape))

    def group(self, rows: np.ndarray, group: str) -> dict[str, np.ndarray]:
        """All parts called `group/...`, by what comes after the slash."""
        return {name.removeprefix(f"{group}/"): self.read(rows, name) for name in self._parts if name.startswith(f"{group}/")}


def flat(state: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """A nested state of Isaac Lab by path: `rigid_object/cube_1/root_pose`."""
    for name, value in state.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", versions.tensor(value)
