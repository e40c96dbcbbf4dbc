"""The list of statistics that a configuration can name."""

from __future__ import annotations

import pytest

from massact.config import _statistics_help
from massact.errors import MeasureError
from massact.extract import STATISTICS, Magnitudes, Statistic, get_statistic, register


def test_magnitudes_are_known_by_name_and_in_the_help():
    assert isinstance(get_statistic("magnitudes"), Magnitudes)
    assert _statistics_help().split() == list(STATISTICS)
    with pytest.raises(MeasureError, match="'magnitude' is not a statistic; did you mean 'magnitudes'"):
        get_statistic("magnitude")


def test_an_incomplete_statistic_is_refused_with_what_it_lacks():
    class Half(Statistic):
        name = "half"

        def reduce(self, block):
            return {}

    with pytest.raises(MeasureError, match="does not state arrays, quantities"):
        register(Half())
    with pytest.raises(MeasureError, match=r"base class massact\.extract\.Statistic"):
        register(object())  # type: ignore[arg-type]
    with pytest.raises(MeasureError, match="a statistic named 'magnitudes' already exists"):
        register(Magnitudes(top_k=5))
    assert list(STATISTICS) == ["magnitudes"]
