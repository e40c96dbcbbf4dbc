import numpy as np
import pandas as pd
import pytest

from massact.errors import FitError
from massact.fit import FORMS, Regime, brief, fit_many, fit_series
from massact.fit.status import FitStatus
from tests.fit.curves import SHORT, series
from tests.fit.test_many import trajectories


def curves() -> np.ndarray:
    """An interior peak, a log rise, a constant, and a series of three values."""
    rng = np.random.default_rng(0)
    peak = 3 + 2 * np.log1p(SHORT / 20) * np.exp(-SHORT / 500)
    rise = 3 + 2 * np.log1p(SHORT / 20)
    short = np.where(np.arange(SHORT.size) < 3, 1.0 + np.arange(SHORT.size), np.nan)
    noise = 0.03 * rng.standard_normal((2, SHORT.size))
    return np.array([peak + noise[0], rise + noise[1], np.full(SHORT.size, 7.0), short])


def test_each_curve_is_one_line_with_what_may_be_quoted():
    table = fit_many(SHORT, curves(), form="eq9")
    head, *lines = brief(table).split("\n\n")[0].splitlines()
    assert head.split() == ["curve", "form", "R2", "regime", "status", "start", "end", "peak", "parameters"]
    assert [line.split()[0] for line in lines] == ["0", "1", "2", "3"]
    for line, row in zip(lines, table.to_dict("records"), strict=True):
        assert line.split()[1] == "eq9" and row["regime"] in line and row["status"].partition(":")[0] in line
        for name in FORMS["eq9"].parameters:
            assert (f" {name} {row[name]:.4g}" in line) == row[f"{name}_determined"]
    assert f"{table['peak_value'][0]:.4g} at step {table['peak_step'][0]:.4g}" in lines[0]
    assert f"{table['f_end'][1]:.4g}" in lines[1] and "none in range" in lines[1] and lines[1].endswith("  -")
    assert lines[2].endswith("K 7") and "7 " not in lines[2]  # of a flat curve nothing but the constant
    assert "failed" in lines[3] and lines[3].split()[-4:] == ["-"] * 4


def test_the_words_of_the_lines_are_explained_once_and_no_others():
    text = brief(fit_many(SHORT, curves(), form="eq9"))
    below = text.split("\n\n")[1].splitlines()
    assert [line.split(":")[0] for line in below] == [
        "regime plateau_seen",
        "regime log_rise",
        "regime flat",
        "regime failed",
        "status at_edge_b_zero",
        "status few_points",
        "status constant",
    ]
    assert Regime.LOG_RISE.text in text and FitStatus.FEW_POINTS.text in text


def test_intervals_stand_in_brackets():
    row = fit_many(SHORT, curves()[:1], form="eq14", intervals="residuals", resamples=20).iloc[:1]
    first = row.to_dict("records")[0]
    line = brief(row).splitlines()[1]
    for name in ("f_start", "f_end", "peak_value", "peak_step"):
        assert f"{first[name]:.4g} [{first[f'{name}_lower']:.4g}, {first[f'{name}_upper']:.4g}]" in line


def test_what_the_report_of_one_curve_does_not_determine_is_not_shown():
    _, noisy, _ = series(SHORT, 3)
    departing = np.maximum(noisy[0], 5.0) + np.where(SHORT > 2000, SHORT / 500, 0.0)
    hidden = 0
    for y in [*noisy, departing]:
        for form in ("eq9", "hill"):
            fit = fit_series(SHORT, y, form=form)
            line = brief(fit_many(SHORT, y[None], form=form)).splitlines()[1]
            report = fit.report().splitlines()
            labels = ("value at the last step", "step of the interior peak")
            unknown = [text for text in report if text.strip().startswith(labels) and text.endswith("not determined")]
            assert line.count("not determined") == len(unknown), (line, report)
            hidden += len(unknown)
    assert hidden


def test_a_table_of_a_model_shows_model_seed_layer_and_quantity():
    from massact.architecture import Architecture
    from massact.fit import fit_table

    table = fit_table(trajectories(), Architecture(n_layers=2, d_model=64, n_heads=2, d_mlp=256).as_dict(), "eq14")
    head, first, *_ = brief(table).splitlines()
    assert head.split()[:6] == ["model", "seed", "layer", "quantity", "form", "R2"]
    assert first.split()[:5] == ["m", "1", "0", "median", "eq14"]
    two = pd.concat([table, table.assign(recipe="nano")])
    assert brief(two).split()[:2] == ["recipe", "model"]


def test_no_curves_are_a_heading_and_another_table_is_refused():
    assert len(brief(fit_many(SHORT, np.zeros((0, 24)))).splitlines()) == 1
    with pytest.raises(FitError, match=r"no column r2, .*status; pass a table from fit_many"):
        brief(pd.DataFrame({"value": [1.0]}))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_shown_and_the_table_stays_a_plain_one(form):
    _, noisy, _ = series(SHORT, 4)
    table = fit_many(SHORT, noisy, form=form)
    assert type(table) is pd.DataFrame and table.attrs["form"] == form
    assert len(brief(table).split("\n\n")[0].splitlines()) == 5
