import decimal

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from massact.errors import FitError
from massact.fit.checks import (
    as_floats,
    check_choice,
    check_count,
    check_share,
    check_steps,
    check_values,
    check_weights,
)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([[1, 2]], "shape"),
        ([0, -1], "step -1.0 is not a count"),
        ([0, np.nan], "step nan"),
        ([0, 2, 1], "position 2"),
        ([0, 1, 1], "drop repeats"),
        (["a", "b"], "not an array of numbers"),
    ],
)
def test_bad_steps(steps, message):
    with pytest.raises(FitError, match=message):
        check_steps(steps)


def test_bad_values_and_weights():
    t = np.arange(3.0)
    for values in (np.zeros((2, 4)), np.zeros(3)):
        with pytest.raises(FitError, match=r"shape \(curves, 3\)"):
            check_values(values, t, "curve")
    for weights, message in (([1, 1], "shape"), ([1, -1, 1], "negative"), ([1, np.inf, 1], "infinite")):
        with pytest.raises(FitError, match=message):
            check_weights(weights, (2, 3))


def test_missing_values_and_weights():
    assert np.isnan(check_values([[1, np.inf, 2]], np.arange(3.0), "curve")[0, 1])
    assert check_weights([1, np.nan, 2], (2, 3)).tolist() == [[1, 0, 2]] * 2


MISSING = [1.0, np.nan, 3.0]


@pytest.mark.parametrize(
    "passed",
    [
        np.ma.masked_array([1.0, 1e9, 3.0], mask=[0, 1, 0]),
        np.ma.masked_array([1, 7, 3], mask=[0, 1, 0]),
        [1.0, np.ma.masked, 3.0],
        pd.Series([1, None, 3], dtype="Int64"),
        pd.Series([1, None, 3], dtype="Float64"),
        pd.Series([1, None, 3], dtype="float64[pyarrow]"),
        pd.Series([1, None, 3], dtype=object),
        [1, pd.NA, decimal.Decimal(3)],
        [1, None, np.float32(3)],
        torch.tensor([1.0, float("nan"), 3.0], requires_grad=True),
        torch.tensor([1.0, float("nan"), 3.0], dtype=torch.bfloat16),
        [torch.tensor(1.0, requires_grad=True), float("nan"), torch.tensor(3)],
    ],
    ids=lambda passed: f"{type(passed).__name__}-{getattr(passed, 'dtype', '')}",
)
def test_every_form_of_real_numbers_is_accepted(passed):
    out = as_floats(passed, "values")
    assert out.dtype == np.float64
    np.testing.assert_array_equal(out, MISSING)


def test_rows_of_arrays_are_stacked_and_tables_are_arrays():
    masked = np.ma.masked_array([1, 2], mask=[0, 1])
    rows = [masked, torch.ones(2, requires_grad=True), np.array([3, 4])]
    np.testing.assert_array_equal(as_floats(rows, "values"), [[1, np.nan], [1, 1], [3, 4]])
    table = pd.DataFrame({"a": [1, 2], "b": pd.array([3, None], dtype="Int64")})
    np.testing.assert_array_equal(as_floats(table, "values"), [[1, 3], [2, np.nan]])


class Hostile:
    """A container whose conversion fails in its own way."""

    def __array__(self, *arguments, **options):
        raise LookupError("no device named tpu:7")


@pytest.mark.parametrize(
    ("passed", "message"),
    [
        (np.array([1 + 0j]), "complex"),
        ([1.0, 2j], "complex"),
        (torch.ones(2, dtype=torch.complex64), "complex"),
        (np.ma.masked_array([1j]), "complex"),
        (pd.date_range("2025", periods=2), "dates"),
        (pd.date_range("2025", periods=2, tz="UTC"), "Timestamp"),
        (pd.to_timedelta([1, 2]), "durations"),
        ([np.timedelta64(1, "s")], "durations"),
        (["1", "2"], "text"),
        (pd.Series(["1", "2"]), "text"),
        ([1.0, "2"], "text"),
        ([[1, 2], [3]], r"rows of shapes \(1,\), \(2,\)"),
        ([10**400], "too large"),
        (torch.ones(2, device="meta"), "meta"),
        (np.zeros(2, dtype=[("a", float)]), "dtype"),
        ({1: 2}, "dict"),
        (object(), "object"),
        (Hostile(), "no device named tpu:7"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_does_not_is_refused_by_its_name(passed, message):
    with pytest.raises(FitError, match=rf"values: not an array of numbers \(.*{message}"):
        as_floats(passed, "values")


@given(st.lists(st.one_of(st.none(), st.floats(), st.integers(-(2**60), 2**60), st.booleans()), max_size=8))
def test_every_container_gives_the_same_floats(entries):
    wanted = np.array([np.nan if entry is None else float(entry) for entry in entries], dtype=float)
    for passed in (entries, tuple(entries), np.array(entries, dtype=object), pd.Series(entries, dtype=object)):
        np.testing.assert_array_equal(as_floats(passed, "values"), wanted)
    np.testing.assert_array_equal(
        as_floats(np.ma.masked_invalid(wanted), "values"), np.where(np.isinf(wanted), np.nan, wanted)
    )
    np.testing.assert_array_equal(as_floats(torch.from_numpy(wanted), "values"), wanted)


def test_words_counts_and_shares():
    assert check_choice("huber", "loss", ("squares", "huber")) == "huber"
    with pytest.raises(FitError, match="loss = 'hubert' is not known; did you mean 'huber'"):
        check_choice("hubert", "loss", ("squares", "huber"))
    assert check_count(np.int32(3), "resamples", 1) == 3
    for bad in (0, 1.5, True, "3", None):
        with pytest.raises(FitError, match="resamples = "):
            check_count(bad, "resamples", 1)
    assert check_share(0.5, "tail") == 0.5
    for bad in (0, 1, np.nan, "half", None):
        with pytest.raises(FitError, match=r"tail = .* is not between 0 and 1"):
            check_share(bad, "tail")
