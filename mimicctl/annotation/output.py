"""The file that annotated demonstrations go to; it appears when all is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mimicctl
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.writer import DatasetWriter, checked_output, partial_path, refuse_existing
from mimicctl.envs.conditions import conditions_of
from mimicctl.schema import Episode
from mimicctl.tasks import TaskSpec
from mimicctl.tasks.fingerprint import KEY, fingerprint


@dataclass
class AnnotationOutput:
    """An open output; `path` is where it ends up."""

    path: Path
    writer: DatasetWriter

    def write(self, name: str, recorded: Episode, annotated: Episode, sha256: str) -> str:
        """Write an annotated demo with the lineage of the recording it is `name` of, and is known there by `sha256`."""
        annotated.seed = recorded.seed
        annotated.lineage = {"parent": {"demo": name, **recorded.lineage}}
        return self.writer.write(annotated, parent=sha256)


@contextmanager
def annotation_output(
    dataset: Dataset, task: TaskSpec, sim_args: dict[str, float], output_file: str, method: str, *, overwrite: bool
) -> Iterator[AnnotationOutput]:
    """Written beside the target and renamed at the end; an exception leaves the target as it was.

    Raises:
        UserError: the target exists and is not to be replaced.
    """
    path = checked_output(output_file)
    if not overwrite:
        refuse_existing(path)
    partial = partial_path(path)
    partial.unlink(missing_ok=True)
    lineage = {
        "made_by": "mimicctl annotate",
        "version": mimicctl.__version__,
        "task": task.task_id,
        KEY: fingerprint(task),
        "method": method,
        "inputs": [{"file": dataset.path.name, "sha256": dataset.content_hash(), "lineage": dataset.lineage}],
    }
    writer = DatasetWriter(partial, task_id=task.task_id, lineage=lineage, env_args={"sim_args": {**sim_args, **conditions_of(dataset.env_args)}})
    try:
        yield AnnotationOutput(path, writer)
        if len(writer):
            writer.finish(path)
    finally:
        writer.close()
        partial.unlink(missing_ok=True)
