import numpy as np
import pytest

from massact.extract.magnitudes import magnitudes


def measurement(sequences, layers, top=22.9, median=0.5):
    shape = (sequences, layers, 3)
    largest = np.ones(shape, dtype=np.float32)
    places = np.zeros(shape, dtype=np.int32)
    if largest.size:
        largest[-1, -1], places[-1, -1] = top, 7
    return magnitudes(largest, places, places.copy(), np.full(shape[:2], median, dtype=np.float32))


def test_a_measurement_is_shown_in_one_line():
    assert repr(measurement(10, 3)) == (
        "Measurement(10 sequences, 3 layers, top 3; largest |h| 22.9 at layer 2, position 7, dimension 7 of "
        "sequence 9, 45.8 times its median)"
    )


@pytest.mark.parametrize("odd", [(0, 3), (2, 0)])
def test_an_empty_measurement_is_shown_too(odd):
    assert repr(measurement(*odd)).startswith(f"Measurement({odd[0]} sequences, {odd[1]} layers")


@pytest.mark.filterwarnings("error")
def test_a_measurement_that_cannot_be_is_shown_without_a_warning():
    assert "inf times" in repr(measurement(2, 2, median=0.0))
    assert "layer 0" in repr(measurement(2, 2, top=np.nan))
