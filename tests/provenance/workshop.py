"""A workspace as the data loop leaves it, from synthetic episodes: three operators, annotation, generation, augmentation, merging."""

from __future__ import annotations

import json
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimicctl.dataset.merge import merge
from mimicctl.dataset.reader import Dataset, file_sha256
from mimicctl.dataset.writer import DatasetWriter, copy_demo
from mimicctl.generation.engine import describe_sources
from mimicctl.generation.ledger import Ledger
from mimicctl.generation.trial import TrialResult
from mimicctl.schema import LINEAGE_ATTR
from tests.episodes import make_episode

TASK = "MuJoCo-Stack-Cube-Franka-IK-Rel-v0"
OPERATORS = ["ada"] * 4 + ["bert"] * 3 + ["cleo"] * 3
SUBTASKS = ("grasp_1", "stack_1", "grasp_2", "stack_2")


@dataclass
class Workshop:
    """The files of a workspace, and who supplied which trial (by the draws that made them, not by what the files say)."""

    folder: Path
    used: dict[int, set[str]]

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.hdf5"


def make_workshop(folder: Path, trials: int = 30, *, copies: int = 10, seed: int = 0) -> Workshop:
    """dataset, annotated, generated, augmented and merged in a folder."""
    folder.mkdir(exist_ok=True)
    shop = Workshop(folder, {})
    record(shop.path("dataset"))
    annotate(shop.path("dataset"), shop.path("annotated"))
    generate(shop, trials, seed)
    augment(shop.path("generated"), shop.path("augmented"), copies)
    merge([shop.path("generated"), shop.path("augmented")], shop.path("merged"))
    return shop


def record(path: Path) -> None:
    lineage = {"made_by": "mimicctl record", "version": "test", "task": TASK, "seed": 1}
    with DatasetWriter(path, task_id=TASK, lineage=lineage) as writer:
        for i, operator in enumerate(OPERATORS):
            about = {"made_by": "mimicctl record", "device": "spacemouse", "operator": operator, "consent_id": f"C-{operator}", "human": True, "attempt": i}
            writer.write(make_episode(1000 + i, lineage=about))


def annotate(recording: Path, path: Path) -> None:
    with Dataset(recording) as dataset:
        inputs = [{"file": recording.name, "sha256": dataset.content_hash(), "lineage": dataset.lineage}]
        lineage = {"made_by": "mimicctl annotate", "version": "test", "task": TASK, "method": "auto", "inputs": inputs}
        with DatasetWriter(path, task_id=TASK, lineage=lineage) as writer:
            for name, episode in dataset.episodes():
                episode.datagen_info = {"subtask_term_signals/grasp_1": np.arange(len(episode)) > 5}
                episode.lineage = {"parent": {"demo": name, **episode.lineage}}
                writer.write(episode, parent=dataset.demo_sha256(name))


def generate(shop: Workshop, trials: int, seed: int) -> None:
    """Every fifth trial fails. The lineage is what generation writes, by its own functions."""
    rng = np.random.default_rng(seed)
    with Dataset(shop.path("annotated")) as dataset:
        described = describe_sources(dataset, dataset.demos)
    subtasks = {"franka": [{"name": name} for name in SUBTASKS]}
    lineage = {"made_by": "mimicctl generate", "version": "test", "task": TASK, "seed": seed, "settings": {}, "subtasks": subtasks, "inputs": [described]}
    with DatasetWriter(shop.path("generated"), task_id=TASK, lineage=lineage) as writer:
        ledger = Ledger(None, ("attempts", 10 * trials), [], lambda attempts, successes: None)
        trial = 0
        while len(writer) < trials:
            success = trial % 5 != 4
            chosen = [int(i) for i in rng.choice(len(OPERATORS), size=len(SUBTASKS), p=WEIGHTS)]
            names = tuple(f"demo_{i}" for i in chosen[: len(SUBTASKS) if success else 2])
            if success:
                shop.used[len(writer)] = {OPERATORS[i] for i in chosen}
            episode = make_episode(5000 + trial) if success else None
            result = TrialResult(trial, success, {"franka": names}, {"cube_1": (0.5, 0.0, 0.1)}, {"franka": 4}, "", "", 20, {}, 0, None, episode)
            ledger.take(result, {}, writer, None, lambda name: described["demos"][name]["sha256"])
            trial += 1
        ledger.commit_rest(writer)


WEIGHTS = np.array([8, 8, 8, 8, 1, 1, 1, 4, 4, 4]) / 47
"""How likely each source is: bert's are used in some demos, and not in most."""


def augment(source: Path, path: Path, copies: int) -> None:
    """Copies with an observation more, in the form in which `mimicctl augment` tells of its own."""
    with Dataset(source) as dataset:
        inputs = [{"file": source.name, "file_sha256": file_sha256(source), "lineage": dataset.lineage}]
        lineage = {"made_by": "mimicctl augment", "version": "test", "task": TASK, "seed": 1, "inputs": inputs}
        with DatasetWriter(path, task_id=TASK, lineage=lineage) as writer:
            for i, name in enumerate(dataset.demos[:copies]):

                def fill(target, name=name, i=i):
                    copy_demo(dataset.group(name), target, leave_out=("eef_pos",))
                    target["obs"]["eef_pos"] = np.random.default_rng(i).normal(size=(dataset.length(name), 3)).astype(np.float32)
                    about = {"parent": {"demo": name, **dataset.demo_lineage(name)}, "augmented": {"engine": "test", "copy": 0}}
                    target.attrs[LINEAGE_ATTR] = json.dumps(about)

                writer.append(fill, dataset.length(name), parent=dataset.demo_sha256(name))


def fake_run(folder: Path, dataset: Path, names: list[str], *, epochs: int = 1) -> Path:
    """A run folder with a checkpoint in torch's format, made without torch."""
    with Dataset(dataset) as opened:
        demos = {"train": [opened.demo_sha256(name) for name in names], "valid": []}
    facts = {
        "dataset": {"file": str(dataset), "sha256": "?", "lineage": {}, "demos": demos},
        "recipe": {"name": "mlp", "description": "a network", "epochs": epochs, "batch_size": 16},
        "action_range": [-1.0, 1.0],
        "seed": 5,
    }
    for part in ("models", "logs", "videos/model_epoch_1"):
        (folder / part).mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "lineage.json").write_text(json.dumps(facts))
    (folder / "logs" / "normalization_params.txt").write_text("min: -1\nmax: 1\n")
    (folder / "videos" / "model_epoch_1" / "rollout_000_success.mp4").write_bytes(b"film")
    fake_checkpoint(folder / "models" / "model_epoch_1.pth", {"mimicctl": facts, "model": {}})
    fake_checkpoint(folder / "training_state.pth", {"epoch": 1})
    return folder


def fake_checkpoint(path: Path, contents: object) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(contents, protocol=2))
        archive.writestr("archive/data/0", bytes(range(256)))
    path.chmod(0o600)
