"""Comparing two policies that were rolled out on the same start states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb


@dataclass(frozen=True)
class PairedComparison:
    """How two policies did on the same start states.

    Attributes:
        both, only_first, only_second, neither: start states on which they succeeded.
        p_value: how likely a difference at least this large is if the policies are equally good; two-sided.
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    p_value: float

    @property
    def trials(self) -> int:
        return self.both + self.only_first + self.only_second + self.neither

    def __str__(self) -> str:
        difference = 100 * (self.only_first - self.only_second) / self.trials
        return (
            f"{difference:+.1f} points (first alone {self.only_first}, second alone {self.only_second}, "
            f"of {self.trials} start states; exact McNemar p = {self.p_value:.3g})"
        )


def compare_paired(first: Sequence[bool], second: Sequence[bool]) -> PairedComparison:
    """Compare successes, start state by start state. Sharper than two separate intervals.

    Args:
        first, second: success of each policy on start state i.

    Raises:
        ValueError: the lengths differ, or are 0.

    Source: McNemar (1947), in the exact binomial form: only the start states on which the policies differ count.
    """
    if len(first) != len(second) or not len(first):
        raise ValueError(f"need the same start states, at least one: {len(first)} and {len(second)}")
    counts = {(a, b): 0 for a in (True, False) for b in (True, False)}
    for a, b in zip(first, second, strict=True):
        counts[bool(a), bool(b)] += 1
    one, other = counts[True, False], counts[False, True]
    return PairedComparison(counts[True, True], one, other, counts[False, False], _exact_p(one, other))


def _exact_p(one: int, other: int) -> float:
    """Two-sided probability of a split at least as uneven from a fair coin."""
    tosses = one + other
    tail = sum(comb(tosses, k) for k in range(min(one, other) + 1))
    return min(1.0, 2 * tail / 2**tosses)
