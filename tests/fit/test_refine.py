import numpy as np

from massact.fit.bases import BASES, LOG_DECAY
from massact.fit.refine import evaluate, project, refine
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
    p, q = parameters[:, 2] * 1.5, 0.7 / parameters[:, 3]
    here = evaluate(LOG_DECAY, SHORT, W, noisy, p, q)
    h = 1e-5
    for j, by in ((0, here.by_p), (1, here.by_q)):
        up, down = ((p * np.exp(s * h * (j == 0)), q * np.exp(s * h * (j == 1))) for s in (1, -1))
        numeric = evaluate(LOG_DECAY, SHORT, W, noisy, *up).sse - evaluate(LOG_DECAY, SHORT, W, noisy, *down).sse
        gradient = -2 * np.vecdot(by, here.residual)
        np.testing.assert_allclose(gradient, numeric / (2 * h), rtol=1e-4, atol=1e-6 * here.sse.max())


def test_refining_reaches_the_truth_and_is_never_worse_than_its_start():
    truth, noisy, parameters = series(SHORT, 16)
    p, q = 2 * parameters[:, 2], 0.5 / parameters[:, 3]
    for y in (truth, noisy):
        start = evaluate(LOG_DECAY, SHORT, W, y, p, q).sse
        assert (refine(LOG_DECAY, SHORT, W, y, p, q)[2] <= start).all()
    found_p, found_q, sse = refine(LOG_DECAY, SHORT, W, truth, p, q)
    exact = sse < 1e-20 * np.vecdot(truth, truth)
    assert exact.sum() >= 12
    np.testing.assert_allclose(found_q[exact] * parameters[exact, 3], 1, rtol=1e-3)
    assert (found_p > 0).all()


def test_it_stays_in_the_box():
    rng = np.random.default_rng(1)
    y = rng.standard_normal((32, 24))
    for basis in BASES.values():
        p_nodes, q_nodes = basis.grid(SHORT)
        p, q, _ = refine(basis, SHORT, W, y, rng.choice(p_nodes[1:], 32), rng.choice(q_nodes, 32))
        assert all((np.asarray(a) == b).all() for a, b in zip(basis.clip(SHORT, p, q), (p, q), strict=True))
