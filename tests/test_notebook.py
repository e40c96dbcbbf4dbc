"""Measure, fit and draw in a notebook, in one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import massact as ma
from massact.errors import ConfigError, MissingInputError, TableError
from massact.extract.protocol import Measurement
from massact.fit.schemas import fits_schema
from massact.report.plot_table import TableFigure
from massact.trajectories import RECORDS
from tests.models import tiny_model
from tests.runs import write_run

STEPS = (0, 1, 2, 4, 8, 16, 32, 64)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("a nôtebook") / "run", steps=STEPS)


@pytest.fixture(scope="module")
def table(run) -> pd.DataFrame:
    return ma.measure_checkpoints(run, sequences=3, length=16, store=run.parent / "records", progress=False)


@pytest.fixture(scope="module")
def fits(table) -> pd.DataFrame:
    return ma.fit_table(table, resamples=20)


def test_a_folder_becomes_a_table_of_records_with_its_provenance(run, table):
    assert tuple(sorted(set(table["step"]))) == STEPS
    assert table.equals(RECORDS.validate(table, "measured", table.attrs))
    assert table.attrs["architecture"]["n_layers"] == 3
    assert table.attrs["probe"] == {"text": "shakespeare", "length": 16, "first_token": 0}
    assert set(table.attrs["checkpoints"]) == set(map(str, STEPS))
    assert table[table["layer"] == 0].attrs == table.attrs


def test_records_are_shared_and_layers_and_steps_selected(run, table, monkeypatch):
    records = run.parent / "records"
    before = {path: path.stat().st_mtime_ns for path in records.rglob("*.record")}
    assert len(before) == len(STEPS)
    monkeypatch.chdir(run.parent)
    options = {"sequences": 3, "length": 16, "progress": False, "store": ma.RecordStore(records)}
    some = ma.measure_checkpoints("run", steps=[0, 64], layers=[0, "last"], **options)
    expected = table[table["step"].isin([0, 64]) & table["layer"].isin([0, 2])].reset_index(drop=True)
    assert some.equals(expected)
    assert some.attrs["layers"] == [0, 2]
    assert set(ma.measure_checkpoints("run", steps="last", **options)["step"]) == {64}
    assert before == {path: path.stat().st_mtime_ns for path in records.rglob("*.record")}


def test_token_ids_in_memory_are_a_probe(run, monkeypatch):
    monkeypatch.chdir(run.parent)
    ids = torch.randint(0, 300, (4, 8), generator=torch.Generator().manual_seed(0))
    measured = ma.measure_checkpoints("run", steps=64, probe=ids, store="other/records", progress=False)
    model = ma.checkpoints.FolderSource(run)
    assert measured["sequence"].nunique() == 4
    assert measured.attrs["tokens_sha256"] == ma.Probe.of(ids).sha256
    assert model.steps()[-1] == 64
    assert [path.suffix for path in (run.parent / "other/probes").iterdir()] == [".npy"]


def test_fits_say_what_may_be_quoted(table, fits):
    assert list(fits.columns) == [*fits_schema("eq9").columns, "quoted"]
    assert len(fits) == 9
    assert fits.attrs["form"] == "eq9"
    assert "regime" in ma.brief(fits).splitlines()[0]
    one = ma.fit_table(table, form="log", quantities=["ratio"], resamples=0)
    assert set(one["quantity"]) == {"ratio"}
    assert set(one["form"]) == {"log"}


def test_a_plot_has_a_panel_per_quantity_and_a_line_per_layer(table, fits):
    figure = ma.plot(table)
    assert [axes.get_ylabel() != "" for axes in figure.axes] == [True] * 3
    assert all(axes.get_xscale() == "symlog" for axes in figure.axes)
    assert [len(axes.lines) for axes in figure.axes] == [3, 3, 3]
    (axes,) = ma.plot(table, quantities="ratio", layers="0,last").axes
    assert len(axes.lines) == 2
    (axes,) = ma.plot(table, fits, quantities=["ratio"]).axes
    drawn = int((fits[fits["quantity"] == "ratio"]["regime"] != "failed").sum())
    assert len(axes.lines) == 3 + drawn
    curves = ma.plot(fits, quantities=["ratio"])
    assert len(curves.axes[0].lines) == drawn
    assert np.nanmax(curves.axes[0].lines[0].get_xdata()) == 64
    assert isinstance(figure, TableFigure)
    assert figure._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("call", "kind", "match"),
    [
        (lambda t: ma.measure_checkpoints("nowhere"), MissingInputError, "nowhere is not a folder"),
        (lambda t: ma.measure_checkpoints("pythia-70m", steps=[1.5, "x"]), ConfigError, "steps"),
        (lambda t: ma.measure_checkpoints("pythia-70m", layers=[99]), ConfigError, "no layer 99"),
        (lambda t: ma.measure_checkpoints("pythia-70m", dtype="float8"), ConfigError, "float16"),
        (lambda t: ma.fit_table(pd.concat([t, t.assign(model="b")]).drop(columns="top1")), TableError, "attrs"),
        (lambda t: ma.fit_table(t, form="eq10"), ma.MassactError, "eq10"),
        (lambda t: ma.plot(t, quantities=["rato"]), TableError, "no quantity rato"),
        (lambda t: ma.plot(t[t["layer"] == 0], layers="2"), TableError, "no layer 2"),
        (lambda t: ma.plot(pd.DataFrame({"a": [1]})), TableError, "neither records nor fits"),
        (lambda t: ma.plot(t[t["layer"] > 9]), TableError, "no rows"),
    ],
)
def test_what_cannot_be_meant_is_one_line(table, call, kind, match):
    table = table.copy()
    if match == "attrs":
        table.attrs = {}
    with pytest.raises(kind, match=match) as caught:
        call(table)
    assert "\n" not in str(caught.value)


def test_results_have_a_short_html_form():
    measurement = ma.measure(tiny_model(), torch.randint(1, 300, (3, 8)))
    html = measurement._repr_html_()
    assert html.count("<tr>") == 1 + 2
    assert "2 layers" in html
    assert Measurement({})._repr_html_()
    t = np.r_[0, 2.0 ** np.arange(12)]
    fit = ma.fit_series(t, 3 + 2 * np.log1p(t / 20) * np.exp(-t / 500), form="eq14")
    assert "value at the first step" in fit._repr_html_()
    assert str(fit.regime) in fit._repr_html_()
    failed = ma.fit_series(t[:3], [1.0, 2.0, 3.0])
    assert "failed" in failed._repr_html_()


def test_a_program_that_uses_hydra_keeps_its_state(run, table):
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from massact.app import CONF

    with initialize_config_dir(str(CONF), version_base="1.3"):
        mine = GlobalHydra.instance().hydra
        ma.measure_checkpoints(run, sequences=3, length=16, store=run.parent / "records", progress=False)
        assert GlobalHydra.instance().hydra is mine
