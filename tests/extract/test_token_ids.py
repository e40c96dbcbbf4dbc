"""Token ids are accepted in every form with a single meaning, and refused in one typed line otherwise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BatchEncoding

from massact.errors import MeasureError
from massact.extract import Probe, measure
from massact.extract.token_ids import token_ids
from tests.hub import small_tokenizer
from tests.models import tiny_model

ROWS = [[3, 7, 1], [2, 9, 4]]


def forms(rows):
    """The same ids in every form that has one meaning."""
    encoding = {"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}
    return {
        "lists": rows,
        "tuples": tuple(map(tuple, rows)),
        "int64": np.array(rows),
        "uint8": np.array(rows, dtype=np.uint8),
        "uint64": np.array(rows, dtype=np.uint64),
        "big-endian": np.array(rows, dtype=">i4"),
        "Fortran": np.asfortranarray(np.array(rows)),
        "tensor": torch.tensor(rows),
        "tensor int32": torch.tensor(rows, dtype=torch.int32),
        "tensor uint8": torch.tensor(rows, dtype=torch.uint8),
        "tensor transposed": torch.tensor(rows).T.contiguous().T,
        "rows of tensors": [torch.tensor(row) for row in rows],
        "frame": pd.DataFrame(rows),
        "encoding": BatchEncoding(encoding),
        "encoding of tensors": BatchEncoding({**encoding, "token_type_ids": [[0] * 3] * 2}, tensor_type="pt"),
        "nothing masked": np.ma.masked_array(np.array(rows)),
    }


@pytest.mark.parametrize("form", forms(ROWS))
def test_every_form_of_the_same_ids_is_the_same_measurement_and_the_same_probe(form):
    model = tiny_model()
    expected = measure(model, torch.tensor(ROWS))
    measurement = measure(model, forms(ROWS)[form])
    assert all(np.array_equal(array, expected.arrays()[name]) for name, array in measurement.arrays().items())
    assert Probe.of(forms(ROWS)[form]).sha256 == Probe.of(ROWS).sha256


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2**63 - 1), min_size=3, max_size=3), min_size=1, max_size=4))
def test_ids_of_any_size_go_through_unchanged(rows):
    assert token_ids(rows).tolist() == rows


class Hostile:
    """A container whose conversion fails in its own way."""

    def __array__(self, *arguments, **options):
        raise LookupError("no device named tpu:7")


REFUSED = {
    "floats": torch.tensor(ROWS, dtype=torch.float32),
    "bfloat16": torch.tensor(ROWS, dtype=torch.bfloat16),
    "Booleans": torch.tensor(ROWS) > 2,
    "array of Booleans": np.array(ROWS) > 2,
    "complex": np.array(ROWS, dtype=complex),
    "text": "to be or not to be",
    "texts": ["to be", "or not"],
    "nothing": None,
    "number": 5,
    "one sequence": [1, 2, 3],
    "three axes": [[[1, 2]]],
    "no sequences": np.empty((0, 3), dtype=np.int64),
    "no positions": [[], []],
    "several lengths": [[1, 2], [3]],
    "negative": [[1, -1]],
    "too large for int64": np.array([[2**63]], dtype=np.uint64),
    "too large for any": [[2**70]],
    "masked": np.ma.masked_array(np.array(ROWS), np.array(ROWS) > 8),
    "meta": torch.zeros(2, 3, dtype=torch.int64, device="meta"),
    "sparse": torch.tensor(ROWS).to_sparse(),
    "padded": {"input_ids": ROWS, "attention_mask": [[1, 1, 1], [1, 1, 0]]},
    "mask of another shape": {"input_ids": ROWS, "attention_mask": [1, 1]},
    "two segments": {"input_ids": ROWS, "token_type_ids": [[0, 0, 1], [0, 0, 0]]},
    "pictures": {"input_ids": ROWS, "pixel_values": [[0.0]]},
    "no ids": {"attention_mask": [[1]]},
    "objects": [[object()]],
    "a container that fails": Hostile(),
    "dates": np.array([["2020-01-01"]], dtype="datetime64[D]"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("taker", [lambda tokens: measure(tiny_model(), tokens), Probe.of], ids=["measure", "Probe.of"])
def test_ambiguous_tokens_are_refused_in_one_line(kind, taker):
    with pytest.raises(MeasureError) as caught:
        taker(REFUSED[kind])
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def test_a_tokenizers_padding_is_refused_and_its_whole_sequences_are_taken():
    tokenizer = small_tokenizer()
    tokenizer.pad_token = "<|endoftext|>"
    padded = tokenizer(["the quality", "the quality of mercy is not strained"], padding=True, return_tensors="pt")
    with pytest.raises(MeasureError, match="padding"):
        measure(tiny_model(), padded)
    whole = tokenizer(["the quality of mercy"], return_tensors="pt")
    assert measure(tiny_model(), whole).top.shape == (1, 2, 3)


@pytest.mark.parametrize("at_once", [-1, 0, True, 1.5, "all"])
def test_sequences_at_once_counts_from_one(at_once):
    with pytest.raises(MeasureError, match="sequences_at_once"):
        measure(tiny_model(), ROWS, sequences_at_once=at_once)


@pytest.mark.parametrize("top_k", [0, -1, True, 2.5, 3 * 16 + 1])
def test_top_k_counts_from_one_to_all_entries(top_k):
    with pytest.raises(MeasureError, match="top_k"):
        measure(tiny_model(), ROWS, top_k=top_k)
