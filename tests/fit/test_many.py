import numpy as np
import pandas as pd
import pytest

from massact.architecture import Architecture
from massact.errors import FitError
from massact.fit import FORMS, curve_values, fit_many, fit_table
from massact.fit.schemas import fits_schema
from massact.trajectories.schemas import TRAJECTORIES
from tests.fit.curves import PYTHIA, SHORT, series


@pytest.mark.parametrize("form", FORMS)
def test_columns_are_those_of_the_schema(form):
    _, noisy, _ = series(SHORT, 8)
    out = fit_many(SHORT, noisy, form=form)
    names = list(fits_schema(form).columns)
    assert list(out.columns) == ["curve", *names[names.index("n_points") :]]
    assert out["curve"].tolist() == list(range(8))


@pytest.mark.parametrize("t", [SHORT, SHORT[SHORT <= 2048], PYTHIA[::5]], ids=["4096", "2048", "pythia"])
@pytest.mark.parametrize("form", ["eq9", "eq14"])
def test_a_row_draws_the_curve_whose_sse_it_states(form, t):
    _, noisy, _ = series(t, 48)
    flat = 5 + 0.1 * np.random.default_rng(0).standard_normal((8, t.size))
    y = np.concatenate([noisy, flat, 1e3 - noisy[:8], np.full((1, t.size), 7.0), 2 + 1e-3 * t[None]])
    for i, row in fit_many(t, y, form=form).iterrows():
        drawn = np.sum((y[i] - curve_values(form, row, t)) ** 2)
        assert drawn == pytest.approx(row["sse"], rel=1e-3, abs=1e-20 * np.sum(y[i] ** 2))
        assert np.isfinite([row[name] for name in fits_schema(form).columns if name in FORMS[form].parameters]).all()


def test_eq9_and_eq14_are_one_curve():
    _, noisy, _ = series(SHORT, 48)
    one, two = (fit_many(SHORT, noisy, form=form) for form in ("eq9", "eq14"))
    np.testing.assert_allclose(one["sse"], two["sse"], rtol=2e-3)
    np.testing.assert_allclose(one["f_end"], two["f_end"], rtol=1e-2)


def test_missing_points_are_left_out():
    _, noisy, _ = series(SHORT, 4)
    y = noisy.copy()
    y[1, [0, 5]] = np.nan
    y[3] = np.nan
    out = fit_many(SHORT, y)
    assert out["n_points"].tolist() == [24, 22, 24, 0]
    kept = np.isfinite(y[1])
    alone = fit_many(SHORT[kept], y[1:2, kept])
    assert out["sse"][1] == pytest.approx(alone["sse"][0], rel=1e-9)
    assert out["regime"][3] == "failed" and out["status"][3].startswith("no_finite_points: ")
    zero = np.where(np.isnan(y), 0.0, 1.0)
    pd.testing.assert_frame_equal(fit_many(SHORT, noisy, weights=zero), out)


@pytest.mark.parametrize("n", range(9))
@pytest.mark.parametrize("form", FORMS)
def test_few_points_are_a_status(form, n):
    out = fit_many(SHORT[:n], np.random.default_rng(0).lognormal(size=(3, n)), form=form)
    few = n <= len(FORMS[form].parameters)
    assert (out["regime"] == "failed").all() == few
    assert out["status"].str.startswith("few_points" if n else "no_finite").all() == few
    fits_schema(form)  # NaN is allowed in these columns
    assert np.isfinite(out["sse"]).all() != few


def test_constants_are_flat():
    out = fit_many(SHORT, np.array([np.full(24, 7.0), np.zeros(24)]))
    assert out["regime"].tolist() == ["flat", "flat"] and out["status"].str.startswith("constant").all()
    assert out["K"].tolist() == [7.0, 0.0] and out["K_determined"].all() and not out["gamma_determined"].any()
    zero = fit_many(SHORT, np.zeros((1, 24)), form="step2")
    assert zero["f_end"][0] == 0 and zero["regime"][0] == "flat"


def test_weights_per_curve_are_those_curves_alone():
    _, noisy, _ = series(SHORT, 3)
    w = np.random.default_rng(0).uniform(0.5, 2, (3, 24))
    together = fit_many(SHORT, noisy, weights=w)
    alone = [fit_many(SHORT, noisy[i : i + 1], weights=w[i])["sse"][0] for i in range(3)]
    np.testing.assert_allclose(together["sse"], alone, rtol=1e-9)


