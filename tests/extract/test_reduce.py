import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from massact.extract.reduce import reduce_layer

values = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(3, 9)),
    elements=st.sampled_from([-3.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0]),
)


@given(values)
def test_matches_a_stable_sort_ties_to_the_lowest_index(hidden):
    flat = np.abs(hidden).ravel()
    order = np.argsort(-flat, kind="stable")[:3]
    reduced = reduce_layer(torch.from_numpy(hidden), 3, layer=0)
    assert reduced.top.tolist() == flat[order].tolist()
    assert (reduced.token * hidden.shape[1] + reduced.dimension).tolist() == order.tolist()
    assert reduced.median == np.sort(flat)[(flat.size - 1) // 2]
