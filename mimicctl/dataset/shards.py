"""The shards of a generation run back to the file that the run in one piece would have made."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimicctl.dataset.merge_plan import MergedRun, MergePlan, Move, Source, masks_of, require_fitting, source_of
from mimicctl.dataset.reader import Dataset
from mimicctl.errors import RunFailed, UserError, listed
from mimicctl.shard import Shard
from mimicctl.statistics import rate_text, wilson_interval
from mimicctl.tasks.fingerprint import KEY, changed_parts

_OWN = {"shard", "wanted"}
"""What the lineage of a shard has beyond that of the run."""


@dataclass(frozen=True)
class _ShardFile:
    """A shard as its file describes it.

    Attributes:
        shard: None for a file that is none.
        wanted: "trials" (successes, with the guarantee) and "attempts" of all shards together.
        run: the lineage that all shards of a run share.
        attempts: its log, and the lines in which it is stored.
        demo_trials: demo to the number of its trial.
    """

    path: Path
    shard: Shard | None
    wanted: dict[str, int]
    run: dict[str, Any]
    attempts: list[dict[str, Any]]
    lines: tuple[str, ...]
    demo_trials: dict[str, int | None]


def plan_shards(paths: Sequence[str | Path]) -> MergePlan:
    """Check that the files are all the shards of one run, each once and complete, and put their demos in the order of its trials.

    Raises:
        UserError: they are not; every reason is listed.
        RunFailed: they are, and have fewer successes together than were wanted.
    """
    with ExitStack() as stack:
        datasets = [stack.enter_context(Dataset(path, need_demos=False)) for path in paths]
        sources = tuple(map(source_of, datasets))
        files = [_described(dataset, source) for dataset, source in zip(datasets, sources, strict=True)]
        problems = [*_strangers(files)] or [*_gaps(files), *itertools.chain.from_iterable(map(_unfinished, files))]
        if problems:
            do = "generate --shard I/N --resume makes or completes a shard; give each once, all with the flags of one run"
            raise UserError("These files are not the whole of one run; nothing was written.", where=listed(problems), do=do)
        lines = {attempt["trial"]: line for file in files for attempt, line in zip(file.attempts, file.lines, strict=True)}
        attempts = sorted((attempt for file in files for attempt in file.attempts), key=lambda attempt: attempt["trial"])
        attempts, to_spare = _as_one_run(attempts, files[0])
        found = require_fitting(sources, common_keys=False)
    place = {trial: (i, demo) for i, file in enumerate(files) for demo, trial in file.demo_trials.items()}
    succeeded = [attempt["trial"] for attempt in attempts if attempt["success"]]
    moves = tuple(Move(*place[trial], f"demo_{number}") for number, trial in enumerate(succeeded))
    run = MergedRun(files[0].run, tuple(lines[attempt["trial"]] for attempt in attempts), to_spare)
    return MergePlan(sources, moves, (), found.common, (), masks_of(sources, moves), run)


def _described(dataset: Dataset, source: Source) -> _ShardFile:
    lineage = source.lineage
    try:
        shard, wanted = Shard.parse(lineage["shard"]), {key: int(lineage["wanted"][key]) for key in ("trials", "attempts")}
    except (KeyError, TypeError, ValueError):
        shard, wanted = None, {}
    return _ShardFile(
        path=source.path,
        shard=shard,
        wanted=wanted,
        run={key: value for key, value in lineage.items() if key not in _OWN},
        attempts=dataset.attempts(),
        lines=dataset.log,
        demo_trials={name: demo.lineage.get("trial") for name, demo in source.demos.items()},
    )


# What speaks against it ---------------------------------------------------------------------------------


def _strangers(files: Sequence[_ShardFile]) -> Iterator[str]:
    """Files that are no shard, or of another run than the first."""
    first = files[0]
    for file in files:
        if file.shard is None:
            yield f"{file.path}: not made by generate --shard"
        elif first.shard is not None:
            different = [key for key in {**first.run, **file.run} if key != KEY and first.run.get(key) != file.run.get(key)]
            different += [f"the task's {part}" for part in changed_parts(first.run, file.run)]
            different += [f"--{key}" for key in first.wanted if first.wanted[key] != file.wanted[key]]
            if file.shard.of != first.shard.of:
                different.append("the number of shards")
            if different:
                yield f"{file.path}: of another run than {first.path.name}; {', '.join(different)} differ"


def _gaps(files: Sequence[_ShardFile]) -> Iterator[str]:
    """Shards that are missing or there twice."""
    of, seen = files[0].shard.of, {}
    for file in files:
        if file.shard.index in seen:
            yield f"{file.path}: shard {file.shard} again, as in {seen[file.shard.index].name}"
        seen.setdefault(file.shard.index, file.path)
    for index in range(of):
        if index not in seen:
            yield f"{files[0].path.parent}: shard {index}/{of} is missing"


def _unfinished(file: _ShardFile) -> Iterator[str]:
    """Trials that are missing or not this shard's, and demos that the log does not know."""
    wanted, made = file.shard.numbers(file.wanted["attempts"]), [attempt.get("trial") for attempt in file.attempts]
    if made != list(wanted):
        missing = set(wanted) - set(made)
        yield (
            f"{file.path}: {len(missing)} of its {len(wanted)} trials are missing"
            if missing
            else f"{file.path}: its log has other trials than shard {file.shard}"
        )
    elif list(file.demo_trials.values()) != [attempt["trial"] for attempt in file.attempts if attempt["success"]]:
        yield f"{file.path}: its demos are not those that its log says succeeded"


# What the run in one piece would have -------------------------------------------------------------------


def _as_one_run(attempts: list[dict[str, Any]], shard: _ShardFile) -> tuple[list[dict[str, Any]], int]:
    """The attempts up to the last success that was wanted, and how many successes came after it."""
    if not any(attempt["success"] for attempt in attempts):
        raise RunFailed(f"None of the {len(attempts)} attempts of the shards succeeded.", do="mimicctl dataset info says why they failed")
    if not shard.run["settings"]["guarantee"]:
        return attempts, 0
    wanted = shard.wanted["trials"]
    places = [i for i, attempt in enumerate(attempts) if attempt["success"]]
    if len(places) < wanted:
        low, _ = wilson_interval(len(places), len(attempts))
        raise RunFailed(
            f"The shards have {len(places)} of {wanted} successes: {rate_text(len(places), len(attempts))}.",
            where=f"{shard.shard.of} shards of {len(attempts)} attempts",
            do=f"continue every shard: generate --shard I/{shard.shard.of} --resume --attempts {int(wanted / low) + 1}",
        )
    return attempts[: places[wanted - 1] + 1], len(places) - wanted
