"""Whether a task keeps what the data loop relies on: its spec, every method of its env, and demonstrations of it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimicctl.authoring.attempts import attempts_of_operator
from mimicctl.authoring.demo_checks import OF_DEMOS, attempts_in, operator
from mimicctl.authoring.env_checks import OF_THE_ENV, OF_THE_START
from mimicctl.authoring.spec_checks import OF_THE_SPEC
from mimicctl.authoring.wrong import Wrong
from mimicctl.envs import make_env
from mimicctl.envs.replay import by_actions
from mimicctl.errors import UserError
from mimicctl.tasks import TaskSpec


@dataclass(frozen=True)
class Finding:
    """What came of one check.

    Attributes:
        what: what was seen, or what is wrong.
        do: what to do about it; "" if nothing is.
    """

    check: str
    ok: bool
    what: str
    do: str = ""


def check_task(
    task: TaskSpec,
    *,
    resets: int = 10,
    seed: int = 1,
    input_file: Path | None = None,
    on_attempt: Callable[[int], None] = lambda done: None,
) -> list[Finding]:
    """All checks, in an order in which a fault comes before what follows from it: after one in the spec the env is left out, and after one in the env
    the demonstrations are.

    Args:
        resets: start states on which the scripted operator tries.
        input_file: demonstrations to look at instead of the operator's.
        on_attempt: called with the number of attempts that have ended.

    Raises:
        UserError: the input file is not one of this task, or something that its env needs is not installed.
    """
    findings: list[Finding] = []

    def run(checks: Sequence[tuple[str, Callable[[], str]]]) -> bool:
        findings.extend(_finding(name, check) for name, check in checks)
        return all(finding.ok for finding in findings)

    if not run([(name, functools.partial(check, task)) for name, check in OF_THE_SPEC]):
        return findings
    try:
        env = make_env(task, 2)
    except UserError:
        # Something is not installed, which is no fault of the task.
        raise
    except Exception as error:
        what = f"it cannot be made ({type(error).__name__}: {error})"
        return [*findings, Finding("env", False, what, "look at the sizes, home and objects in the task file")]
    try:
        for stage in (OF_THE_START, OF_THE_ENV):
            if not run([(name, functools.partial(check, env, seed)) for name, check in stage]):
                return findings
        if input_file is None:
            attempts = list(attempts_of_operator(env, resets, seed, on_attempt))
            run([("scripted operator", lambda: operator(env, attempts))])
            attempts = [attempt for attempt in attempts if attempt.saved]
        else:
            attempts = list(attempts_in(input_file, task))
        demos = [(attempt, np.stack(list(by_actions(env, attempt.episode)))) for attempt in attempts]
        if demos:
            run([(name, functools.partial(check, env, demos)) for name, check in OF_DEMOS])
    finally:
        env.close()
    return findings


def _finding(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except Wrong as wrong:
        return Finding(name, False, wrong.what, wrong.do)
    except Exception as error:
        # A check calls whatever the env does; that it raises is what is wrong.
        return Finding(name, False, f"{type(error).__name__}: {error}", "mend the env, or what the task file gives it")


def is_complete(findings: Sequence[Finding]) -> bool:
    """Whether no check was left out because of a fault before it."""
    return findings[-1].check == OF_DEMOS[-1][0]


def as_dict(task: TaskSpec, findings: Sequence[Finding]) -> dict[str, object]:
    """For --json."""
    return {"task": task.task_id, "ok": all(f.ok for f in findings), "complete": is_complete(findings), "checks": [dataclasses.asdict(f) for f in findings]}
