"""Comparisons agree with scipy's exact binomial test."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from mimicctl.evaluation.statistics import compare_paired


def outcomes(both: int, one: int, other: int, neither: int) -> tuple[list[bool], list[bool]]:
    first = [True] * (both + one) + [False] * (other + neither)
    second = [True] * both + [False] * one + [True] * other + [False] * neither
    return first, second


@pytest.mark.parametrize(("one", "other"), [(10, 2), (2, 10), (1, 0), (7, 7), (30, 11), (600, 500)])
def test_p_value_is_that_of_a_fair_coin(one, other):
    compared = compare_paired(*outcomes(40, one, other, 8))
    assert compared.p_value == pytest.approx(binomtest(one, one + other).pvalue, abs=1e-12)
    assert (compared.both, compared.only_first, compared.only_second, compared.neither) == (40, one, other, 8)
    assert compared.trials == 48 + one + other


def test_policies_that_never_differ_show_no_difference():
    assert compare_paired(*outcomes(5, 0, 0, 5)).p_value == 1.0


def test_order_of_the_policies_turns_the_sign_alone():
    first, second = outcomes(80, 12, 3, 5)
    here, there = compare_paired(first, second), compare_paired(second, first)
    assert here.p_value == there.p_value
    assert str(here).startswith("+9.0 points") and str(there).startswith("-9.0 points")


@pytest.mark.parametrize(("first", "second"), [([], []), ([True], [True, False])])
def test_other_start_states_are_refused(first, second):
    with pytest.raises(ValueError, match="same start states"):
        compare_paired(first, second)
