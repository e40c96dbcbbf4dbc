import json

import numpy as np
import pandas as pd
import pytest

from massact import Architecture
from massact.errors import ConfigError
from massact.predict import build_artefact, forecast
from massact.predict.forecasting import shipped_artefact

STEPS = [0, 1, 4, 16, 64, 256, 1024, 4096]
SHAPES = [(layers, d, heads) for layers, d, heads in [(2, 64, 2), (3, 96, 4), (4, 128, 2), (6, 64, 4), (8, 48, 3),
          (5, 160, 8), (3, 192, 6), (7, 80, 5), (4, 64, 4), (2, 128, 4)]]  # fmt: skip


def architecture(layers, d, heads):
    return Architecture(n_layers=layers, d_model=d, n_heads=heads, d_mlp=4 * d)


def curve(a, layer, steps):
    return 5 + 0.1 * a.d_model * (1 + layer / a.n_layers) * np.log1p(np.asarray(steps)) / np.log1p(4096)


def trajectories(shapes, noise=0.05):
    generator = np.random.default_rng(0)
    rows = []
    for number, shape in enumerate(shapes):
        a = architecture(*shape)
        for layer in range(a.n_layers):
            values = curve(a, layer, STEPS) * np.exp(noise * generator.normal())
            rows += [("nano", f"m{number}", 0, layer, s, "ratio", v) for s, v in zip(STEPS, values, strict=True)]
    return pd.DataFrame(rows, columns=["recipe", "model", "seed", "layer", "step", "quantity", "value"])


@pytest.fixture(scope="module")
def artefact():
    models = {f"m{number}": architecture(*shape) for number, shape in enumerate(SHAPES)}
    return json.loads(json.dumps(build_artefact(trajectories(SHAPES), models, tokens_per_step={"nano": 1024})))


def test_a_new_architecture_is_inside_its_interval_mostly(artefact):
    inside = []
    for shape in [(3, 80, 4), (4, 96, 4), (5, 112, 4), (6, 128, 8), (4, 72, 3)]:
        a = architecture(*shape)
        table = forecast(a, steps=[64, 1024, 4096], level=0.9, artefact=artefact)
        for row in table.itertuples():
            inside.append(row.lower <= curve(a, row.layer, row.step) <= row.upper)
    assert np.mean(inside) > 0.8


def test_table_has_its_columns_and_widens_with_level_and_distance(artefact):
    a = architecture(4, 128, 4)
    table = forecast(a, steps=[0, 4096], artefact=artefact)
    assert list(table.columns) == ["recipe", "step", "tokens", "layer", "value", "lower", "upper"]
    assert (table["tokens"] == table["step"] * 1024).all()
    assert len(table) == 8
    wide = forecast(a, steps=[0, 4096], level=0.99, artefact=artefact)
    assert (wide["upper"] >= table["upper"]).all()
    far = forecast(architecture(4, 4096, 4), steps=[4096], artefact=artefact)
    assert "outside" in far.attrs["caution"]
    assert (far["upper"] / far["value"]).min() > (table["upper"] / table["value"]).max()
    assert "outside" not in table.attrs["caution"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"recipe": "giga"}, "known: nano"),
        ({"steps": [5000]}, "0 to 4096"),
        ({"level": 1.0}, "share"),
        ({"level": 90.0}, "share"),
    ],
)
def test_what_cannot_be_answered_is_refused(artefact, options, words):
    with pytest.raises(ConfigError, match=words):
        forecast(architecture(4, 128, 4), artefact=artefact, **options)


def test_the_shipped_artefact_answers():
    shipped = shipped_artefact()
    assert len(json.dumps(shipped)) < 500_000
    table = forecast(Architecture(n_layers=3, d_model=128, n_heads=4, d_mlp=512))
    assert table["value"].between(1, 1000).all()
    assert (table["lower"] < table["value"]).all()
    assert (table["value"] < table["upper"]).all()
