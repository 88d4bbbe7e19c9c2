"""What a run has made so far, in the file and counted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mimicctl.crew import Activity
from mimicctl.dataset.frames import Frames
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.errors import RunFailed
from mimicctl.generation.status import last_failures
from mimicctl.generation.trial import TrialResult
from mimicctl.processes import interruptions_wait
from mimicctl.statistics import wilson_interval


class Ledger:
    """Counts, the attempts log, and what is not committed yet.

    Args:
        max_failures: the cap on failures; None for none.
        goal: what is counted, "attempts" or "successes", and up to how many.
        done: attempts that the file has from before.
        on_progress: called with attempts and successes so far.
    """

    def __init__(self, max_failures: int | None, goal: tuple[str, int], done: list[dict[str, Any]], on_progress: Callable[[int, int], None]) -> None:
        self.attempts = list(done)
        self.successes = sum(attempt["success"] for attempt in done)
        self._max_failures, self._on_progress = max_failures, on_progress
        self._counted, self._goal = goal
        self._uncommitted: list[str] = []
        self._began, self._before = time.monotonic(), (len(self.attempts), self.successes)
        on_progress(len(self.attempts), self.successes)

    def _count(self) -> int:
        return self.successes if self._counted == "successes" else len(self.attempts)

    def complete(self) -> bool:
        return self._count() >= self._goal

    def status(self, activity: Activity, path: Path) -> dict[str, Any]:
        """For the status file."""
        attempts, successes = len(self.attempts), self.successes
        hours = max(time.monotonic() - self._began, 1e-6) / 3600
        low, high = wilson_interval(successes, attempts)
        speed = (self._count() - self._before[self._counted == "successes"]) / hours
        return {
            "file": str(path),
            "trials_begun": activity.begun,
            "trials_done": attempts,
            "successes": successes,
            "success_rate": successes / attempts if attempts else None,
            "success_rate_95": [low, high],
            "goal": {self._counted: self._goal},
            "demos_per_hour": round((successes - self._before[1]) / hours, 1),
            "eta_seconds": round(3600 * max(0, self._goal - self._count()) / speed, 1) if speed else None,
            "workers_alive": activity.workers,
            "last_failures": last_failures(self.attempts),
        }

    def take(
        self, result: TrialResult, frames: dict[str, Frames], writer: DatasetWriter, failed: DatasetWriter | None, sha256_of: Callable[[str], str]
    ) -> None:
        """Count a trial, log it, and write its episode if it is to be kept.

        Args:
            sha256_of: by which a source demo is known in lineages.
        """
        record = result.record()
        self._uncommitted.append(json.dumps(record))
        if result.episode is not None:
            used = dict.fromkeys(name for names in result.sources.values() for name in names)
            lineage = {key: record[key] for key in ("trial", "pool", "sources") if key in record}
            result.episode.lineage = {**lineage, "source_sha256": {name: sha256_of(name) for name in used}}
        with interruptions_wait():  # what the file has is what is counted
            if result.success:
                writer.write(result.episode, self._uncommitted, frames)
                self._uncommitted = []
            elif failed is not None:
                failed.write(result.episode)
                self.commit_rest(writer)
            self.attempts.append(record)
            self.successes += result.success
        self._on_progress(len(self.attempts), self.successes)
        self._check_failures(writer)

    def commit_rest(self, writer: DatasetWriter) -> None:
        if self._uncommitted:
            writer.log_attempts(self._uncommitted)
            self._uncommitted = []

    def _check_failures(self, writer: DatasetWriter) -> None:
        failures = len(self.attempts) - self.successes
        cap = self._max_failures
        if cap is not None and failures >= cap and not self.complete():
            self.commit_rest(writer)
            raise RunFailed(
                f"{failures} attempts failed, the most that --max-failures allows; {self.successes} demonstrations were made.",
                where=str(writer.path),
                do="see what failed with mimicctl dataset info, then --resume with a higher --max-failures",
            )
