"""Token ids from tensors, arrays, lists and tokenizers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from massact.errors import MeasureError

_REMEDY = "give whole numbers of shape (sequence, position), at least 1 x 1"
# Outputs of tokenizers, beside the ids, that change no hidden state.
_HARMLESS = frozenset(
    ("special_tokens_mask", "offset_mapping", "length", "overflow_to_sample_mapping", "num_truncated_tokens", "labels")
)
_LARGEST = np.iinfo(np.int64).max


def token_ids(tokens: Any) -> Int64[ndarray, "sequence position"]:
    """Token ids as one array.

    Parameters
    ----------
    tokens : int (sequence, position)
        A tensor, an array or lists of integers of any width, or a tokenizer's output for texts of one length
        (`BatchEncoding`, or a mapping with `input_ids`). An attention mask must consist of ones: massact measures
        every position, so padded sequences are refused.

    Raises
    ------
    MeasureError
        When ids have another shape or type (floating-point numbers and Booleans are ambiguous), sequences differ in
        length, or entries are padded or masked.

    >>> token_ids({"input_ids": [[5, 3]], "attention_mask": [[1, 1]]}).tolist()
    [[5, 3]]
    """
    if isinstance(tokens, Mapping):
        return _encoded(tokens)
    ids = _array(tokens)
    if ids is None:
        raise MeasureError(f"tokens are {_named(tokens)}, which is not an array", _REMEDY)
    if isinstance(ids, np.ma.MaskedArray) and np.ma.is_masked(ids):
        raise MeasureError("some tokens are masked", "give sequences without masked entries")
    if ids.dtype == object and ids.ndim == 1 and len(ids):
        raise MeasureError("the token sequences differ in length", f"cut them to one length: {_REMEDY}")
    if not np.issubdtype(ids.dtype, np.integer) or ids.ndim != 2 or not ids.size:
        kind = _named(tokens) if ids.dtype == object else str(ids.dtype)
        raise MeasureError(f"tokens are {kind} of shape {tuple(ids.shape)}", _REMEDY)
    for end in (int(ids.min()), int(ids.max())):
        if not 0 <= end <= _LARGEST:
            raise MeasureError(f"token {end} is not a token id", "give ids from 0 on")
    return np.ascontiguousarray(ids, dtype=np.int64)


def _encoded(encoding: Mapping[str, Any]) -> Int64[ndarray, "sequence position"]:
    if "input_ids" not in encoding:
        raise MeasureError(f"tokens are {_named(encoding)} without input_ids", _REMEDY)
    ids = token_ids(encoding["input_ids"])
    for name, value in encoding.items():
        if name == "input_ids" or name in _HARMLESS:
            continue
        neutral = {"attention_mask": 1, "token_type_ids": 0}.get(name)
        if neutral is None:
            raise MeasureError(f"tokens come with {name}, which a measurement does not use", "give input_ids alone")
        values = _array(value)
        if values is None or values.shape != ids.shape or (values != neutral).any():
            what = "some positions are padding or masked" if name == "attention_mask" else "there are several segments"
            raise MeasureError(
                f"{what}, by the tokens' {name}", "every position is measured: give whole sequences of one length"
            )
    return ids


def _array(tokens: Any) -> ndarray | None:
    """The tokens as an array, unchecked; None if they cannot be converted."""
    try:
        if hasattr(tokens, "detach"):  # a torch tensor, recognised without importing torch
            tokens = tokens.detach()
            if not tokens.is_floating_point():
                return tokens.cpu().numpy()
            return np.empty(tuple(tokens.shape), dtype=np.float32)  # numpy has no bfloat16; the dtype is refused later
        return np.asanyarray(tokens)
    except ValueError:  # lists of several lengths
        return np.empty(len(tokens), dtype=object)
    except Exception:  # whatever a container raises: a tensor that is sparse or on the meta device, objects
        return None


def _named(tokens: Any) -> str:
    return str(getattr(tokens, "dtype", type(tokens).__name__))
