"""The published parameter format: the example is layer 0 of 410m's median, as the dataset (MIT) states it."""

import json

import numpy as np
import pytest

from massact.errors import FitError, ParseError
from massact.fit import fit_many
from massact.fit.paper_fits import compare_with_published, parse_params
from tests.fit.curves import PYTHIA

POPT = [0.1991413262927913, 0.1245164347289605, 0.00011243504071098889, 0.6212193145868949, 0.12193486521476592]
EXAMPLE = {
    "param_names": ["A", "λ", "γ", "t0", "K"],
    "popt": POPT,
    "pcov": np.diag(np.arange(1.0, 6.0)).tolist(),
    "r2": 0.9982939174413806,
    "aic": -302.02881566683106,
    "residuals": [0.001, -0.002],
}
PAPER = np.r_[0, 2.0 ** np.arange(10), np.linspace(1000, 143000, 26).round()]  # 37 steps


def text(**changes) -> str:
    return json.dumps([{"original": {**EXAMPLE, **changes}, "reparametrized": {}}], ensure_ascii=False)


def test_the_example_is_read():
    (fit,) = parse_params(text())
    assert fit.layer == 0 and fit.r2 == EXAMPLE["r2"] and fit.aic == EXAMPLE["aic"]
    assert fit.parameters == dict(zip(("A", "lambda", "gamma", "t0", "K"), POPT, strict=True))
    assert fit.covariance is not None and np.diag(fit.covariance).tolist() == [1, 2, 3, 4, 5]
    assert fit.residuals is not None and fit.residuals.tolist() == [0.001, -0.002]


def test_names_say_which_number_is_which():
    order = [4, 2, 0, 1, 3]
    names = [EXAMPLE["param_names"][i] for i in order]
    (fit,) = parse_params(
        text(param_names=names, popt=[POPT[i] for i in order], pcov=np.diag(np.array(order) + 1.0).tolist())
    )
    assert [fit.parameters[name] for name in ("A", "lambda", "gamma", "t0", "K")] == POPT
    assert fit.covariance is not None and np.diag(fit.covariance).tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("t", [PAPER, PYTHIA], ids=["37 steps", "154 steps"])
def test_refitting_the_published_curve_recovers_it(t):
    (fit,) = parse_params(text())
    row = fit_many(t, fit.curve(t)[None], form="eq9").iloc[0]
    for name, value in fit.parameters.items():
        assert row[name] == pytest.approx(value, rel=1e-5)
    assert row["sse"] < 1e-18


def test_ours_is_never_worse_than_the_published_residuals():
    rng, t = np.random.default_rng(0), PAPER
    (fit,) = parse_params(text())
    y = fit.curve(t) * (1 + 0.02 * rng.standard_normal((40, t.size)))
    published = parse_params(
        json.dumps([{"original": {**EXAMPLE, "residuals": (row - fit.curve(t)).tolist()}} for row in y])
    )
    out = compare_with_published(t, y, published)
    assert (out["sse"] <= out["sse_residuals"]).all() and not out["kept_published"].any()
    np.testing.assert_allclose(out["sse_published"], out["sse_residuals"])


def test_a_curve_below_the_floor_of_tau_is_kept_and_reported():
    t = PAPER
    low = {**EXAMPLE, "popt": [0.2, 0.1, 1e-4, 1e-10, 0.5]}  # t0 / gamma = 1e-6 steps
    (fit,) = parse_params(json.dumps([{"original": low}]))
    out = compare_with_published(t, fit.curve(t)[None], [fit])
    assert out["kept_published"][0] and out["sse"][0] < 1e-20


def test_a_failed_fit_has_no_parameters():
    (fit,) = parse_params(text(popt=None, pcov=None, residuals=None, r2=None))
    assert np.isnan(list(fit.parameters.values())).all() and fit.covariance is None and np.isnan(fit.r2)
    out = compare_with_published(PAPER, np.log1p(PAPER)[None], [fit])
    assert np.isfinite(out["sse"][0]) and np.isnan(out["sse_published"][0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "line 1: not JSON"),
        ("{}", "not a list over layers"),
        ("[]", "not a list over layers"),
        ("[{}]", "layer 0: no hypothesis 'original'"),
        (text(param_names=["K", "tau"]), "layer 0: param_names"),
        (text(popt=[1, 2]), r"layer 0: popt has shape \(2,\)"),
        (text(popt=["a"] * 5), "layer 0: popt does not consist of numbers"),
        (text(pcov=[[1]]), "layer 0: pcov"),
        (text(residuals=[[1]]), "layer 0: residuals"),
        (text(r2="high"), "layer 0: r2"),
    ],
)
def test_broken_files_name_the_layer(content, message):
    with pytest.raises(ParseError, match=message):
        parse_params(content)


def test_layers_have_to_match():
    with pytest.raises(FitError, match="2 layers of values and 1 published"):
        compare_with_published(PAPER, np.ones((2, PAPER.size)), parse_params(text()))
