"""What data is recorded under: switches of the robot, and versions. Data of other conditions fits, but a policy may not find what it learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SWING_CANCELLATION, CONTROLLER_VERSION, FORMAT_VERSION = "swing_cancellation", "controller_version", "format_version"

OF_THE_ENV = (SWING_CANCELLATION, CONTROLLER_VERSION)
"""Those that an env says of itself (`MimicEnv.sim_args`)."""

MIXED = "mixed"
"""In place of a condition's value: some demos of the file have one, some another."""


def conditions_of(env_args: Mapping[str, Any]) -> dict[str, Any]:
    """Those that a file's or a checkpoint's `env_args` name; older ones name none."""
    said = env_args.get("sim_args")
    return {key: said[key] for key in OF_THE_ENV if key in said} if isinstance(said, Mapping) else {}


def joined(env_args: Mapping[str, Any], lineage: Mapping[str, Any], *, first: bool) -> dict[str, Any]:
    """`env_args` of a file once it has a demo more, whose lineage says what it was recorded under. What its demos do not agree in is "mixed".

    Args:
        first: the file has no other demos.
    """
    said, now = conditions_of(env_args), conditions_of({"sim_args": lineage})
    agreed = {key: now[key] if first or said[key] == now[key] else MIXED for key in said.keys() & now.keys()}
    return {**env_args, "sim_args": {**env_args["sim_args"], **agreed}} if agreed else dict(env_args)


def changes(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What is not as it was, as in "swing cancellation was on and is off"; "" if nothing is, or nothing is known.

    Of versions the first number counts: under the same one a policy finds what it learnt.
    """
    both = [key for key in recorded if key in now]
    return "; ".join(f"{key.replace('_', ' ')} was {_said(recorded[key])} and is {_said(now[key])}" for key in both if _same(recorded[key]) != _same(now[key]))


def _same(value: Any) -> Any:
    return value if isinstance(value, bool) else str(value).partition(".")[0]


def _said(value: Any) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
