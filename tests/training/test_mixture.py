"""Drawing from a mixture of Gaussians, row by row."""

from __future__ import annotations

import numpy as np
from scipy.stats import chisquare, kstest

from mimicctl.training.robomimic_seam import Mixture


def mixture(scale: float, rows: int = 3) -> Mixture:
    weights = np.array([0.5, 0.2, 0.3], np.float32)
    means = np.arange(6, dtype=np.float32).reshape(3, 2)
    return Mixture(np.tile(weights.cumsum(), (rows, 1)), np.tile(means, (rows, 1, 1)), np.full((rows, 3, 2), scale, np.float32))


def draws(*seeds: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in seeds]


def test_modes_come_up_as_often_as_they_should_and_low_noise_stays_at_their_means():
    narrow, (generator,) = mixture(1e-4, 1), draws(0)
    actions = np.concatenate([narrow.drawn([generator]) for _ in range(4000)])
    modes = np.rint(actions[:, 0] / 2).astype(int)
    assert np.abs(actions - np.arange(6).reshape(3, 2)[modes]).max() < 1e-3
    assert chisquare(np.bincount(modes), np.array([0.5, 0.2, 0.3]) * 4000).pvalue > 0.001


def test_the_spread_is_the_one_asked_for():
    wide, (generator,) = mixture(0.1, 1), draws(1)
    first = np.concatenate([wide.drawn([generator]) for _ in range(4000)])[:, 0]
    assert kstest((first - 2 * np.rint(first / 2)) / 0.1, "norm").pvalue > 0.001


def test_a_row_draws_the_same_alone_and_among_others():
    together, alone = mixture(0.1).drawn(draws(5, 6, 7)), mixture(0.1).drawn(draws(6))
    np.testing.assert_array_equal(together[1], alone[0])
    assert together.shape == (3, 2) and len(np.unique(together, axis=0)) == 3
    assert mixture(0.1).drawn(draws(5, 6)).shape == (2, 2)


def test_a_last_probability_that_rounding_left_short_of_one_is_no_way_out():
    short = Mixture(np.zeros((1, 3), np.float32), np.ones((1, 3, 2), np.float32), np.zeros((1, 3, 2), np.float32))
    assert short.drawn(draws(0)).tolist() == [[1.0, 1.0]]
