"""Annotating a recording by hand, over as many sittings as it takes: what the terminal and the web page have in common.

What was marked is kept in `<output>.marks.json` beside the output, after every mark. The output is made from it in one piece.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mimicctl.annotation.auto import WAS_DISCARDED, DemoAnnotation, ends_in_success, refuse_unreplayable, replay, rises_of
from mimicctl.annotation.manual import Marks, Track, tracks_of
from mimicctl.annotation.output import annotation_output
from mimicctl.dataset.committed_file import write_lock
from mimicctl.dataset.masks import without_discarded
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.writer import checked_output, refuse_existing
from mimicctl.envs import make_env
from mimicctl.errors import RunFailed, UserError
from mimicctl.schema import Episode
from mimicctl.tasks import task_read_as

Verdict = Literal["", "accepted", "skipped"]

_KEPT_REPLAYS = 8
"""Replayed demos kept in memory, so that going back to one takes no time."""


@dataclass(frozen=True)
class Suggestion:
    """A step that is worth a look.

    Attributes:
        signal: of the env that becomes true here; "" if it is the gripper that moves.
    """

    step: int
    label: str
    signal: str = ""


@dataclass(frozen=True)
class Replayed:
    """A demo as it is looked at.

    Attributes:
        replayed: by "actions" or "states".
        snapshots: (T + 1, K).
        success: whether it ends in success.
        suggestions: in order.
    """

    name: str
    episode: Episode
    replayed: str
    snapshots: np.ndarray
    success: bool
    suggestions: tuple[Suggestion, ...]

    @property
    def digest(self) -> str:
        """What tells this demo from another of the same name."""
        return hashlib.sha256(np.ascontiguousarray(self.episode.actions).tobytes()).hexdigest()


@dataclass
class Judged:
    """What a person made of a demo."""

    digest: str
    marks: Marks
    verdict: Verdict = ""


class ManualSession:
    """One recording, one output. A context manager; while it is open nobody else can annotate to the same output.

    Args:
        task_id: "" to take the file's word for it.
        starts: mark where subtasks start too.
        resume: go on with what was marked before.
        overwrite: begin anew; the output is replaced when there is a new one.

    Raises:
        UserError: the input is no recording of a known task, or there is something already and neither `resume` nor `overwrite`.
    """

    def __init__(
        self, input_file: Path, output_file: str | Path, *, task_id: str = "", starts: bool = False, resume: bool = False, overwrite: bool = False
    ) -> None:
        self.input, self.output = Path(input_file), checked_output(output_file)
        self._notes = self.notes_of(self.output)
        with Dataset(self.input) as dataset:
            self.task = task_read_as(dataset.task_id, task_id)
            refuse_unreplayable(dataset, self.task)
            self.names = without_discarded(dataset)
        if not (resume or overwrite):
            refuse_existing(self._notes)
            refuse_existing(self.output)
        self.tracks = tracks_of(self.task, starts=starts)
        with ExitStack() as stack:
            stack.enter_context(write_lock(self.output))
            self._found_before = self._read() if resume else {}
            if resume and not self._found_before:
                refuse_existing(self.output, resumable=False)
            self.env = make_env(self.task)
            stack.callback(self.env.close)
            self._open = stack.pop_all()
        self._judged: dict[str, Judged] = {}
        self._replays: dict[str, Replayed] = {}
        self._unfit: dict[str, str] = {}

    @staticmethod
    def notes_of(output: Path) -> Path:
        """Where marks are kept while, and after, they are made into `output`."""
        return output.with_name(f"{output.stem}.marks.json")

    def __enter__(self) -> ManualSession:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others in. What was marked stays."""
        self._open.close()

    # Looking --------------------------------------------------------------------------------------------

    def look(self, name: str) -> Replayed:
        """A demo, replayed.

        Raises:
            UserError: it cannot be read or replayed.
        """
        if name not in self._replays:
            try:
                with Dataset(self.input) as dataset:
                    episode = dataset.episode(name, only=("actions", "states/", "initial_state/"))
                how, snapshots = replay(self.env, episode)
            except UserError as error:
                self._unfit[name] = error.what
                raise UserError(error.what, where=f"{name} of {self.input}", do="leave it out, or record it again") from None
            seen = Replayed(name, episode, how, snapshots, ends_in_success(self.env, snapshots), self._suggestions(episode, snapshots))
            self._replays = dict([*self._replays.items(), (name, seen)][-_KEPT_REPLAYS:])
        return self._replays[name]

    def problem(self, name: str) -> str:
        """Why a demo cannot be replayed; "" if it can."""
        try:
            self.look(name)
        except UserError as error:
            return error.what
        return ""

    def _suggestions(self, episode: Episode, snapshots: np.ndarray) -> tuple[Suggestion, ...]:
        found = [Suggestion(step, signal, signal) for signal, step in rises_of(self.env, self.task, snapshots).items() if step is not None]
        for eef, gripper in self.env.gripper_actions(episode.actions).items():
            if not gripper.shape[-1]:
                continue
            opens = gripper[:, 0] > 0
            whose = f"{eef} " if len(self.task.subtasks) > 1 else ""
            changes = np.flatnonzero(opens[1:] != opens[:-1]) + 1
            found += [Suggestion(int(step), f"{whose}gripper {'opens' if opens[step] else 'closes'}") for step in changes]
        return tuple(sorted(found, key=lambda suggestion: suggestion.step))

    def judged(self, name: str) -> Judged:
        """What was made of a demo so far. To change its marks, go through `mark`, `clear` and `undo`."""
        if name not in self._judged:
            seen = self.look(name)
            before = self._found_before.get(name)
            marks = Marks(self.tracks, len(seen.episode))
            self._judged[name] = Judged(seen.digest, marks)
            if before and before["actions_sha256"] == seen.digest and _fits(before["steps"], self.tracks, len(seen.episode)):
                marks.steps = before["steps"]
                self._judged[name].verdict = before["verdict"] if marks.complete() or before["verdict"] != "accepted" else ""
        return self._judged[name]

    def verdict(self, name: str) -> Verdict:
        """Without replaying the demo."""
        if name in self._judged:
            return self._judged[name].verdict
        return self._found_before.get(name, {}).get("verdict", "")

    # Changing: each is on disk before it returns ------------------------------------------------------------

    def mark(self, name: str, eef: str, number: int, step: int) -> str:
        """See `Marks.mark`. A demo that is changed has to be accepted again."""
        refusal = self.judged(name).marks.mark(eef, number, step)
        if not refusal:
            self._judge(name, "")
        return refusal

    def clear(self, name: str, eef: str, number: int) -> None:
        self.judged(name).marks.clear(eef, number)
        self._judge(name, "")

    def undo(self, name: str) -> int | None:
        marks = self.judged(name).marks
        if not marks.changed:
            return None
        step = marks.undo()
        self._judge(name, "")
        return step

    def accept(self, name: str) -> str:
        """Take the demo. Returns why not; "" if it is done."""
        missing = self.judged(name).marks.next()
        if missing:
            eef, number = missing
            return f"{self.tracks[eef].boundaries[number].label}: this is not marked yet"
        self._judge(name, "accepted")
        return ""

    def skip(self, name: str) -> None:
        """Leave the demo out."""
        self._judge(name, "skipped")

    def _judge(self, name: str, verdict: Verdict) -> None:
        self.judged(name).verdict = verdict
        self._write()

    # The notes ------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        demos = {
            **self._found_before,
            **{name: {"verdict": j.verdict, "steps": j.marks.steps, "actions_sha256": j.digest} for name, j in self._judged.items()},
        }
        notes = {"input": self.input.name, "task": self.task.task_id, "boundaries": self._boundaries(), "demos": demos}
        unfinished = self._notes.with_name(f".{self._notes.name}.unfinished")
        try:
            unfinished.write_text(json.dumps(notes, indent=1))
            os.replace(unfinished, self._notes)
        except OSError as error:
            raise RunFailed(f"The marks cannot be written: {error.strerror}.", where=str(self._notes), do="free some space; nothing else is lost") from None
        finally:
            unfinished.unlink(missing_ok=True)

    def _boundaries(self) -> dict[str, list[str]]:
        return {eef: [boundary.path for boundary in track.boundaries] for eef, track in self.tracks.items()}

    def _read(self) -> dict[str, Any]:
        """Demo to what was noted about it; empty if there are no notes."""
        try:
            notes = json.loads(self._notes.read_text())
            before, demos = notes["boundaries"], notes["demos"]
            sound = all({"verdict", "steps", "actions_sha256"} <= demo.keys() for demo in demos.values())
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, AttributeError, TypeError):
            sound = False
        if not sound:
            raise UserError("What was marked before cannot be read.", where=str(self._notes), do="--overwrite begins anew")
        if before != self._boundaries():
            what = "Something else was marked before: another task's subtasks, or with or without where they start."
            raise UserError(what, where=str(self._notes), do="repeat the flags of that session, or --overwrite to begin anew")
        return demos

    # The output -------------------------------------------------------------------------------------------------

    def finish(self, on_demo: Callable[[int, int], None] = lambda done, of: None) -> list[DemoAnnotation]:
        """Write what was accepted; the session can go on, and finish again.

        Args:
            on_demo: called with the number of demos written, and of those to write.

        Raises:
            RunFailed: nothing was accepted, or a demo is not the one that was marked.
        """
        accepted = [name for name in self.names if self.verdict(name) == "accepted"]
        found = []
        with Dataset(self.input) as dataset, annotation_output(dataset, self.task, self.env.sim_args, str(self.output), "manual", overwrite=True) as output:
            for name in dataset.demos:
                annotation, annotated = self._annotated(name)
                if annotated is not None:
                    annotation = dataclasses.replace(annotation, written_as=output.write(name, dataset.episode(name), annotated, dataset.demo_sha256(name)))
                    on_demo(len(output.writer), len(accepted))
                found.append(annotation)
            if not len(output.writer):
                raise RunFailed("No demonstration was accepted; nothing was written.", where=str(self.input), do="mark and accept one, or record again")
        return found

    def _annotated(self, name: str) -> tuple[DemoAnnotation, Episode | None]:
        unmarked = {_column(boundary): None for track in self.tracks.values() for boundary in track.boundaries}
        if self.verdict(name) != "accepted":
            return DemoAnnotation(name, "", "-", unmarked, self._why_left_out(name)), None
        judged, seen = self.judged(name), self.look(name)
        if judged.digest != seen.digest or judged.verdict != "accepted":
            return DemoAnnotation(name, "", "-", unmarked, "it is not the demo that was marked"), None
        annotated = self.env.episode(seen.snapshots, seen.episode.actions, with_datagen_info=True)
        annotated.datagen_info |= judged.marks.signals()
        annotated.success = seen.success
        steps = [step for eef in self.tracks for step in judged.marks.steps[eef]]
        return DemoAnnotation(name, "", seen.replayed, dict(zip(unmarked, steps, strict=True)), ""), annotated

    def _why_left_out(self, name: str) -> str:
        if name not in self.names:
            return WAS_DISCARDED
        if self.verdict(name) == "skipped":
            return "skipped by the annotator"
        return self._unfit.get(name, "not reached before the end")


def _column(boundary) -> str:
    return f"{boundary.signal} starts" if boundary.kind == "start" else boundary.signal


def _fits(steps: Any, tracks: dict[str, Track], length: int) -> bool:
    """Whether noted steps are those of a demo of this length, in order."""
    if not isinstance(steps, dict) or steps.keys() != tracks.keys():
        return False
    marks = Marks(tracks, length)
    for eef, noted in steps.items():
        if not isinstance(noted, list) or len(noted) != len(tracks[eef].boundaries):
            return False
        for number, step in enumerate(noted):
            if step is not None and (not isinstance(step, int) or marks.mark(eef, number, step)):
                return False
    return True
