import numpy as np
import pandas as pd
import pytest

from massact.errors import FitError
from massact.findings.variance import COMPONENTS, balanced, components, end_by_sequence, noise_ceiling

TRUTH = {"architecture": 0.4, "seed": 0.1, "sequence": 0.05, "architecture x sequence": 0.02, "rest": 0.03}


def drawn(seed, shape=(8, 3, 10)):
    rng, (a, s, q) = np.random.default_rng(seed), shape
    sd = {name: np.sqrt(value) for name, value in TRUTH.items()}
    return (
        sd["architecture"] * rng.normal(size=(a, 1, 1))
        + sd["seed"] * rng.normal(size=(a, s, 1))
        + sd["sequence"] * rng.normal(size=(1, 1, q))
        + sd["architecture x sequence"] * rng.normal(size=(a, 1, q))
        + sd["rest"] * rng.normal(size=shape)
    )


def test_components_are_right_on_average():
    estimates = pd.DataFrame([components(drawn(seed)) for seed in range(400)]).mean()
    for name in COMPONENTS:
        assert estimates[name] == pytest.approx(TRUTH[name], rel=0.1), name


def test_one_of_anything_is_refused():
    with pytest.raises(FitError, match="8 architectures x 1 seeds"):
        components(np.zeros((8, 1, 10)))


def test_the_last_step_is_taken_and_layers_are_averaged_in_the_logarithm():
    rows = [
        ("m", 0, step, layer, q, 10.0 ** (step + layer), 1.0) for step in (0, 2) for layer in (0, 1) for q in (0, 1)
    ]
    records = pd.DataFrame(rows, columns=["model", "seed", "step", "layer", "sequence", "top1", "median"])
    table = end_by_sequence(records)
    assert table["value"].tolist() == pytest.approx([2.5 * np.log(10)] * 2)


def test_only_models_with_all_seeds_are_balanced():
    frame = pd.DataFrame(
        [(m, s, q, m * 100 + s * 10 + q) for m in range(3) for s in range(3 if m else 1) for q in range(2)],
        columns=["model", "seed", "sequence", "value"],
    )
    y = balanced(frame)
    assert y.shape == (2, 3, 2)
    assert y[0, 2, 1] == 121
    with pytest.raises(FitError, match="different sequences"):
        balanced(frame.drop(index=frame.index[-1]))


def test_the_ceiling_is_what_the_true_means_would_score():
    rng = np.random.default_rng(0)
    means = rng.normal(0, 1, 400)
    models = np.repeat(np.arange(400), 3)
    y = pd.Series(means[models] + rng.normal(0, 0.5, 1200))
    assert noise_ceiling(y, pd.Series(models)) == pytest.approx(1 / 1.25, abs=0.03)
    assert np.isnan(noise_ceiling(y[:3], pd.Series([0, 1, 2])))
