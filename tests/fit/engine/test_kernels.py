"""The compiled path against numpy's, and its exp and log against libm's."""

import os
import subprocess
import sys

import numpy as np
import pytest

from massact.fit import fit_many
from massact.fit.engine.compiled import search_warm
from massact.fit.engine.refine import evaluate, refine
from massact.fit.engine.search import normalised, search
from massact.fit.forms import FORMS
from massact.fit.forms.eq14 import EQ14
from tests.fit.curves import PYTHIA, SHORT, series

GRIDS = [SHORT, SHORT[1:], PYTHIA[::4], PYTHIA]
NAMES = ["short", "without 0", "pythia 39", "pythia"]


@pytest.fixture(scope="module")
def elementwise():
    from numba import njit

    from massact.fit.engine.kernels import expm1, log1p

    @njit(error_model="numpy", fastmath=True)  # a caller's fastmath must not reach them
    def both(x, y, out):
        for i in range(x.size):
            out[0, i] = expm1(x[i])
            out[1, i] = log1p(y[i])

    return both


def test_exp_and_log_are_right_to_the_last_digits_also_under_a_callers_fastmath(elementwise):
    x = -np.r_[0.0, np.geomspace(1e-300, 700, 20_000), np.linspace(0, 5, 20_000)]
    y = np.r_[0.0, np.geomspace(1e-300, 1e13, 20_000), np.linspace(0, 5, 20_000)]
    out = np.empty((2, x.size))
    elementwise(x, y, out)
    np.testing.assert_allclose(out[0], np.expm1(x), rtol=1e-15)
    np.testing.assert_allclose(out[1], np.log1p(y), rtol=1e-15)


@pytest.mark.parametrize("t", GRIDS, ids=NAMES)
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_both_paths_give_the_same_optimum(t, noise):
    _, y, _ = series(t, 128, noise=noise, seed=3)
    w = np.ones(t.size)
    one, two = (search("eq14", t, y, w, path=path) for path in ("numba", "numpy"))
    total = np.var(y, axis=1) * t.size
    same = np.abs(one.sse - two.sse) <= 1e-9 * one.sse + 1e-14 * total
    assert same.mean() > 0.98  # of two minima of equal depth, only one path may find the second
    np.testing.assert_allclose(one.sse, two.sse, rtol=1e-3, atol=1e-12 * total.max())
    np.testing.assert_allclose(one.rates[:, same], two.rates[:, same], rtol=1e-2, atol=1e-12)


def test_coefficients_are_those_of_the_columns():
    _, y, _ = series(PYTHIA, 64)
    w = 1 / (1 + PYTHIA / 1e4)
    optimum = search("eq14", PYTHIA, y, w, path="numba")
    again = evaluate(EQ14, PYTHIA, w, y * w, optimum.rates)
    drawn = sum(optimum.a[:, j : j + 1] * c for j, c in enumerate(EQ14.columns(PYTHIA, optimum.rates)))
    np.testing.assert_allclose(np.vecdot((y - drawn) * w, (y - drawn) * w), optimum.sse, rtol=1e-9)
    np.testing.assert_allclose(again.sse, optimum.sse, rtol=1e-9)


def test_the_capped_search_is_the_same():
    _, y, _ = series(SHORT, 64, kinds=("log rise",))
    for limit in FORMS["eq9"].limits:
        one, two = (search(limit, SHORT, y, np.ones(24), path=path) for path in ("numba", "numpy"))
        np.testing.assert_allclose(one.sse, two.sse, rtol=1e-6)
        np.testing.assert_allclose(one.a, two.a, rtol=1e-3)
        assert all((limit.clip(limit.box(SHORT), found.rates) == found.rates).all() for found in (one, two))


def test_warm_starts_descend_as_numpys_do():
    truth, _, parameters = series(SHORT, 1, kinds=("early peak",))
    y = truth * (1 + 0.05 * np.random.default_rng(0).standard_normal((64, 24)))
    w = np.ones(24)
    start = np.array([[parameters[0, 2], 1 / parameters[0, 3]]])
    target = normalised(EQ14, y, w)
    warm = search_warm(EQ14, SHORT, w, target.y, start, 1e-12)
    alone = refine(EQ14, SHORT, w, target.y, np.repeat(start.T, 64, axis=1))
    np.testing.assert_allclose(warm.sse, alone.sse, rtol=1e-8)


def test_a_table_is_the_same_from_both_paths():
    _, y, _ = series(SHORT, 48, kinds=("early peak",))
    one, two = (fit_many(SHORT, y, path=path) for path in ("numba", "numpy"))
    assert (one["regime"] == two["regime"]).all() and (one["status"] == two["status"]).all()
    for name in ("sse", "f_start", "f_end", "peak_value", "peak_step"):
        np.testing.assert_allclose(one[name], two[name], rtol=1e-5)


def test_nan_never_reaches_the_kernel_and_few_curves_never_load_it():
    y = series(SHORT, 4)[1]
    y[0, 3] = np.nan
    assert np.isfinite(fit_many(SHORT, y, path="numba")["sse"]).all()
    code = (
        "import sys; import numpy as np; from massact.fit import fit_many\n"
        "t = np.r_[0.0, 2.0 ** np.arange(12)]; fit_many(t, np.log1p(t)[None] + np.sin(t)); "
        "sys.exit('numba' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 0
