"""Aggregation over sequences: values, standard errors and contributions, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from massact.extract.quantity import MEAN_OF_RATIOS, RATIO_OF_MEANS, SequenceColumns, mean_of, ratio_of

RECORDS = pd.DataFrame({"top": [2.0, 4.0, 6.0, 9.0], "low": [1.0, 1.0, 2.0, 4.0]})
COLUMNS = SequenceColumns(RECORDS, 2)  # two rows of two sequences


def test_a_mean_has_its_standard_error():
    result = mean_of("top")(COLUMNS, RATIO_OF_MEANS)
    assert result.value.tolist() == [3.0, 7.5]
    np.testing.assert_allclose(result.se, [1.0, 1.5])
    assert np.array_equal(result.each, COLUMNS["top"])


@pytest.mark.parametrize(
    ("aggregation", "value"), [(RATIO_OF_MEANS, [3.0, 7.5 / 3.0]), (MEAN_OF_RATIOS, [3.0, (3.0 + 2.25) / 2])]
)
def test_a_ratio_is_that_of_the_means_or_the_mean_of_the_ratios(aggregation, value):
    result = ratio_of("top", "low")(COLUMNS, aggregation)
    np.testing.assert_allclose(result.value, value)
    np.testing.assert_allclose(result.each.mean(axis=1), value)
    np.testing.assert_allclose(result.se, result.each.std(axis=1, ddof=1) / np.sqrt(2))


def test_one_sequence_has_no_standard_error():
    assert np.isnan(mean_of("top")(SequenceColumns(RECORDS, 4), RATIO_OF_MEANS).se).all()
