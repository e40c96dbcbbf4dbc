import numpy as np
import pandas as pd
import pytest

from massact.architecture import Architecture
from massact.errors import FitError
from massact.fit import fit_table
from massact.fit.schemas import DERIVED
from massact.fit.sequences import sequence_array, sequence_series
from massact.trajectories import aggregate
from tests.report.synthetic import SHAPES, STEPS, records

RECORDS = records(SHAPES[:1], tuple(STEPS), 10)
ARCHITECTURE = Architecture(n_layers=2, d_model=128, n_heads=1, d_mlp=512).as_dict()


@pytest.mark.parametrize("aggregation", ["ratio_of_means", "mean_of_ratios"])
def test_the_mean_over_sequences_is_the_aggregate_and_their_spread_its_error(aggregation):
    series = sequence_series(RECORDS, aggregation)
    grouped = series.groupby(["layer", "step", "quantity"])["value"]
    wanted = aggregate(RECORDS, aggregation).set_index(["layer", "step", "quantity"]).sort_index()
    np.testing.assert_allclose(grouped.mean().sort_index(), wanted["value"], rtol=1e-12)
    np.testing.assert_allclose(grouped.std().sort_index() / np.sqrt(10), wanted["se"], rtol=1e-9, atol=1e-12)


def test_arrays_are_in_the_order_of_the_keys():
    series = sequence_series(RECORDS, "mean_of_ratios")
    keys = series[["family", "recipe", "model", "seed", "layer", "quantity"]].drop_duplicates().iloc[::-1]
    array = sequence_array(series, keys, np.array(STEPS, dtype=float))
    assert array.shape == (10, len(keys), len(STEPS))
    row = series[(series["layer"] == 1) & (series["quantity"] == "top1") & (series["sequence"] == 3)]
    at = keys.reset_index(drop=True).query("layer == 1 and quantity == 'top1'").index[0]
    np.testing.assert_array_equal(array[3, at], row.sort_values("step")["value"])


def test_a_table_of_fits_has_intervals_about_its_estimates():
    table = fit_table(
        aggregate(RECORDS), ARCHITECTURE, "eq14", ["ratio"],
        sequences=sequence_series(RECORDS, "ratio_of_means"), resamples=60,
    )  # fmt: skip
    for name in ("f_start", "f_end", "peak_value", "end_slope"):
        assert (table[f"{name}_lower"] <= table[name]).all() and (table[name] <= table[f"{name}_upper"]).all()
        assert (table[f"{name}_upper"] > table[f"{name}_lower"]).all()
    spread = aggregate(RECORDS)
    last = spread[(spread["step"] == STEPS[-1]) & (spread["quantity"] == "ratio")]["se"].to_numpy()
    half = (table["f_end_upper"] - table["f_end_lower"]).to_numpy() / 2
    assert (half < 4 * last).all() and (half > 0.5 * last).all()
    plain = fit_table(aggregate(RECORDS), ARCHITECTURE, "eq14", ["ratio"])
    assert plain[[f"{name}_lower" for name in DERIVED]].isna().all(axis=None)
    pd.testing.assert_series_equal(plain["sse"], table["sse"])


def test_steps_with_other_sequences_are_refused():
    broken = RECORDS[~((RECORDS["step"] == STEPS[3]) & (RECORDS["sequence"] == 9))]
    with pytest.raises(FitError, match="different numbers of sequences"):
        sequence_series(broken, "ratio_of_means")
