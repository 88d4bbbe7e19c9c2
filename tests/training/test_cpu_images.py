"""Faster image encoders: what they compute, and that a checkpoint does not show them."""

from __future__ import annotations

import copy

import pytest

from mimicctl.training import cpu_images
from mimicctl.training import robomimic_seam as seam
from mimicctl.training.recipes import RECIPES
from tests.training.images import IMAGE_RECIPES, small

pytestmark = pytest.mark.train

SHAPES = {"eef_pos": (3,), "eef_quat": (4,), "gripper_pos": (2,), "joint_vel": (9,), "table_cam": (3, 36, 36), "wrist_cam": (3, 36, 36)}


@pytest.fixture(scope="module", autouse=True)
def robomimic():
    seam.import_robomimic()


def encoders(tmp_path, recipe: str, **changes: object):
    """Those of a new policy, and a copy of them."""
    import torch
    from robomimic.models.obs_core import VisualCore

    torch.manual_seed(3)
    config = seam.config_of(small(RECIPES[recipe]), tmp_path, tmp_path, 1)
    seam.set_crop(config, 32, 32)
    with config.unlocked():
        for key, value in changes.items():
            config.observation.encoder.rgb.core_kwargs.pool_kwargs[key] = value
    shapes = {key: shape for key, shape in SHAPES.items() if key in (*RECIPES[recipe].obs_keys, *RECIPES[recipe].rgb_keys)}
    nets = seam.make_algo(config, shapes, 7, "cpu").nets
    nets.eval()
    return [[module for module in each.modules() if isinstance(module, VisualCore)] for each in (nets, copy.deepcopy(nets))], nets


@pytest.mark.parametrize("recipe", IMAGE_RECIPES)
@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("changes", [{}, {"output_variance": False, "temperature": 0.5}], ids=["plain keypoints", "others"])
def test_the_same_function_to_rounding(tmp_path, monkeypatch, recipe, bfloat16, changes):
    import torch

    (fast, stock), nets = encoders(tmp_path, recipe, **changes)
    monkeypatch.setattr(cpu_images, "computes_in_bfloat16", lambda: bfloat16)
    assert cpu_images.hasten(nets) == ("bfloat16" if bfloat16 else "float32")
    images = torch.randn(5, 3, 32, 32)
    for ours, theirs in zip(fast, stock, strict=True):
        features, expected = ours(images), theirs(images)
        assert features.dtype == torch.float32
        tolerance = 0.03 if bfloat16 else 1e-5
        assert (features - expected).abs().max() < tolerance * expected.abs().max()
        features.square().mean().backward()
        expected.square().mean().backward()
        for (name, weight), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            if weight.requires_grad and other.grad.norm() > 1e-6:
                cosine = torch.nn.functional.cosine_similarity(weight.grad.flatten(), other.grad.flatten(), dim=0)
                assert cosine > (0.97 if bfloat16 else 0.9999), name


def test_the_weights_are_those_of_the_stock_network(tmp_path):
    import torch

    _, nets = encoders(tmp_path, "image-mlp")
    before = {key: value.clone() for key, value in nets.state_dict().items()}
    cpu_images.hasten(nets)
    after = nets.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[key], before[key]) for key in before)
