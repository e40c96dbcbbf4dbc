import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from massact.errors import MeasureError
from massact.extract.reduce import reduce_block, reduce_on_device

# Few distinct values, so that ties are common.
values = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(3, 9)),
    elements=st.sampled_from([-3.0, -1.0, -0.0, 0.0, 0.5, 1.0, 2.0, 3.0]),
)
magnitudes = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 40)),
    elements=st.floats(0, float(np.float32(3.4e38)), width=32),
)


WAYS = {"host": reduce_block, "device": reduce_on_device}
either_way = pytest.mark.parametrize("reduce", WAYS.values(), ids=WAYS)


@either_way
@given(values, st.data())
def test_matches_a_stable_sort_ties_to_the_lowest_place(reduce, hidden, data):
    kept = data.draw(st.integers(1, hidden[0].size))
    reduced = reduce(torch.from_numpy(hidden), kept)
    for sequence, flat in enumerate(np.abs(hidden).reshape(len(hidden), -1)):
        order = np.argsort(-flat, kind="stable")[:kept]
        assert reduced.top[sequence].tolist() == flat[order].tolist()
        assert reduced.place[sequence].tolist() == order.tolist()
        assert reduced.median[sequence].item() == torch.from_numpy(flat).median().item()


@either_way
@given(magnitudes)
def test_the_median_is_the_lower_one_of_any_magnitudes(reduce, rows):
    reduced = reduce(torch.from_numpy(rows)[:, :, None], 1)
    assert reduced.median.tolist() == np.sort(rows, axis=1)[:, (rows.shape[1] - 1) // 2].tolist()


@either_way
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_formats_are_compared_exactly(reduce, dtype):
    hidden = torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    reduced = reduce(hidden, 3)
    flat = hidden.abs().reshape(2, -1)
    assert torch.equal(reduced.top, flat.topk(3).values.float())
    assert torch.equal(reduced.median, flat.median(dim=1).values.float())


@either_way
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_comes_first(reduce, bad):
    hidden = torch.ones(1, 4, 4)
    hidden[0, 2, 1] = bad
    assert not torch.isfinite(reduce(hidden, 3).top[0, 0])


@either_way
def test_the_hidden_state_is_left_as_it_was(reduce):
    hidden = torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(0))
    before = hidden.clone()
    reduce(hidden, 3)
    assert torch.equal(hidden, before)


def test_more_than_there_is_cannot_be_kept():
    with pytest.raises(MeasureError, match="top_k = 5"):
        reduce_block(torch.ones(1, 2, 2), 5)
