"""Conformal bands: group quantiles, and coverage of points, curves and trainings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massact.predict.bands import CURVE, HOLDS, POINT, TRAINING, HeldOut, group_quantile, interval_score


@given(st.lists(st.floats(0, 10), min_size=1, max_size=40), st.floats(0.05, 0.99))
def test_with_one_row_a_group_it_is_the_split_conformal_quantile(scores, level):
    values = np.array(scores)
    rank = int(np.ceil(level * (len(values) + 1) - 1e-6))
    expected = np.sort(values)[rank - 1] if rank <= len(values) else np.inf
    assert group_quantile(values, np.arange(len(values)), level) == expected


def test_a_large_group_weighs_as_much_as_a_small_one():
    scores = np.array([*np.full(100, 5.0), 1.0, 1.0, 1.0])
    groups = np.array([0] * 100 + [1, 2, 3])
    assert group_quantile(scores, groups, 0.6) == 1.0
    assert group_quantile(scores, groups, 0.8) == 5.0
    assert group_quantile(scores, groups, 0.9) == np.inf


def residuals(trainings: int, seed: int) -> HeldOut:
    generator = np.random.default_rng(seed)
    sizes = generator.integers(2, 7, trainings)
    training = np.repeat(np.arange(trainings), sizes)
    common = generator.normal(size=trainings)[training]
    walk = generator.normal(size=(len(training), 8)).cumsum(axis=1) / 3
    return HeldOut(common[:, None] + walk, training, training, training % 2 == 0)


@pytest.mark.parametrize("holds", HOLDS)
def test_each_band_holds_what_it_is_named_for(holds):
    """Over many draws of calibration and new trainings, with 2 standard errors to spare."""
    inside = []
    for seed in range(150):
        known, new = residuals(60, seed), residuals(4, 10_000 + seed)
        for layout in (True, False):
            half = known.half_widths(0.8, holds, layout)
            rows = new.layout == layout
            within = np.abs(new.residuals[rows]) <= half
            by_row = within.mean(axis=1) if holds == POINT else within.all(axis=1)
            for training in np.unique(new.training[rows]):
                mine = by_row[new.training[rows] == training]
                inside.append(mine.all() if holds == TRAINING else mine.mean())
    error = np.std(inside) / np.sqrt(len(inside))
    assert 0.8 - 2 * error < np.mean(inside) < 0.8 + 1 / 31 + 2 * error


def test_a_band_of_more_is_wider():
    known = residuals(60, 0)
    point, curve, training = (known.half_widths(0.8, holds, True).mean() for holds in (POINT, CURVE, TRAINING))
    assert point < curve < training


def test_too_few_design_points_have_no_band():
    assert np.isinf(residuals(8, 0).half_widths(0.9, POINT, True)).all()


def test_the_interval_score_adds_the_distance_outside():
    actual = np.array([0.5, 2.0])
    assert interval_score(actual, np.zeros(2), np.ones(2), 0.9) == pytest.approx([1.0, 21.0])
