"""Whether weights look untrained, from some hundred kilobytes of them.

Two signs. The norms' weights begin as one constant and their biases as zero, in every family that is known to us; a
few thousand updates leave neither. And where the initialisation is known (Pythia's), so is the standard deviation of
the embedding and of the first block's attention output: small-init sqrt(2 / (5 d)) and wang-init 2 / (L sqrt(d)).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from massact.checkpoints.excerpt import Reader, Stored, read_header, read_values

if TYPE_CHECKING:
    import numpy as np

# A standard deviation of 65,536 numbers is known within .3 %; training moves the embedding's by tens of per cent.
TOLERANCE = 0.05
_SAMPLE = 1 << 16
_NORMS = 2  # of the first block
_NORM_WEIGHT = re.compile(r"(?:.*[._])?(?:\w*norm\w*|ln_?\w*)\.weight")
_LAYER = re.compile(r"\.(\d+)\.")
_EMBEDDING, _ATTENTION_OUT = "gpt_neox.embed_in.weight", "gpt_neox.layers.0.attention.dense.weight"


class State(StrEnum):
    """What weights look like; `unknown` where they cannot be read or show no sign."""

    UNTRAINED = "untrained"
    TRAINED = "trained"
    UNKNOWN = ""


@dataclass(frozen=True)
class Look:
    """What weights look like, and the sign that says so. `answered`: they could be read."""

    state: State = State.UNKNOWN
    sign: str = ""
    answered: bool = True


def look(read: Reader, *, pythia: bool = False, whole: bool = True) -> Look:
    """Look at one safetensors file.

    Parameters
    ----------
    pythia
        Whether the model was initialised as Pythia's are, so that the standard deviations are known too.
    whole
        Whether the file holds all layers.

    Do not trust `trained` for the start of a run that continues another one, nor `untrained` where norms are frozen.
    """
    header = read_header(read)
    if header is None:
        return Look(answered=False)
    norms = _norms_look(read, header)
    if norms.state is State.TRAINED or not pythia:
        return norms
    deviations = _deviations_look(read, header, whole=whole)
    return deviations if deviations.state is State.TRAINED or norms.state is State.UNKNOWN else norms


def _norms_look(read: Reader, header: Mapping[str, Stored]) -> Look:
    """By the norms of the first layers in the file."""
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


def _deviations_look(read: Reader, header: Mapping[str, Stored], *, whole: bool) -> Look:
    """By the standard deviations that Pythia begins with."""
    embedding = header.get(_EMBEDDING)
    if embedding is None or len(embedding.shape) != 2 or not all(embedding.shape):
        return Look()
    width = embedding.shape[1]
    expected = {_EMBEDDING: math.sqrt(2 / (5 * width))}
    if whole:
        layers = 1 + max((int(found[1]) for name in header if (found := _LAYER.search(name))), default=0)
        expected[_ATTENTION_OUT] = 2 / (layers * math.sqrt(width))
    seen = False
    for name, deviation in expected.items():
        values = _sample(read, header[name]) if name in header else None
        if values is None or values.size < 2:
            continue
        seen, found = True, float(values.std())
        if not abs(found / deviation - 1) <= TOLERANCE + 3 / math.sqrt(2 * values.size):
            return Look(State.TRAINED, f"{name} has standard deviation {found:.3g}, Pythia begins with {deviation:.3g}")
    return Look(State.UNTRAINED, "its standard deviations are those of Pythia's initialisation") if seen else Look()


def _sample(read: Reader, stored: Stored) -> np.ndarray | None:
    """Numbers from the middle of a tensor: the first rows of an embedding may belong to tokens that are never seen."""
    count = math.prod(stored.shape)
    return read_values(read, stored, first=max(0, count - _SAMPLE) // 2, most=_SAMPLE)


def _depth(name: str) -> tuple[float, str]:
    """Sort key: the layer, and what belongs to none of them last."""
    found = _LAYER.search(name)
    return (float(found[1]) if found else math.inf, name)
