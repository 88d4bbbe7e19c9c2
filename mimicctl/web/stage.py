"""Recorded demos as frames of the 3-D view."""

from __future__ import annotations

import threading

import numpy as np

from mimicctl.envs import make_env
from mimicctl.envs.replay import by_actions, by_states
from mimicctl.errors import UserError
from mimicctl.schema import Episode
from mimicctl.tasks import TaskSpec, canonical_id, family_of, list_tasks
from mimicctl.web.scene import SceneModel


class Stages:
    """One stage a task, made when it is first needed; used by one thread at a time."""

    def __init__(self) -> None:
        self._stages: dict[str, _Stage] = {}
        self._lock = threading.Lock()

    def description(self, task_id: str) -> bytes:
        """See `SceneModel.description`.

        Raises:
            UserError: the scene of this task is not known here.
        """
        with self._lock:
            return self._of(viewed_as(task_id)).description

    def frames(self, task_id: str, episode: Episode) -> np.ndarray:
        """(T + 1, B, 7) float32 of an episode: from its recorded states, or from its actions if it has none.

        Raises:
            UserError: the episode does not fit the task's scene.
        """
        task = viewed_as(task_id)
        if not episode.initial_state:
            raise UserError("The demonstration has no states, so there is nothing to show in 3-D.", do="record it again, or look at its images and plots")
        with self._lock:
            stage = self._of(task)
            try:
                snapshots = np.stack(list(by_states(stage.env, episode) if episode.states else by_actions(stage.env, episode)))
            except (KeyError, ValueError) as error:
                raise UserError(f"The states do not fit the scene of {task.task_id}: {error}", do="look at its images and plots") from None
            return stage.model.frames(snapshots[:, : stage.model.nq])

    def frames_of(self, task: TaskSpec, snapshots: np.ndarray) -> np.ndarray:
        """(T, B, 7) float32 of snapshots (T, K)."""
        with self._lock:
            model = self._of(task).model
            return model.frames(snapshots[:, : model.nq])

    def _of(self, task: TaskSpec) -> _Stage:
        if task.task_id not in self._stages:
            self._stages[task.task_id] = _Stage(task)
        return self._stages[task.task_id]


class _Stage:
    def __init__(self, task: TaskSpec) -> None:
        self.model, self.env = SceneModel(task), make_env(task)
        self.description = self.model.description()


def viewed_as(task_id: str) -> TaskSpec:
    """The task of a file, or one of its family, such as that of Isaac Lab's twin.

    Raises:
        UserError: there is none here.
    """
    candidates = sorted(list_tasks(), key=lambda task: task.task_id != canonical_id(task_id))
    found = next((task for task in candidates if task_id and family_of(task.task_id) == family_of(task_id)), None)
    if found is None:
        raise UserError(f"The scene of {task_id or 'this file, which names no task,'} is not known here.", do="look at its images and plots")
    return found
