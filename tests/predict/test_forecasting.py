import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from massact import Architecture
from massact.errors import ConfigError, TableError
from massact.predict import build_artefact, forecast
from massact.predict.forecasting import shipped_artefact

LEARNT_WITH = {"anchors": 12, "rank": 3}
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
    return json.loads(
        json.dumps(build_artefact(trajectories(SHAPES), models, tokens_per_step={"nano": 1024}, **LEARNT_WITH))
    )


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
    narrow = forecast(a, steps=[0, 4096], level=0.5, artefact=artefact)
    assert (narrow["upper"] <= table["upper"]).all()
    whole = forecast(a, steps=[0, 4096], holds="training", artefact=artefact)
    assert (whole["upper"] >= table["upper"]).all()
    far = forecast(architecture(4, 4096, 4), steps=[4096], artefact=artefact)
    assert "outside" in far.attrs["caution"]
    assert (far["upper"] / far["value"]).min() > (table["upper"] / table["value"]).max()
    assert "outside" not in table.attrs["caution"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"recipe": "giga"}, "known: nano"),
        ({"holds": "curves"}, "holds = curves is not known; nearest: curve"),
        ({"steps": [5000]}, "0 to 4096"),
        ({"level": 1.0}, "between 0 and 1"),
        ({"level": 90.0}, "between 0 and 1"),
        ({"level": float("nan")}, "between 0 and 1"),
        ({"steps": []}, "no steps"),
        ({"steps": [True]}, "not a whole number"),
        ({"steps": [10**400]}, "0 to 4096"),
    ],
)
def test_what_cannot_be_answered_is_refused(artefact, options, words):
    with pytest.raises(ConfigError, match=words):
        forecast(architecture(4, 128, 4), artefact=artefact, **options)


def test_steps_are_taken_in_every_form_with_one_meaning(artefact):
    a = architecture(4, 128, 4)
    expected = forecast(a, steps=[512], artefact=artefact)
    for steps in (512, np.int64(512), np.array([512, 512]), (512,), iter([512])):
        pd.testing.assert_frame_equal(forecast(a, steps=steps, artefact=artefact), expected)


def test_an_architecture_may_be_a_mapping(artefact):
    a = architecture(4, 128, 4)
    pd.testing.assert_frame_equal(forecast(a.as_dict(), artefact=artefact), forecast(a, artefact=artefact))
    four = {"n_layers": 4, "d_model": 128, "n_heads": 4, "d_mlp": 512}
    pd.testing.assert_frame_equal(forecast(four, artefact=artefact), forecast(a, artefact=artefact))
    for wrong, words in [({**four, "n_layer": 4}, "nearest: n_layers"), ({"n_layers": 4}, "d_model, n_heads, d_mlp")]:
        with pytest.raises(ConfigError, match=words):
            forecast(wrong, artefact=artefact)


