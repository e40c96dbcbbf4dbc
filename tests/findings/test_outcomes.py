import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massact.errors import FitError
from massact.findings.outcomes import (
    FACTORS,
    OUTCOMES,
    design_rows,
    effects,
    factor_columns,
    ladder_outcomes,
    onset,
    outcomes,
    slope,
)
from massact.trajectories import ARCHITECTURES

STEPS = np.array([0, 1, 2, 4, 8, 16, 32])


def trajectories(curves):
    """Of {(model, seed): {layer: values over STEPS}}."""
    rows = [
        (model, seed, step, layer, "ratio", value)
        for (model, seed), layers in curves.items()
        for layer, values in layers.items()
        for step, value in zip(STEPS, values, strict=True)
    ]
    return pd.DataFrame(rows, columns=["model", "seed", "step", "layer", "quantity", "value"])


def test_outcomes_are_of_the_geometric_mean_over_layers():
    rising = np.array([2, 2, 2, 8, 32, 32, 8.0])
    [row] = outcomes(trajectories({("a", 0): {0: rising, 1: rising * 4}})).to_dict("records")
    assert row["end_ratio"] == pytest.approx(16)
    assert row["peak_ratio"] == pytest.approx(64)
    assert row["onset_step"] == pytest.approx(4)  # from 4 to 64, half way in the logarithm is 16


@given(st.lists(st.floats(-3, 6), min_size=7, max_size=7))
def test_the_onset_lies_where_the_curve_crosses_half_its_rise(values):
    curve = np.array(values)
    at = onset(STEPS.astype(float), curve)
    half = (curve[0] + curve.max()) / 2
    if curve[0] >= half:
        assert np.isnan(at)
    else:
        assert np.interp(np.log1p(at), np.log1p(STEPS), curve) == pytest.approx(half, abs=1e-6)
        assert (curve[at * (1 - 1e-9) > STEPS] < half).all()  # on a step, the logarithm rounds either way


def architectures(n, seed=0, part="grid"):
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        heads, width = 2 ** int(rng.integers(0, 4)), 32 * int(rng.integers(1, 7))
        rows.append({
            **dict.fromkeys(ARCHITECTURES.columns, 1), "family": "f", "recipe": "r", "model": f"m{i}", "seed": 0,
            "part": part, "status": "done", "n_layers": int(rng.integers(2, 9)), "d_model": width, "n_heads": heads,
            "d_mlp": int(width * rng.uniform(2, 8)), "rotary_fraction": float(rng.choice([0.25, 1.0])),
            "parallel_residual": bool(rng.integers(2)), "machine": "", "weights_sha256": "",
        })  # fmt: skip
    return ARCHITECTURES.validate(pd.DataFrame(rows))


def test_known_effects_are_found_and_their_intervals_hold_them():
    truth = {
        "n_layers": 1.1,
        "d_model": 1.5,
        "n_heads": 0.8,
        "mlp_ratio": 1.0,
        "rotary_fraction": 1.3,
        "parallel_residual": 0.9,
    }
    inside = []
    for seed in range(60):
        x = factor_columns(architectures(48, seed))
        noise = np.random.default_rng(1000 + seed).normal(0, 0.2, 48)
        table = effects(x, x.to_numpy() @ np.log(list(truth.values())) + 3 + noise)
        assert list(table["factor"]) == list(FACTORS)
        inside += [row.lower <= truth[row.factor] <= row.upper for row in table.itertuples()]
    assert 0.91 < np.mean(inside) < 0.985


def test_without_noise_effects_are_exact_and_shares_are_type_three():
    x = factor_columns(architectures(48))
    log_y = np.log(2.0) * x["d_model"].to_numpy() + 1
    table = effects(x, log_y).set_index("factor")
    assert table.loc["d_model", "times"] == pytest.approx(2)
    assert table.loc["n_heads", "times"] == pytest.approx(1)
    assert table.attrs["r2"] == pytest.approx(1)
    without = x.drop(columns="d_model").assign(one=1.0).to_numpy()
    residuals = log_y - without @ np.linalg.lstsq(without, log_y, rcond=None)[0]
    assert table.loc["d_model", "share"] == pytest.approx((residuals @ residuals) / ((log_y - log_y.mean()) ** 2).sum())


def test_too_few_architectures_say_so():
    x = factor_columns(architectures(6))
    with pytest.raises(FitError, match="6 architectures do not determine 6 effects"):
        effects(x, np.zeros(6))


def test_seeds_of_an_architecture_count_once_and_unfinished_ones_not_at_all():
    table = architectures(3)
    table = pd.concat([table, table.iloc[:1].assign(seed=1)], ignore_index=True)
    table.loc[2, "status"] = "diverged"
    measured = pd.DataFrame(
        [("m0", 0, 10.0, 20.0, 5.0), ("m0", 1, 40.0, 20.0, 5.0), ("m1", 0, 7.0, 8.0, 9.0), ("m2", 0, 1.0, 1.0, 1.0)],
        columns=["model", "seed", *OUTCOMES],
    )
    x, logs = design_rows(measured, table)
    assert list(x.index) == ["m0", "m1"]
    assert np.exp(logs["end_ratio"]).tolist() == pytest.approx([20, 7])


def test_a_ladder_gives_means_over_seeds_and_the_factor_of_a_doubling():
    table = architectures(3, part="heads").assign(n_heads=[1, 2, 4])
    table = pd.concat([table, table.assign(seed=1)], ignore_index=True)
    values = {1: 10.0, 2: 20.0, 4: 40.0}
    measured = table[["model", "seed"]].assign(**{name: table["n_heads"].map(values) for name in OUTCOMES})
    rungs = ladder_outcomes(measured, table, "heads")
    assert rungs["end_ratio"].tolist() == pytest.approx([10, 20, 40])
    assert rungs["end_ratio_log_sd"].tolist() == [0, 0, 0]
    assert slope(np.log2(table["n_heads"].to_numpy(float)), np.log(measured["end_ratio"].to_numpy()))[
        "times"
    ] == pytest.approx(2)
