import numpy as np
import pytest

from massact.fit.engine.refine import Minima, evaluate, polish, project, refine
from massact.fit.forms import FORMS
from massact.fit.forms.eq14 import EQ14
from tests.fit.curves import SHORT, series

W = np.ones(SHORT.size)


def test_projection_is_least_squares_and_survives_a_dependent_column():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((3, 2, 24)), rng.standard_normal((2, 24))
    out = project([*X], y)
    for i in range(2):
        a, *_ = np.linalg.lstsq(X[:, i].T, y[i])
        np.testing.assert_allclose(out.a[i], a, rtol=1e-10)
    again = project([X[0], 2 * X[0], X[1]], y)
    assert np.isfinite(again.a).all() and (again.a[:, 1] == 0).all()


def test_kaufman_gradient_is_the_gradient_of_the_reduced_problem():
    _, noisy, parameters = series(SHORT, 8)
    rates = np.stack([parameters[:, 2] * 1.5, 0.7 / parameters[:, 3]])
    here = evaluate(EQ14, SHORT, W, noisy, rates)
    h = 1e-5
    for j in (0, 1):
        up, down = (rates * np.exp(sign * h * (np.arange(2) == j))[:, None] for sign in (1, -1))
        numeric = evaluate(EQ14, SHORT, W, noisy, up).sse - evaluate(EQ14, SHORT, W, noisy, down).sse
        np.testing.assert_allclose(-2 * here.gradient[j], numeric / (2 * h), rtol=1e-4, atol=1e-6 * here.sse.max())
    np.testing.assert_array_equal(here.normal[0, 1], here.normal[1, 0])


def test_problems_are_independent_of_the_block_they_are_in():
    _, noisy, parameters = series(SHORT, 200)
    rates = np.stack([parameters[:, 2], 1 / parameters[:, 3]])
    together = evaluate(EQ14, SHORT, W, noisy, rates)
    alone = evaluate(EQ14, SHORT, W, noisy[150:151], rates[:, 150:151])
    np.testing.assert_allclose(together.sse[150], alone.sse[0], rtol=1e-12)
    np.testing.assert_allclose(together.normal[:, :, 150], alone.normal[:, :, 0], rtol=1e-10)


def test_refining_reaches_the_truth_and_is_never_worse_than_its_start():
    truth, noisy, parameters = series(SHORT, 16)
    rates = np.stack([2 * parameters[:, 2], 0.5 / parameters[:, 3]])
    for y in (truth, noisy):
        start = evaluate(EQ14, SHORT, W, y, rates).sse
        assert (refine(EQ14, SHORT, W, y, rates).sse <= start).all()
    refined = refine(EQ14, SHORT, W, truth, rates)
    exact = refined.sse < 1e-20 * np.vecdot(truth, truth)
    assert exact.sum() >= 12
    np.testing.assert_allclose(refined.rates[1, exact] * parameters[exact, 3], 1, rtol=1e-3)


def test_polishing_makes_the_gradient_vanish():
    _, noisy, parameters = series(SHORT, 16, kinds=("early peak",))
    rates = np.stack([parameters[:, 2], 1 / parameters[:, 3]])
    rough = refine(EQ14, SHORT, W, noisy, rates, tolerance=1e-9)
    fine = polish(EQ14, SHORT, W, noisy, rough)
    before, after = (evaluate(EQ14, SHORT, W, noisy, found.rates) for found in (rough, fine))
    inside = (fine.rates[1] < 99) & (fine.rates > 0).all(axis=0)
    assert inside.sum() >= 12
    size = np.sqrt(after.sse * after.normal[[0, 1], [0, 1]])[:, inside]
    remaining, left_before = (np.abs(point.gradient[:, inside] / size).max(axis=0) for point in (after, before))
    assert np.median(remaining) < 1e-7 and (remaining <= np.maximum(1e-4 * left_before, 1e-6)).mean() > 0.8


def test_a_descent_that_cannot_win_is_left():
    _, noisy, parameters = series(SHORT, 8, kinds=("early peak",))
    rates = np.stack([parameters[:, 2], 1 / parameters[:, 3]])
    best = refine(EQ14, SHORT, W, noisy, rates)
    far = refine(EQ14, SHORT, W, noisy, rates * 30, best=Minima(best.rates, best.sse * 1e-6))
    alone = refine(EQ14, SHORT, W, noisy, rates * 30)
    assert (far.sse >= alone.sse).all() and (far.sse > 1.01 * alone.sse).any()


def test_weights_of_each_problem_are_its_own():
    _, noisy, parameters = series(SHORT, 4)
    rates = np.stack([parameters[:, 2], 1 / parameters[:, 3]])
    w = np.random.default_rng(0).uniform(0.5, 2, noisy.shape)
    together = refine(EQ14, SHORT, w, noisy * w, rates)
    for i in range(4):
        alone = refine(EQ14, SHORT, w[i], noisy[i : i + 1] * w[i], rates[:, i : i + 1])
        assert together.sse[i] == pytest.approx(alone.sse[0], rel=1e-9)


@pytest.mark.parametrize("name", FORMS)
def test_it_stays_in_the_box(name):
    basis, rng = FORMS[name], np.random.default_rng(1)
    y = rng.standard_normal((32, 24))
    rates = np.stack([rng.choice(nodes, 32) for nodes in basis.grid(SHORT)])
    refined_rates = refine(basis, SHORT, W, y, rates).rates
    np.testing.assert_array_equal(basis.clip(basis.box(SHORT), refined_rates), refined_rates)
