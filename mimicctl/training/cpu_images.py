"""robomimic's image encoders, faster on a CPU: the same weights and, to rounding, the same function.

A robomimic policy on a CPU spends nearly all of its time in the convolutions and in the spatial softmax behind them. Three things are
done here to the network in memory, none of which a checkpoint shows: images lie channels last, which is what the CPU's kernels are made for;
convolutions are in bfloat16 where the CPU computes in it; and the softmax over positions leaves the maps as they lie, and finds its two
expected coordinates by one product of matrices. Keypoints and all behind them stay float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def hasten(nets: torch.nn.Module) -> str:
    """Alter the image encoders within a robomimic policy that is trained on a CPU.

    Returns:
        The number format of the convolutions: "bfloat16", or "float32" on a CPU that would have to imitate bfloat16.
    """
    from robomimic.models.obs_core import VisualCore

    in_bfloat16 = computes_in_bfloat16()
    for core in nets.modules():
        if isinstance(core, VisualCore):
            keypoints = _has_plain_keypoints(core)
            _hasten_backbone(core.backbone, in_bfloat16, back_to_float=not keypoints)
            if keypoints:
                _hasten_keypoints(core.pool, in_bfloat16)
    return "bfloat16" if in_bfloat16 else "float32"


def computes_in_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16 (AVX-512 BF16 or AMX)."""
    import torch

    # Of torch itself, and not public; without them it is float32.
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(ask is not None and ask() for ask in asked)


def _has_plain_keypoints(core: torch.nn.Module) -> bool:
    """Whether the encoder pools by a spatial softmax at temperature 1 that gives positions alone and adds no noise to them."""
    from robomimic.models.base_nets import SpatialSoftmax

    pool = core.pool
    if type(pool) is not SpatialSoftmax or pool.nets is None or pool.output_variance or pool.noise_std:
        return False
    return not pool.learnable_temperature and float(pool.temperature) == 1.0


def _hasten_backbone(backbone: torch.nn.Module, in_bfloat16: bool, back_to_float: bool) -> None:
    import torch

    stock = backbone.forward
    backbone.to(memory_format=torch.channels_last)

    def forward(images: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
            maps = stock(images.contiguous(memory_format=torch.channels_last))
        return maps.float() if back_to_float else maps

    backbone.forward = forward


def _hasten_keypoints(pool: torch.nn.Module, in_bfloat16: bool) -> None:
    """Deep spatial autoencoders, Finn et al., 2016: a keypoint is where a map expects to be, under its softmax over all positions."""
    import torch

    pool.nets.to(memory_format=torch.channels_last)

    def forward(maps: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
            logits = pool.nets(maps)
        attention = torch.softmax(logits.permute(0, 2, 3, 1).flatten(1, 2), dim=1, dtype=torch.float32)  # (n, positions, keypoints)
        return torch.cat([pool.pos_x, pool.pos_y]).matmul(attention).transpose(1, 2)

    pool.forward = forward
