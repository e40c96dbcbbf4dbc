import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massact.fit.engine.search import linear_fit, search
from massact.fit.forms import FORMS
from massact.fit.forms.eq14 import EQ14
from tests.fit.curves import PYTHIA, SHORT, series

W = np.ones(SHORT.size)
# Share of the variance: on few points, two minima can be so close and so nearly equal that the scan sees one.
NEARLY_EXACT = 1e-4


@pytest.mark.parametrize("t", [SHORT, SHORT[1:], PYTHIA[::4]], ids=["short", "without 0", "pythia"])
def test_noise_free_curves_are_recovered(t):
    truth, _, parameters = series(t, 64)
    optimum = search("eq14", t, truth, np.ones(t.size))
    total = np.var(truth, axis=1) * t.size
    assert np.mean(optimum.sse <= 1e-16 * total) > 0.95
    assert (optimum.sse <= NEARLY_EXACT * total).all()
    sharp = np.arange(64) % 4 == 0  # early peaks, where the parameters are determined
    np.testing.assert_allclose(optimum.rates[0, sharp], parameters[sharp, 2], rtol=1e-4)
    np.testing.assert_allclose(1 / optimum.rates[1, sharp] - t[0], parameters[sharp, 3], rtol=1e-4)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), noise=st.sampled_from([0.0, 0.01, 0.1, 0.5]), t=st.sampled_from([SHORT, SHORT[::2]]))
def test_never_worse_than_the_truth(seed, noise, t):
    truth, noisy, _ = series(t, 32, noise=noise, seed=seed)
    optimum = search("eq14", t, noisy, np.ones(t.size))
    total = np.var(noisy, axis=1) * t.size
    assert (optimum.sse <= np.sum((noisy - truth) ** 2, axis=1) * (1 + 1e-9) + NEARLY_EXACT * total).all()


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6), form=st.sampled_from(["step1", "step2"]), noise=st.sampled_from([0.0, 0.05]))
def test_step_forms_are_never_worse_than_the_truth(seed, form, noise):
    rng = np.random.default_rng(seed)
    last = SHORT[-1]
    rate = 10 ** rng.uniform(-0.5, 2.5, (16, 1)) / last
    K = rng.uniform(-100, 100, (16, 1))
    truth = (
        FORMS[form].value(SHORT, K, 1 / rate)
        if form == "step1"
        else FORMS[form].value(SHORT, K, 10 ** rng.uniform(-1, 1.5, (16, 1)), rate)
    )
    y = truth + noise * np.abs(K) * rng.standard_normal(truth.shape)
    optimum = search(form, SHORT, y, W)
    assert (optimum.sse <= np.sum((y - truth) ** 2, axis=1) * (1 + 1e-9) + 1e-12 * np.vecdot(y, y)).all()


@pytest.mark.parametrize(
    ("curve", "p_is_zero", "q_is_zero"),
    [
        (lambda t: 3 + 2 * np.log(t + 9.0), True, False),
        (lambda t: 3 + 0.01 * t + 2 * np.log(t + 9.0), True, False),
        (lambda t: 3 + np.exp(-t / 300) * (1 + t / 50), False, True),
        (lambda t: 1 + 1e-3 * t + 1e-6 * t**2, True, True),
    ],
    ids=["logarithm", "logarithm and line", "critically damped", "parabola"],
)
def test_limits_of_the_family_are_reached_and_named(curve, p_is_zero, q_is_zero):
    y = curve(SHORT)[None]
    optimum = search("eq14", SHORT, y, W)
    assert optimum.sse[0] <= 1e-20 * np.sum(y**2)
    assert (optimum.rates[:, 0] == 0).tolist() == [p_is_zero, q_is_zero]


def test_edges_are_no_worse_than_a_dense_scan():
    _, noisy, _ = series(SHORT, 8, kinds=("log rise",), noise=0.1)
    optimum = search("eq14", SHORT, noisy, W)
    for p in np.r_[0, np.geomspace(1e-7, 1, 60)]:
        for q in np.r_[0, np.geomspace(1e-7, 99, 60)]:
            rates = np.stack([np.full(8, p), np.full(8, q)])
            assert (linear_fit(EQ14, SHORT, noisy, W, rates)[1] >= optimum.sse * (1 - 1e-6)).all()


def test_scale_shift_and_company_do_not_change_a_fit():
    _, noisy, _ = series(SHORT, 8)
    one = search("eq14", SHORT, noisy, W)
    other = search("eq14", SHORT, 1e6 * noisy - 1e8, W)
    np.testing.assert_allclose(other.sse, one.sse * 1e12, rtol=1e-6)
    alone = np.concatenate([search("eq14", SHORT, row[None], W).sse for row in noisy])
    np.testing.assert_allclose(alone, one.sse, rtol=1e-9)


def test_weights_are_minimised():
    truth, noisy, _ = series(SHORT, 8)
    w = 1 / np.abs(truth[0])
    weighted = search("eq14", SHORT, noisy[:1], w)
    plain = search("eq14", SHORT, noisy[:1], W)
    _, sse = linear_fit(EQ14, SHORT, noisy[:1], w, plain.rates)
    assert weighted.sse[0] <= sse[0]
    doubled = search("eq14", SHORT, noisy[:1], 2 * w)
    np.testing.assert_allclose(doubled.sse, 4 * weighted.sse, rtol=1e-9)


def test_the_capped_search_loses_little_on_what_eq9_cannot_draw():
    y = (3 + 2 * np.log(SHORT + 9.0) + 1e-3 * SHORT)[None]
    y = y + 0.05 * np.random.default_rng(1).standard_normal(y.shape)
    free = search("eq9", SHORT, y, W)
    capped = [search(limit, SHORT, y, W) for limit in FORMS["eq9"].limits]
    assert free.rates[0, 0] == 0
    assert all((found.rates > 0).all() for found in capped)
    assert min(found.sse[0] for found in capped) <= free.sse[0] * 1.03
