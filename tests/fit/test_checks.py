import numpy as np
import pytest

from massact.errors import FitError
from massact.fit.checks import check_steps, check_values, check_weights


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
