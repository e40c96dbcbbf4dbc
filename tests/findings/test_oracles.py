"""Effects and variance components are those of statsmodels, an independent implementation."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from massact.findings.outcomes import effects
from massact.findings.variance import components
from tests.findings.test_variance import drawn

statsmodels = pytest.importorskip("statsmodels.api")


@pytest.mark.parametrize("seed", range(5))
def test_effects_and_their_intervals_are_ordinary_least_squares_with_hc3_errors(seed):
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(rng.normal(size=(30, 4)), columns=list("abcd"))
    log_y = 0.3 + x["a"] - 0.5 * x["c"] + rng.normal(size=30) * np.exp(0.8 * x["b"])  # errors of unequal size
    table = effects(x, log_y.to_numpy())
    fit = statsmodels.OLS(log_y, statsmodels.add_constant(x)).fit(cov_type="HC3", use_t=True)
    bounds = fit.conf_int(0.05).to_numpy()[1:]
    np.testing.assert_allclose(np.log(table["times"]), fit.params[1:], rtol=1e-9)
    np.testing.assert_allclose(np.log(table[["lower", "upper"]]), bounds, rtol=1e-9)
    assert table.attrs["r2"] == pytest.approx(fit.rsquared, rel=1e-9)
    without = [statsmodels.OLS(log_y, statsmodels.add_constant(x.drop(columns=name))).fit() for name in x]
    lost = [fit.rsquared - other.rsquared for other in without]
    np.testing.assert_allclose(table["share"], lost, rtol=1e-7)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_components_are_those_of_restricted_maximum_likelihood(seed):
    """In a balanced layout whose estimates are all positive, both are the same estimator."""
    y = drawn(seed, (5, 3, 4))
    ours = components(y)
    assert all(value > 0 for value in ours.values())
    a, s, q = (axis.ravel() for axis in np.indices(y.shape))
    table = pd.DataFrame({"y": y.ravel(), "a": a, "s": s, "q": q, "all": 1})
    terms = {
        "architecture": "0 + C(a)",
        "seed": "0 + C(a):C(s)",
        "sequence": "0 + C(q)",
        "architecture x sequence": "0 + C(a):C(q)",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one group, in which all effects cross
        model = statsmodels.MixedLM.from_formula("y ~ 1", groups="all", re_formula="0", vc_formula=terms, data=table)
        fit = model.fit(reml=True, method=["powell", "lbfgs"])
    estimates = dict(zip(model.exog_vc.names, fit.vcomp, strict=True)) | {"rest": fit.scale}
    for name, value in ours.items():
        assert estimates[name] == pytest.approx(value, rel=1e-2), name  # where the search for the maximum ends
