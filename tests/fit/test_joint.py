import numpy as np
import pytest

from massact.errors import FitError
from massact.fit import fit_joint, fit_many
from massact.fit.forms.eq14 import eq14
from tests.fit.curves import PYTHIA

T = PYTHIA[::4]


def family(seed: int, spread: float = 0.3, layers: int = 16, trend: float = 0.0):
    """Curves (curve, step) of one model and their true log beta and log tau0 (curve, 2)."""
    rng = np.random.default_rng(seed)
    depth = np.linspace(-1, 1, layers)
    logs = np.log([0.8 / T[-1], 1500.0]) + trend * depth[:, None] + spread * rng.standard_normal((layers, 2))
    A1 = rng.uniform(30, 90, layers)
    rows = [
        eq14(T, a, a * (0.5 - log[1]), np.exp(log[0]), np.exp(log[1]), 15.0) for a, log in zip(A1, logs, strict=True)
    ]
    y = np.array(rows)
    return y * (1 + 0.05 * rng.standard_normal(y.shape)), logs, depth


@pytest.fixture(scope="module")
def families():
    return [(fit_joint(T, y, weights=1 / y.mean(axis=0)), logs) for y, logs, _ in (family(seed) for seed in range(6))]


def test_the_error_of_undetermined_rates_shrinks(families):
    # Of beta it is halved at least. A curve's own error of log tau0 here is hardly more than the layers' spread of .3,
    # so that both together leave about 1 / sqrt(2) of it.
    for j, (name, share) in enumerate((("beta", 0.5), ("tau0", 0.8))):
        alone, joint = [], []
        for out, logs in families:
            unknown = ~out[f"{name}_determined_alone"].to_numpy()
            alone += list((out[f"log_{name}_alone"] - logs[:, j])[unknown])
            joint += list((out[f"log_{name}"] - logs[:, j])[unknown])
        assert len(alone) > 15
        assert np.sqrt(np.mean(np.square(joint))) < share * np.sqrt(np.mean(np.square(alone)))


def test_credible_intervals_cover(families):
    for j, name in enumerate(("beta", "tau0")):
        inside = np.concatenate(
            [
                (out[f"log_{name}_lower"] <= logs[:, j]) & (logs[:, j] <= out[f"log_{name}_upper"])
                for out, logs in families
            ]
        )
        assert inside.mean() > 0.88


def test_shrinking_costs_little_fit(families):
    for out, _ in families:
        assert (out["sse"] >= out["sse_alone"] * (1 - 1e-9)).all()
        assert (out["sse"] <= out["sse_alone"] * 1.15).all()


def test_rows_draw_the_curve_they_state(families):
    y, _, _ = family(0)
    w = 1 / y.mean(axis=0)
    out, _ = families[0]
    for i, row in out.iterrows():
        drawn = eq14(T, row["A1"], row["A2"], row["beta"], row["tau0"], row["K"])
        assert np.sum(((y[i] - drawn) * w) ** 2) == pytest.approx(row["sse"], rel=1e-6)
        assert np.log(row["beta"]) == pytest.approx(row["log_beta"], abs=1e-6)


def test_what_a_curve_knows_alone_it_keeps():
    rng = np.random.default_rng(0)
    t = PYTHIA
    rows = [eq14(t, 60.0, -60 * (log - 0.5), 8 / t[-1], np.exp(log), 20.0) for log in (5.0, 6.0, 7.0, 8.0)]
    y = np.array(rows) + 0.2 * rng.standard_normal((4, t.size))
    out, alone = fit_joint(t, y), fit_many(t, y, form="eq14")
    assert out["beta_determined_alone"].all() and out["tau0_determined_alone"].all()
    np.testing.assert_allclose(out["log_beta"], np.log(alone["beta"]), atol=0.05)
    np.testing.assert_allclose(out["sse"], alone["sse"], rtol=1e-2)


def test_a_trend_over_depth_is_followed():
    errors = {True: [], False: []}
    for seed in range(4):
        y, logs, depth = family(seed, spread=0.15, trend=1.2)
        for given in errors:
            out = fit_joint(T, y, covariates=depth[:, None] if given else None, weights=1 / y.mean(axis=0))
            errors[given] += list(out["log_beta"] - logs[:, 0])
    assert np.sqrt(np.mean(np.square(errors[True]))) < np.sqrt(np.mean(np.square(errors[False])))


def test_too_little_is_refused():
    y, _, _ = family(0)
    for values, message in (
        (y[:3], "a joint fit needs 4 curves"),
        (np.where(np.eye(16, T.size) > 0, np.nan, y), "missing"),
    ):
        with pytest.raises(FitError, match=message):
            fit_joint(T, values)


def test_what_it_cannot_use_is_refused_by_name():
    t = np.r_[0, 2.0 ** np.arange(12)]
    y = np.log1p(t + np.arange(5.0)[:, None])
    for options, message in (
        ({"covariates": [1.0, 2.0]}, r"covariates have shape \(2,\)"),
        ({"weights": np.r_[0, np.ones(12)]}, "weights are 0"),
        ({"sequences": [1.0]}, "sequences have shape"),
    ):
        with pytest.raises(FitError, match=message):
            fit_joint(t, y, **options)
    with pytest.raises(FitError, match="1 of 65 values are missing"):
        fit_joint(t, np.ma.masked_array(y, mask=np.arange(y.size).reshape(y.shape) == 17))
