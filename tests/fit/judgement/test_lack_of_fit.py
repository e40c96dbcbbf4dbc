import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massact.fit.judgement.lack_of_fit import Sample, end_probability, fall_probability, settled_from

STEPS = np.r_[0, 2.0 ** np.arange(8), np.geomspace(167, 4096, 13).round()]
PLATEAU = 30 - 25 * np.exp(-STEPS / 200)


def sample(y, curve, sequences=None, sigma=0.6):
    return Sample(STEPS, y, curve, np.ones(STEPS.size), sequences, sigma, STEPS.size - 5)


def test_the_settled_end_is_where_the_curve_stays_and_never_less_than_five_points():
    assert 1 - PLATEAU[settled_from(PLATEAU)] / 30 < 0.05 < 1 - PLATEAU[settled_from(PLATEAU) - 1] / 30 + 0.01
    assert settled_from(STEPS) == STEPS.size - 5
    assert settled_from(np.full(3, 2.0)) == 0


def test_noise_about_a_right_curve_is_refuted_about_as_often_as_stated():
    rng = np.random.default_rng(0)
    rejected = [
        end_probability(sample(PLATEAU + 0.6 * rng.standard_normal(STEPS.size), PLATEAU)) < 0.05 for _ in range(400)
    ]
    assert 0.03 < np.mean(rejected) < 0.15  # three tests of 5 % that largely agree


@pytest.mark.parametrize("form", ["trend", "late jump", "late fall"])
def test_a_departure_at_the_end_is_seen(form):
    rng = np.random.default_rng(1)
    late = {
        "trend": 5 * np.maximum(np.log(np.maximum(STEPS, 1) / 800), 0),
        "late jump": 3.0 * (STEPS > 2000),
        "late fall": -3.0 * (STEPS > 2000),
    }[form]
    seen = [
        end_probability(sample(PLATEAU + late - late[-8:].mean() / 2 + 0.6 * rng.standard_normal(STEPS.size), PLATEAU))
        for _ in range(50)
    ]
    assert np.mean(np.array(seen) < 0.05) > 0.85


def test_a_trend_that_the_sequences_do_not_agree_on_is_no_trend():
    rng = np.random.default_rng(2)
    tilt = np.maximum(np.log(np.maximum(STEPS, 1) / 800), 0)
    together = PLATEAU + 2 * tilt + 0.1 * rng.standard_normal(STEPS.size)
    apart = together + 6 * (np.arange(10) - 4.5)[:, None] * tilt
    alike = together + np.arange(10)[:, None] - 4.5
    assert end_probability(sample(together, PLATEAU, alike)) < 0.01
    assert end_probability(sample(together, PLATEAU, apart, sigma=2.0)) > 0.2


def test_departures_without_size_and_too_few_points_say_nothing():
    tiny = PLATEAU + 1e-9 * STEPS
    assert end_probability(sample(tiny, PLATEAU, sigma=1e-9)) == 1
    few = Sample(STEPS[-3:], PLATEAU[-3:] + 5, PLATEAU[-3:], np.ones(3), None, 0.1, 1)
    assert end_probability(few) == 1


def test_a_fall_is_taken_where_the_values_fall_beyond_their_noise():
    rng = np.random.default_rng(3)
    bump = 30 * np.exp(-(np.log(np.maximum(STEPS, 0.5) / 800) ** 2)) + 5
    assert fall_probability(sample(bump + 0.5 * rng.standard_normal(STEPS.size), bump), 800.0) < 1e-3
    assert fall_probability(sample(bump, bump, sigma=40.0), 800.0) > 0.01
    rising = bump.copy()
    rising[-1] = 100
    assert fall_probability(sample(rising, bump), 800.0) == 1


def test_a_fall_is_paired_over_sequences():
    bump = 30 * np.exp(-(np.log(np.maximum(STEPS, 0.5) / 800) ** 2)) + 5
    levels = bump * (1 + 0.3 * (np.arange(10) - 4.5)[:, None] / 4.5)
    split = bump + np.where(STEPS > 1500, 1.0, 0.0) * 60 * (np.arange(10) - 4.5)[:, None] / 4.5
    assert fall_probability(sample(bump, bump, levels), 800.0) < 1e-3
    assert fall_probability(sample(bump, bump, split), 800.0) > 0.01


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.floats(-150, 150), st.integers(3, 30), st.booleans())
def test_probabilities_are_probabilities_and_do_not_depend_on_units(seed, exponent, count, with_sequences):
    rng = np.random.default_rng(seed)
    t = np.sort(rng.choice(5000, count, replace=False)).astype(float)
    curve, y = rng.standard_normal(count), rng.standard_normal(count)
    each = y + rng.standard_normal((6, count)) if with_sequences else None
    unit = 10.0 ** (exponent / 2)  # squares must stay in a double
    one = Sample(t, y, curve, np.ones(count), each, 0.7, 3)
    two = Sample(t, y * unit, curve * unit, np.ones(count), None if each is None else each * unit, 0.7 * unit, 3)
    for first, second in (
        (end_probability(one), end_probability(two)),
        (fall_probability(one, float(t[1])), fall_probability(two, float(t[1]))),
    ):
        assert 0 <= first <= 1 and second == pytest.approx(first, rel=1e-6, abs=1e-12)