def test_progress_goes_to_standard_error(capsys):
    _, noisy, _ = series(SHORT, 3)
    fit_many(SHORT, noisy, progress=True)
    output = capsys.readouterr()
    assert "3/3" in output.err and not output.out


def test_no_curves_are_an_empty_table():
    out = fit_many(SHORT, np.zeros((0, 24)))
    assert len(out) == 0 and "status" in out


def test_bad_input():
    _, noisy, _ = series(SHORT, 3)
    for steps, values, options, message in (
        (SHORT[:-1], noisy, {}, r"values have shape \(3, 24\) and steps \(23,\)"),
        (SHORT[::-1], noisy, {}, "ascending"),
        (SHORT - 1, noisy, {}, "step -1"),
        (SHORT, noisy, {"form": "eq8"}, "did you mean 'eq9'"),
        (SHORT, noisy, {"weights": np.ones(5)}, "weights"),
    ):
        with pytest.raises(FitError, match=message):
            fit_many(steps, values, **options)


def trajectories() -> pd.DataFrame:
    _, noisy, _ = series(SHORT, 4)
    rows = []
    for layer in range(2):
        for j, quantity in enumerate(("ratio", "median")):
            steps = SHORT if layer == 0 else SHORT[1:]
            for step in reversed(range(len(SHORT) - len(steps), len(SHORT))):
                rows.append(
                    {
                        "family": "pythia", "recipe": "pile", "model": "m", "seed": 1, "step": int(SHORT[step]),
                        "tokens": 0, "layer": layer, "probe_length": 64, "first_token": -1, "quantity": quantity,
                        "value": noisy[2 * layer + j, step], "se": np.nan, "n_sequences": 1,
                    }
                )  # fmt: skip
    return TRAJECTORIES.validate(pd.DataFrame(rows))


@pytest.mark.parametrize("form", FORMS)
def test_a_table_of_trajectories_becomes_a_table_of_fits(form):
    _, noisy, _ = series(SHORT, 4)
    architecture = Architecture(n_layers=2, d_model=64, n_heads=2, d_mlp=256).as_dict()
    out = fit_table(trajectories(), architecture, form=form, quantities=["ratio", "median"], progress=False)
    assert out.equals(fits_schema(form).validate(out))
    assert out[["layer", "quantity"]].to_numpy().tolist() == [[0, "median"], [0, "ratio"], [1, "median"], [1, "ratio"]]
    assert (out["d_model"] == 64).all() and (out["form"] == form).all()
    assert out["n_points"].tolist() == [24, 24, 23, 23]
    assert out["sse"][1] == pytest.approx(fit_many(SHORT, noisy[:1], form=form)["sse"][0], rel=1e-9)
    assert len(fit_table(trajectories(), architecture, form, ["ratio"], False)) == 2


def test_a_bad_table():
    architecture = Architecture(n_layers=2, d_model=64, n_heads=2, d_mlp=256).as_dict()
    frame = trajectories()
    with pytest.raises(FitError, match="no quantity top1; known: median, ratio"):
        fit_table(frame, architecture, "eq9", ["top1"])
    with pytest.raises(FitError, match="has no d_model"):
        fit_table(frame, {key: value for key, value in architecture.items() if key != "d_model"})
    with pytest.raises(FitError, match="step 1 twice"):
        fit_table(frame.assign(step=frame["step"].replace(2, 1)), architecture)


def test_options_that_are_not_known_are_refused_by_name():
    y = np.ones((2, SHORT.size))
    for options, message in (
        ({"loss": "hubert"}, "loss = 'hubert'"),
        ({"path": "gpu"}, "path = 'gpu'"),
        ({"intervals": "residual"}, "did you mean 'residuals'"),
        ({"intervals": "blocks", "resamples": 0}, "resamples = 0"),
        ({"sequences": [y, y], "resamples": -1}, "resamples = -1"),
        ({"seed": -1}, "seed = -1"),
    ):
        with pytest.raises(FitError, match=message):
            fit_many(SHORT, y, **options)
    with pytest.raises(FitError, match="no column family"):
        fit_table(pd.DataFrame({"value": [1.0]}), {})