def test_values_of_another_type_end_in_a_typed_error():
    """In a separate process without checks of annotations, as for a user."""
    code = """
from massact import forecast
from massact.errors import ConfigError, ParseError
from massact.predict.stored import learned_by_recipe

four = {"n_layers": 4, "d_model": 128, "n_heads": 4, "d_mlp": 512}
options = [{"level": "much"}, {"level": None}, {"recipe": ["nano"]}, {"steps": [512.5]}, {"steps": [float("nan")]},
           {"steps": "512"}, {"steps": ["512"]}, {"steps": 500.5}, {"steps": [None]}, {"artefact": 3}]
asked = [("n_layers=4", {}), (None, {}), ({**four, 7: 1}, {}), ([4, 128, 4, 512], {}), *((four, o) for o in options)]
for architecture, option in asked:
    try:
        forecast(architecture, **option)
    except (ConfigError, ParseError) as error:
        assert "\\n" not in str(error)
    else:
        raise SystemExit(f"{architecture} {option} was answered")
for artefact in ([], None, "text"):
    try:
        learned_by_recipe(artefact)
    except ParseError:
        continue
    raise SystemExit(f"{artefact} was believed")
assert forecast(four, steps=[512.0]).equals(forecast(four, steps=512))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_bounds_are_never_below_one():
    """The largest of |h| cannot lie below its median."""
    for numbers in [(24, 1024, 16), (1, 16, 16), (1000, 10**6, 1), (2, 48, 1)]:
        for recipe in ("grid", "nano"):
            table = forecast(architecture(*numbers), recipe=recipe, level=0.99)
            assert (table[["value", "lower", "upper"]] >= 1).all(axis=None)
            assert (table["lower"] <= table["value"]).all()
            assert (table["value"] <= table["upper"]).all()
            assert not table["upper"].isna().any()


def test_the_caution_names_its_subject_and_what_lies_outside(artefact):
    far = forecast(architecture(24, 4096, 4), artefact=artefact).attrs["caution"]
    assert far.startswith(
        "The forecast was learnt from 10 architectures of 2-8 layers and width 48-192, trained by recipe"
    )
    assert "Your architecture lies outside that range (width 4,096, 24 layers" in far
    assert "10 architectures" in far
    assert "no coverage" in far
    endless = forecast(architecture(4, 128, 4), level=0.999, artefact=artefact)
    assert "too few for a band at level 0.999" in endless.attrs["caution"]
    assert np.isinf(endless["upper"]).all()
    assert (endless["lower"] == 1).all()


def test_numbers_that_are_not_used_are_named_with_what_was_measured(artefact):
    a = architecture(4, 128, 4)
    other = Architecture(**{**a.as_dict(), "rotary_base": 500.0})
    tables = [forecast(one, artefact=artefact) for one in (a, other)]
    pd.testing.assert_frame_equal(*tables)  # it makes no difference, and the forecast says so:
    plain, changed = (table.attrs["unused"] for table in tables)
    for name in ("vocab_size", "context", "rotary_base"):
        assert name in plain
    assert "Your" not in plain
    assert "Your rotary_base=500 makes no difference to the forecast, and none of them had it." in changed


def test_every_factor_of_the_design_matters():
    a = architecture(4, 128, 4)
    plain = forecast(a)["value"]
    for change in ({"parallel_residual": False}, {"rotary_fraction": 1.0}, {"n_heads": 8}, {"d_mlp": 256}):
        assert not np.allclose(forecast({**a.as_dict(), **change})["value"], plain, rtol=1e-3), change


def test_a_layout_that_was_not_measured_is_an_extrapolation(artefact):
    table = forecast({**architecture(4, 128, 4).as_dict(), "parallel_residual": False}, artefact=artefact)
    assert table.attrs["outside"] == {"parallel residual": 1.0}
    assert "sequential residual branches" in table.attrs["caution"]


def test_the_default_recipe_is_the_one_learnt_from_the_most_architectures():
    table = forecast(architecture(4, 128, 4))
    assert set(table["recipe"]) == {"grid"}
    assert "54 architectures" in table.attrs["caution"]
    counts = {name: entry["architectures"] for name, entry in shipped_artefact()["recipes"].items()}
    assert counts == {"grid": 54, "nano": 5}
    with pytest.raises(ConfigError, match="give 0 to 2048; recipe nano: 0 to 4096"):
        forecast(architecture(4, 128, 4), steps=[4096])
    assert set(forecast(architecture(4, 128, 4), steps=[4096], recipe="nano")["recipe"]) == {"nano"}


def test_what_nothing_can_be_learnt_from_is_refused():
    models = {f"m{number}": architecture(*shape) for number, shape in enumerate(SHAPES)}
    good = trajectories(SHAPES)
    zero = good.assign(value=good["value"].where(good["step"] != 64, 0.0))
    for table, known, words in [
        (zero, models, "model m0, step 64, layer 0: ratio 0.0"),
        (good.assign(value=np.nan), models, "ratio nan"),
        (good[:0], models, "no ratio"),
        (good, {"m0": models["m0"]}, "the architecture of model m1, m2, m3 is missing"),
    ]:
        with pytest.raises(TableError, match=words):
            build_artefact(table, known, tokens_per_step={"nano": 1024}, **LEARNT_WITH)
    with pytest.raises(TableError, match="recipe nano"):
        build_artefact(good, models, tokens_per_step={}, **LEARNT_WITH)


def test_the_shipped_artefact_answers():
    shipped = shipped_artefact()
    assert len(json.dumps(shipped)) < 500_000
    table = forecast(Architecture(n_layers=3, d_model=128, n_heads=4, d_mlp=512))
    assert table["value"].between(1, 1000).all()
    assert (table["lower"] < table["value"]).all()
    assert (table["value"] < table["upper"]).all()
