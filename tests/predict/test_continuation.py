"""The forecast of a run in progress."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from massact.architecture import Architecture
from massact.errors import ConfigError, MissingInputError, TableError
from massact.predict import build_artefact, forecast
from massact.predict.continuation import forecast_run, read_run
from massact.tables import write_table
from massact.trajectories import RECORDS
from tests.predict.designs import STEPS, architectures, trajectories

LAST = int(STEPS[-1])


@pytest.fixture(scope="module")
def known():
    return architectures(24)


@pytest.fixture(scope="module")
def artefact(known):
    table = trajectories(known, noise=0.15)
    return build_artefact(table, known, tokens_per_step={"grid": 512}, anchors=16, rank=3)


@pytest.fixture(scope="module")
def new():
    """Trainings of architectures that were not measured, whose own effect is as large as that of the others."""
    return architectures(12, seed=1)


def run(new, model):
    table = trajectories(new, noise=0.15, seed=5)
    return table[table["model"] == model][["step", "layer", "value"]].reset_index(drop=True)


def test_the_first_steps_improve_the_forecast(known, artefact, new):
    errors = {"architecture": [], "first steps": []}
    for model, architecture in new.items():
        whole = run(new, model)
        end = np.log(whole[whole["step"] == LAST]["value"].to_numpy())
        early = whole[whole["step"] <= 300]
        for name, table in (
            ("architecture", forecast(architecture, steps=LAST, artefact=artefact)),
            ("first steps", forecast_run(architecture, early, steps=LAST, artefact=artefact)),
        ):
            errors[name].append(np.abs(np.log(table["value"].to_numpy()) - end).mean())
    assert np.mean(errors["first steps"]) < 0.6 * np.mean(errors["architecture"])


def test_its_bands_hold_and_narrow(artefact, new):
    inside, narrower = [], []
    for model, architecture in new.items():
        whole = run(new, model)
        table = forecast_run(architecture, whole[whole["step"] <= 300], steps=LAST, level=0.8, artefact=artefact)
        actual = whole[whole["step"] == LAST]["value"].to_numpy()
        inside.append(((table["lower"] <= actual) & (actual <= table["upper"])).mean())
        plain = forecast(architecture, steps=LAST, level=0.8, artefact=artefact)
        narrower.append((table["upper"] / table["lower"]).mean() < (plain["upper"] / plain["lower"]).mean())
    assert np.mean(inside) > 0.6
    assert np.mean(narrower) > 0.9


def test_a_run_of_another_recipe_is_refused(artefact, new):
    early = run(new, "m1")
    early = early[early["step"] <= 300].assign(value=lambda t: np.exp(6 + np.sin(t["step"])))
    with pytest.raises(ConfigError, match="do not follow recipe grid"):
        forecast_run(new["m1"], early, artefact=artefact)


def test_steps_are_those_that_are_to_come(artefact, new):
    early = run(new, "m1")
    early = early[early["step"] <= 300]
    table = forecast_run(new["m1"], early, artefact=artefact)
    assert table["step"].min() > 300
    assert table["step"].max() == LAST
    assert f"first {early['step'].max():,} steps" in table.attrs["caution"]
    with pytest.raises(ConfigError, match="step 10 cannot be forecast"):
        forecast_run(new["m1"], early, steps=[10], artefact=artefact)
    with pytest.raises(ConfigError, match="nothing to forecast"):
        forecast_run(new["m1"], run(new, "m1"), artefact=artefact)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="value"), "no column value"),
        (lambda t: t[t["layer"] > 0], "give every layer, from 0"),
        (lambda t: t.assign(value=t["value"].where(t["layer"] > 0, -1.0)), "no positive ratio"),
        (lambda t: t[(t["layer"] > 0) | (t["step"] > 10)], "no positive ratio"),
    ],
)
def test_what_is_no_run_is_refused(artefact, new, change, message):
    early = run(new, "m1")
    with pytest.raises(TableError, match=message):
        forecast_run(new["m1"], change(early[early["step"] <= 300]), artefact=artefact)


def test_a_run_is_read_from_csv(tmp_path, new):
    path = tmp_path / "run.csv"
    run(new, "m1").to_csv(path, index=False)
    found = read_run(path)
    pd.testing.assert_frame_equal(found.measured, run(new, "m1"))
    assert found.architecture is found.recipe is None
    with pytest.raises(MissingInputError, match=r"step, layer, value"):
        read_run(tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    with pytest.raises(TableError, match="is not a CSV"):
        read_run(tmp_path / "binary.csv")


def test_a_table_of_records_states_its_architecture_and_recipe(tmp_path, artefact):
    known = Architecture(n_layers=2, d_model=64, n_heads=2, d_mlp=256)
    rows = [
        {
            "family": "f", "recipe": "giga", "model": "m", "seed": 0, "step": step, "tokens": 512 * step,
            "layer": layer, "probe_length": 32, "first_token": 0, "sequence": sequence, "median": 0.5,
            **{f"top{k}": 4.0 - k for k in (1, 2, 3)}, **{f"token{k}": 0 for k in (1, 2, 3)},
            **{f"dimension{k}": k for k in (1, 2, 3)},
        }
        for step in (0, 1, 64) for layer in (0, 1) for sequence in (0, 1)
    ]  # fmt: skip
    write_table(pd.DataFrame(rows), tmp_path / "run.parquet", RECORDS, {"architecture": known.as_dict()})
    found = read_run(tmp_path / "run.parquet")
    assert (found.architecture, found.recipe) == (known, "giga")
    assert found.measured["value"].tolist() == pytest.approx([6.0] * 6)
    with pytest.raises(ConfigError, match="recipe giga, which the forecast was not learnt from"):
        found.recipe_in(artefact)
    assert replace(found, recipe="grid").recipe_in(artefact) == "grid"
