"""The paper's statistic: the largest magnitudes of the residual stream after each block, and the median magnitude."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Int32
from numpy import ndarray

from massact.errors import MeasureError
from massact.extract.protocol import MAGNITUDES, PROTOCOL_VERSION, TOP_K, Measurement, Reduced
from massact.extract.quantity import Quantity, mean_of, ratio_of
from massact.extract.statistic import Array, Block, Flaw, Statistic
from massact.rules import at_least, below_architecture
from massact.tables import Rule

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

ZERO_MEDIAN = "zero_median"
_NO_PLACE = "-1 where not known: the published files have no places"
_LARGEST = {"float16": 65504.0}
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
# No transformer has a wider residual stream.
_LARGEST_WIDTH = 1_000_000


@dataclass(frozen=True)
class Magnitudes(Statistic):
    """The k largest magnitudes |h| after each block, their positions and dimensions, and the lower median of |h|.

    Parameters
    ----------
    top_k
        How many of the largest magnitudes to keep, at most positions x width. Ties go to the lowest position, then
        to the lowest dimension. Tables have 3.

    Raises
    ------
    MeasureError
        When `top_k` is not a positive integer.
    """

    top_k: int = TOP_K
    arrays: Mapping[str, Array] = field(init=False, compare=False, repr=False)

    name = MAGNITUDES
    version = PROTOCOL_VERSION
    quantities = {  # noqa: RUF012 - a member of every statistic, never changed
        "ratio": Quantity("ratio top-1 / median", "top1 over median", ratio_of("top1", "median")),
        "top1": Quantity("largest |h|", "largest |h|", mean_of("top1")),
        "median": Quantity("median |h|", "lower median of |h|", mean_of("median")),
    }

    def __post_init__(self) -> None:
        if not isinstance(self.top_k, int | np.integer) or self.top_k is True or self.top_k < 1:
            raise MeasureError(f"top_k = {self.top_k!r}", "give a whole number from 1 on")
        k = int(self.top_k)
        object.__setattr__(self, "top_k", k)
        token = f"position of top{{rank}} in the sequence; {_NO_PLACE}"
        dimension = f"residual-stream dimension of top{{rank}}; {_NO_PLACE}"
        arrays = {
            "top": Array("float32", "|h|, rank {rank}", ranks=k),
            "token": Array("int32", token, unit="", ranks=k),
            "dimension": Array("int32", dimension, unit="", ranks=k),
            "median": Array("float32", "lower median of |h|"),
        }
        object.__setattr__(self, "arrays", arrays)

    def reduce(self, block: Block) -> Mapping[str, Tensor]:
        """The k largest |h| of each sequence, their positions and dimensions, and the lower median."""
        from massact.extract.reduce import reduce_block

        reduced = reduce_block(block.output, self.top_k)
        return {
            "top": reduced.top,
            "token": reduced.place // reduced.width,
            "dimension": reduced.place % reduced.width,
            "median": reduced.median,
        }

    def key_parts(self) -> dict[str, Any]:
        """The part that its records have had since before there were other statistics."""
        return {"top_k": self.top_k}

    def flaw(self, arrays: Mapping[str, ndarray]) -> Flaw | None:
        """A median of 0, for which the ratio is undefined."""
        median = arrays["median"]
        if (median > 0).all():
            return None
        sequence, layer = (int(i) for i in np.argwhere(~(median > 0))[0])
        what = f"the median of |h| is 0 at layer {layer}, sequence {sequence}"
        return Flaw(ZERO_MEDIAN, what, "leave this step out; are its weights all zero?")

    def check(self, arrays: Mapping[str, ndarray], parts: Mapping[str, Any]) -> None:
        """Check names, types, shapes and values. Raises ValueError when magnitudes cannot have them."""
        if {name: array.dtype.name for name, array in arrays.items()} != {n: a.dtype for n, a in self.arrays.items()}:
            raise ValueError("its arrays are not those of a measurement")
        top, token, dimension, median = (arrays[name] for name in self.arrays)
        if (
            top.ndim != 3
            or not top.size
            or not top.shape == token.shape == dimension.shape
            or median.shape != top.shape[:2]
        ):
            raise ValueError("its arrays have other shapes")
        if top.shape[0] != parts.get("sequences", top.shape[0]) or top.shape[2] != parts.get("top_k", top.shape[2]):
            raise ValueError("it has another number of sequences or of places than its key")
        largest, first = _LARGEST.get(parts.get("dtype", ""), _LARGEST_FLOAT32), top[..., 0]
        possible = (first <= largest) & (median <= first) & (median >= 0) & (top[..., -1] >= 0)  # False for NaN
        possible &= (top[..., :-1] >= top[..., 1:]).all(axis=2)
        if not possible.all():
            raise ValueError("a magnitude is not finite, negative, not descending, or below the median")
        # As unsigned integers, negative places are large ones.
        if token.view(np.uint32).max() >= parts.get("length", 1 << 31):
            raise ValueError("a token lies outside the sequence")
        if dimension.view(np.uint32).max() >= _LARGEST_WIDTH:
            raise ValueError("a dimension lies outside the residual stream")

    @property
    def record_rules(self) -> tuple[Rule, ...]:
        """Rules that hold for every measurement of |h|, whatever the model."""
        ranks = range(1, self.top_k + 1)
        tops = tuple(f"top{rank}" for rank in ranks)
        tokens, dimensions = (tuple(f"{place}{rank}" for rank in ranks) for place in ("token", "dimension"))
        places = tuple(name for pair in zip(tokens, dimensions, strict=True) for name in pair)

        def ordered(frame: pd.DataFrame, _: Mapping[str, Any]) -> Any:
            return np.logical_and.reduce([frame[a] >= frame[b] for a, b in itertools.pairwise((*tops, "median"))])

        def inside(frame: pd.DataFrame, _: Mapping[str, Any]) -> Any:
            return np.logical_and.reduce([frame[name] < frame["probe_length"] for name in tokens])

        def widest(frame: pd.DataFrame) -> Any:
            return np.maximum.reduce([frame[name] for name in dimensions])

        return (
            Rule(("median",), lambda f, _: f["median"] > 0, "the median is positive (else there is no ratio)"),
            Rule((*tops, "median"), ordered, f"{' >= '.join(tops)} >= median"),
            *at_least(-1, *places),
            Rule((*tokens, "probe_length"), inside, "positions of the largest values lie within the probe"),
            Rule(
                dimensions,
                below_architecture("d_model", widest),
                "dimensions of the largest values lie within the model's width",
            ),
        )

    @property
    def trajectory_rules(self) -> tuple[Rule, ...]:
        """Magnitudes are positive, and the largest is not less than the median."""
        return (
            Rule(("value",), lambda f, _: f["value"] > 0, "values of |h| and their ratio are positive"),
            Rule(("value",), lambda f, _: ~((f["quantity"] == "ratio") & (f["value"] < 1)), "a ratio is 1 or more"),
        )


DEFAULT = Magnitudes()


def magnitudes(
    top: Float32[ndarray, "sequence layer k"],
    token: Int32[ndarray, "sequence layer k"],
    dimension: Int32[ndarray, "sequence layer k"],
    median: Float32[ndarray, "sequence layer"],
    attached: str = "",
) -> Measurement:
    """A measurement with these magnitudes and no other statistic."""
    arrays = {"top": top, "token": token, "dimension": dimension, "median": median}
    return Measurement({MAGNITUDES: Reduced(Magnitudes(max(1, top.shape[2])), arrays)}, attached)
