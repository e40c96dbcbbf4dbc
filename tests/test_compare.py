import numpy as np
import pandas as pd
import pytest

from massact.compare import compare_tables


def frame(**columns):
    return pd.DataFrame(columns)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (frame(x=[1.0, np.nan]), frame(x=[1.0, np.nan]), 0.0),
        (frame(x=[1.0, np.nan]), frame(x=[1.0, 2.0]), np.inf),
        (frame(x=[1.0]), frame(x=[1.0, 1.0]), np.inf),
        (frame(x=[1.0]), frame(y=[1.0]), np.inf),
        (frame(s=["a"]), frame(s=["b"]), np.inf),
        (frame(x=[0.0, 4.0]), frame(x=[0.0, 2.0]), 0.5),
    ],
)
def test_largest_relative_difference(a, b, expected):
    assert compare_tables(a, b)[0] == expected
