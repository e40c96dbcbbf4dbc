"""Two designs side by side."""

from __future__ import annotations

import numpy as np
import pytest

from massact.errors import ConfigError
from massact.predict import build_artefact, forecast
from massact.predict.comparison import DEPTHS, compare, comparison_text
from tests.predict.designs import STEPS, architectures, trajectories

ONE = {"n_layers": 4, "d_model": 32, "n_heads": 2, "d_mlp": 128}
LAST = int(STEPS[-1])


@pytest.fixture(scope="module")
def artefact():
    known = architectures(30)
    return build_artefact(trajectories(known, noise=0.1), known, tokens_per_step={"grid": 512}, anchors=8, rank=2)


def test_its_columns_are_the_forecasts_at_the_same_depths(artefact):
    two = {**ONE, "parallel_residual": False}
    table = compare(ONE, two, steps=LAST, artefact=artefact)
    assert table["depth"].tolist()[:-1] == list(DEPTHS)
    for column, numbers in (("first", ONE), ("second", two)):
        layers = forecast(numbers, steps=LAST, artefact=artefact)["value"]
        assert table[column].iloc[0] == pytest.approx(layers.iloc[0])
        assert table[column].iloc[4] == pytest.approx(layers.iloc[-1])
        assert table[column].iloc[5] == pytest.approx(np.exp(np.log(layers).mean()))
    assert np.allclose(table["times"], table["second"] / table["first"])


def test_an_equal_design_differs_by_its_training_alone(artefact):
    table = compare(ONE, ONE, steps=LAST, artefact=artefact)
    assert np.allclose(table["times"], 1)
    assert np.allclose(table["lower"] * table["upper"], 1)
    assert (table["upper"] > 1.05).all()
    assert (compare(ONE, ONE, steps=LAST, level=0.5, artefact=artefact)["upper"] < table["upper"]).all()


def test_its_intervals_hold_for_new_pairs(artefact):
    new = architectures(24, seed=3)
    measured = trajectories(new, noise=0.1, seed=9)
    ends = {
        model: np.log(rows.loc[rows["step"] == LAST, "value"].to_numpy()).mean()
        for model, rows in measured.groupby("model")
    }
    inside = []
    for first, second in zip(list(new)[::2], list(new)[1::2], strict=True):
        row = compare(new[first], new[second], steps=LAST, level=0.8, artefact=artefact).iloc[-1]
        inside.append(row["lower"] <= np.exp(ends[second] - ends[first]) <= row["upper"])
    assert np.mean(inside) >= 0.6


def test_too_few_designs_have_no_interval_and_the_text_says_what_is_outside(artefact):
    wide = {**ONE, "d_model": 4096, "d_mlp": 16384, "n_heads": 64}
    table = compare(ONE, wide, steps=LAST, level=0.99, artefact=artefact)
    assert np.isinf(table["upper"]).all()
    text = comparison_text(table, 0.99)
    assert text.startswith("Outside the measured range: log2 d")
    assert "mean" in text.splitlines()[-1]
    with pytest.raises(ConfigError, match="give 0 to"):
        compare(ONE, wide, steps=10**6, artefact=artefact)
