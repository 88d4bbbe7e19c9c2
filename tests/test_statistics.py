"""Intervals agree with scipy's."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from mimicctl.statistics import rate_text, wilson_interval


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (7, 12), (970, 1000), (1, 3)])
def test_wilson_interval_is_scipys(successes, trials):
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson_interval(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_no_trials_say_nothing():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert rate_text(0, 0) == "no trials"


def test_a_rate_comes_with_its_trials():
    assert rate_text(97, 100) == "97.0 % (97 of 100; 95 % interval 91.5 to 99.0 %)"
