"""Our files in robomimic's own dataset class."""

from __future__ import annotations

import numpy as np
import pytest

from mimicctl.dataset.split import split_file
from mimicctl.dataset.writer import DatasetWriter
from tests.episodes import make_episode

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def sequence_dataset():
    torch = pytest.importorskip("torch")
    try:
        import torchvision  # noqa: F401  to see that it loads
    except RuntimeError:  # its compiled operators need the CUDA build of torch; robomimic uses none of them
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return pytest.importorskip("robomimic.utils.dataset").SequenceDataset


@pytest.mark.parametrize("mask", ["train", "valid"])
def test_robomimic_iterates_our_file_by_mask(tmp_path, sequence_dataset, mask):
    import robomimic.utils.obs_utils as obs_utils

    keys = ["eef_pos", "eef_quat", "gripper_pos", "object"]
    episodes = [make_episode(i, steps=15 + i) for i in range(12)]
    with DatasetWriter(tmp_path / "a.hdf5", task_id="t", lineage={}) as writer:
        for episode in episodes:
            writer.write(episode)
    names = split_file(tmp_path / "a.hdf5")[mask]
    obs_utils.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": keys, "rgb": []}})
    dataset = sequence_dataset(
        hdf5_path=str(tmp_path / "a.hdf5"), obs_keys=keys, dataset_keys=["actions"], seq_length=10, frame_stack=1,
        hdf5_cache_mode="low_dim", hdf5_use_swmr=False, hdf5_normalize_obs=False, filter_by_attribute=mask, load_next_obs=False,
    )  # fmt: skip
    chosen = [episodes[int(name[5:])] for name in names]
    assert len(dataset) == sum(len(episode) for episode in chosen)
    first = dataset[0]
    np.testing.assert_array_equal(first["actions"], chosen[0].actions[:10])
    np.testing.assert_array_equal(first["obs"]["object"], chosen[0].obs["object"][:10])
