import numpy as np
import pytest

from massact.fit.engine import search
from massact.fit.forms import FORMS
from massact.fit.parameters import drawable
from massact.fit.regimes import FitStatus
from tests.fit.curves import PYTHIA, SHORT, series


@pytest.mark.parametrize("t", [SHORT, SHORT[SHORT <= 2048], PYTHIA[::4]], ids=["4096", "2048", "pythia"])
@pytest.mark.parametrize("form", FORMS)
def test_parameters_are_finite_and_draw_the_optimum(form, t):
    _, noisy, _ = series(t, 64, noise=0.05)
    rng = np.random.default_rng(0)
    y = np.concatenate([noisy, 5 + rng.standard_normal((8, t.size)), 50 - noisy[:8], rng.lognormal(size=(8, t.size))])
    w = np.ones(t.size)
    found = search(form, t, y, w)
    values, status = drawable(form, found, t, y, w)
    assert np.isfinite(values).all()
    drawn = np.sum((y - FORMS[form].function(t, *values.T[:, :, None])) ** 2, axis=1)
    assert (drawn >= found.sse * (1 - 1e-6)).all()
    np.testing.assert_allclose(drawn, found.sse, rtol=5e-3)
    assert np.quantile(drawn / found.sse, 0.95) < 1 + 1e-3
    assert set(status) <= {str(ending) for ending in FitStatus}


@pytest.mark.parametrize(
    ("form", "curve", "ending"),
    [
        ("eq14", lambda t: np.log(t + 9), FitStatus.AT_EDGE_B_ZERO),
        ("eq9", lambda t: 3 + 0.01 * t + np.log(t + 9), FitStatus.AT_EDGE_B_ZERO),
        ("eq14", lambda t: np.exp(-t / 300) * (1 + t / 50), FitStatus.AT_EDGE_TAU_INFINITE),
        ("eq14", lambda t: np.where(t == 0, 0.0, 1.0) * np.exp(-t / 900), FitStatus.AT_EDGE_TAU_FLOOR),
        ("step1", lambda t: 2.0 * t, FitStatus.AT_EDGE_B_ZERO),
        ("step1", lambda t: np.where(t > 0, 2.0, 0.0), FitStatus.AT_EDGE_B_CEILING),
        ("step2", lambda t: 1 - np.exp(-t / 300), FitStatus.AT_EDGE_ZETA),
    ],
)
def test_edges_are_named(form, curve, ending):
    y, w = curve(SHORT)[None], np.ones(SHORT.size)
    values, status = drawable(form, search(form, SHORT, y, w), SHORT, y, w)
    assert status[0] == ending
    assert np.isfinite(values).all()


def test_a_pure_exponential_is_beyond_eq9_and_drawn_nearly():
    y = (2 + 5 * np.exp(-SHORT / 300))[None]
    w = np.ones(SHORT.size)
    values, status = drawable("eq9", search("eq9", SHORT, y, w), SHORT, y, w)
    drawn = FORMS["eq9"].function(SHORT, *values[0])
    np.testing.assert_allclose(drawn, y[0], atol=5e-3)
    assert status[0] != FitStatus.OK
