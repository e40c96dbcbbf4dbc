import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from massact.errors import TrainError
from massact.train.data import windows_at

STREAM = np.arange(1, 200)


@given(seed=st.integers(0, 5), step=st.integers(0, 1000), window=st.integers(2, 20))
def test_windows_are_runs_of_the_stream_behind_the_first_token(seed, step, window):
    rows = windows_at(STREAM, seed=seed, step=step, batch=3, window=window, first_token=0)
    assert rows.shape == (3, window)
    assert (rows[:, 0] == 0).all()
    assert (rows[:, 2:] - rows[:, 1:-1] == 1).all()
    assert torch.equal(rows, windows_at(STREAM, seed=seed, step=step, batch=3, window=window, first_token=0))


def test_every_position_of_the_stream_can_be_reached():
    rows = windows_at(np.arange(4), seed=0, step=0, batch=200, window=3, first_token=None)
    assert set(rows[:, 0].tolist()) == {0, 1}


def test_a_text_shorter_than_a_window_is_refused():
    with pytest.raises(TrainError, match="fewer than one window"):
        windows_at(np.arange(3), seed=0, step=0, batch=1, window=8, first_token=0)
