"""Isaac Lab 3.0's own HDF5 file handler reads our files.

The handler is imported without the rest of Isaac Lab, which wants a simulator: it needs torch, numpy and h5py only.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from mimicctl.config import GenerateSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.generation.engine import generate
from mimicctl.tasks import DEFAULT_TASK

pytestmark = pytest.mark.isaaclab


@pytest.fixture(scope="module")
def handler_class():
    spec = importlib.util.find_spec("isaaclab")
    assert spec is not None, "pip install --no-deps isaaclab==3.0.0"
    root = Path(spec.origin).parent
    whole = _taken_out()
    for name, folder in (("isaaclab", root), ("isaaclab.utils", root / "utils"), ("isaaclab.utils.datasets", root / "utils" / "datasets")):
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    yield importlib.import_module("isaaclab.utils.datasets.hdf5_dataset_file_handler").HDF5DatasetFileHandler
    _taken_out()
    sys.modules.update(whole)


def _taken_out() -> dict[str, types.ModuleType]:
    """What of Isaac Lab is imported, no longer so: other tests of this process import the whole of it."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "isaaclab"}


@pytest.fixture
def generated(tmp_path) -> Path:
    settings = GenerateSettings(output_file=str(tmp_path / "a.hdf5"), trials=100)
    return generate(DEFAULT_TASK, 1, settings, None).path


@pytest.mark.parametrize("kind", ["source_file", "generated"])
def test_every_episode_is_loaded_with_every_value(handler_class, request, kind):
    path = request.getfixturevalue(kind)
    handler = handler_class()
    handler.open(str(path))
    with Dataset(path) as dataset:
        assert sorted(handler.get_episode_names()) == sorted(dataset.demos)
        assert handler.get_env_name() == dataset.task_id
        for name in dataset.demos:
            loaded, ours = handler.load_episode(name, "cpu"), dataset.episode(name)
            assert loaded.success == ours.success
            np.testing.assert_array_equal(loaded.data["actions"].numpy(), ours.actions)
            state = loaded.data["initial_state"]["rigid_object"]["cube_1"]["root_pose"].numpy()
            np.testing.assert_array_equal(state, ours.initial_state["rigid_object/cube_1/root_pose"])
            assert set(loaded.data["obs"]) - {"datagen_info"} == set(ours.obs)
    handler.close()
