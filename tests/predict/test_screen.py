import io
import json

import pandas as pd
import pytest

from massact import Architecture
from massact.errors import ConfigError
from massact.predict import forecast
from massact.predict.screen import forecast_csv, forecast_json, forecast_text


@pytest.mark.parametrize("n_layers", [1, 4, 12, 13, 24, 1000])
@pytest.mark.parametrize("steps", [None, [512]])
def test_a_forecast_fits_a_terminal(n_layers, steps):
    architecture = Architecture(n_layers=n_layers, d_model=1024, n_heads=16, d_mlp=4096, parallel_residual=False)
    table = forecast(architecture, steps=steps)
    lines = forecast_text(table, architecture, level=0.9).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("The forecast was learnt from")
    head = next(number for number, line in enumerate(lines) if line.split()[0] == "layer")
    assert "Not used" in " ".join(lines[:head])
    layers = [int(line.split()[0]) for line in lines[head + 1 :] if "(" in line]
    assert layers[0] == 0
    assert layers[-1] == n_layers - 1
    assert len(layers) == min(12, n_layers)


def test_cells_are_the_tables_numbers():
    architecture = Architecture(n_layers=2, d_model=128, n_heads=4, d_mlp=512)
    table = forecast(architecture, steps=[512, 2048])
    last = forecast_text(table, architecture, level=0.9).splitlines()[-1].split()
    row = table[(table["step"] == 2048) & (table["layer"] == 1)].iloc[0]
    assert last[0] == "1"
    assert float(last[5]) == pytest.approx(row["value"], rel=5e-3)
    assert float(last[6][1:]) == pytest.approx(row["lower"], rel=5e-3)


def test_chosen_layers_and_csv():
    architecture = Architecture(n_layers=20, d_model=128, n_heads=4, d_mlp=512)
    table = forecast(architecture)
    lines = forecast_text(table, architecture, level=0.9, layers=[3, 19, 3]).splitlines()
    assert [line.split()[0] for line in lines[-3:]] == ["3", "19", "2"]
    read = pd.read_csv(io.StringIO(forecast_csv(table, architecture)), comment="#")
    pd.testing.assert_frame_equal(read, table, rtol=1e-5)
    read = pd.read_csv(io.StringIO(forecast_csv(table, architecture, layers=[3])), comment="#")
    assert set(read["layer"]) == {3}
    with pytest.raises(ConfigError, match="no layer 20; give 0 to 19"):
        forecast_text(table, architecture, level=0.9, layers=[20])


def test_json_is_a_list_of_rows_without_infinities():
    architecture = Architecture(n_layers=2, d_model=128, n_heads=4, d_mlp=512)
    table = forecast(architecture, steps=[512, 2048])
    rows = json.loads(forecast_json(table, architecture, layers=[1]))
    assert [(row["step"], row["layer"]) for row in rows] == [(512, 1), (2048, 1)]
    assert rows[1]["value"] == pytest.approx(table["value"].iloc[-1])
    endless = forecast(architecture, steps=[512], recipe="nano")
    assert {row["upper"] for row in json.loads(forecast_json(endless, architecture))} == {None}
