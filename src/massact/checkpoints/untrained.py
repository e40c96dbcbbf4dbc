"""Judge from a few hundred kilobytes whether weights look untrained.

There are two signs. In every family that we know, the weights of norms are initialised to one constant and their biases
to zero; a few thousand updates change both. For a known initialisation (Pythia's), the standard deviations of the
embedding and of the first block's attention output are known: small-init sqrt(2 / (5 d)) and wang-init 2 / (L sqrt(d)).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from massact.checkpoints.excerpt import FIRST_BYTES, Reader, Stored, read_header, read_values

if TYPE_CHECKING:
    import numpy as np

# The standard deviation of 65,536 values has an error of .3 %; training changes the embedding's by tens of per cent.
TOLERANCE = 0.05
SAMPLE = 1 << 16
_NORMS = 2  # of the first block
_NORM_WEIGHT = re.compile(r"(?:.*[._])?(?:\w*norm\w*|ln_?\w*)\.weight")
_LAYER = re.compile(r"\.(\d+)\.")
_EMBEDDING, _ATTENTION_OUT = "gpt_neox.embed_in.weight", "gpt_neox.layers.0.attention.dense.weight"


class State(StrEnum):
    """What weights look like; `unknown` if they cannot be read or show neither sign."""

    UNTRAINED = "untrained"
    TRAINED = "trained"
    UNKNOWN = ""


@dataclass(frozen=True)
class Look:
    """What weights look like, and the sign for it. `answered`: whether they could be read."""

    state: State = State.UNKNOWN
    sign: str = ""
    answered: bool = True


def look(
    read: Reader, *, pythia: bool = False, whole: bool = True, first: int = FIRST_BYTES, sample: int = SAMPLE
) -> Look:
    """Inspect one safetensors file.

    Parameters
    ----------
    pythia
        Whether the model was initialised like Pythia, so that the standard deviations are known.
    whole
        Whether the file holds all layers.
    first, sample
        Bytes to read at once from the start of the file, and values to read of a matrix.

    Do not trust `trained` for the start of a run that continues another, or `untrained` if norms are frozen.
    """
    header = read_header(read, first)
    if header is None:
        return Look(answered=False)
    norms = _norms_look(read, header)
    if norms.state is State.TRAINED or not pythia:
        return norms
    deviations = _deviations_look(read, header, whole=whole, sample=sample)
    return deviations if deviations.state is State.TRAINED or norms.state is State.UNKNOWN else norms


def _norms_look(read: Reader, header: Mapping[str, Stored]) -> Look:
    """Judge by the norms of the first layers in the file."""
    names = sorted((n for n in header if _NORM_WEIGHT.fullmatch(n) and len(header[n].shape) == 1), key=_depth)
    seen = False
    for name in names[:_NORMS]:
        weight = read_values(read, header[name])
        if weight is None or not weight.size:
            continue
        seen = True
        low, high = float(weight.min()), float(weight.max())
        if low != high:
            return Look(State.TRAINED, f"{name} runs from {low:.3g} to {high:.3g}")
        bias_name = name.removesuffix("weight") + "bias"
        bias = read_values(read, header[bias_name]) if bias_name in header else None
        if bias is not None and bias.any():
            return Look(State.TRAINED, f"{bias_name} is not 0")
    return Look(State.UNTRAINED, "its norms are constant") if seen else Look()


def _deviations_look(read: Reader, header: Mapping[str, Stored], *, whole: bool, sample: int) -> Look:
    """Judge by the standard deviations of Pythia's initialisation."""
    embedding = header.get(_EMBEDDING)
    if embedding is None or len(embedding.shape) != 2 or not all(embedding.shape):
        return Look()
    width = embedding.shape[1]
    expected = {_EMBEDDING: math.sqrt(2 / (5 * width))}
    if whole:
        layers = 1 + max((int(match[1]) for name in header if (match := _LAYER.search(name))), default=0)
        expected[_ATTENTION_OUT] = 2 / (layers * math.sqrt(width))
    seen = False
    for name, deviation in expected.items():
        values = _sample(read, header[name], sample) if name in header else None
        if values is None or values.size < 2:
            continue
        seen, measured = True, float(values.std())
        if not abs(measured / deviation - 1) <= TOLERANCE + 3 / math.sqrt(2 * values.size):
            sign = f"{name} has standard deviation {measured:.3g}, Pythia begins with {deviation:.3g}"
            return Look(State.TRAINED, sign)
    return Look(State.UNTRAINED, "its standard deviations are those of Pythia's initialisation") if seen else Look()


def _sample(read: Reader, stored: Stored, most: int) -> np.ndarray | None:
    """Values from the middle of a tensor: the first rows of an embedding may belong to tokens that never occur."""
    count = math.prod(stored.shape)
    return read_values(read, stored, first=max(0, count - most) // 2, most=most)


def _depth(name: str) -> tuple[float, str]:
    """Sort key: the layer number; tensors without a layer come last."""
    match = _LAYER.search(name)
    return (float(match[1]) if match else math.inf, name)
