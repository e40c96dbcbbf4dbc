"""What a statistic states of itself: everything that measuring, storing, tabling, fitting and plotting it ask for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from massact.errors import MeasureError
from massact.tables import Column, Rule

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

RATIO_OF_MEANS, MEAN_OF_RATIOS = AGGREGATIONS = ("ratio_of_means", "mean_of_ratios")


@dataclass(frozen=True)
class HookPoint:
    """Where a tensor is read in every block: the block itself or a part of it, what it takes or what it gives.

    Attributes
    ----------
    parts
        Names of the part below the block, one for each way that classes name it; a block's first that exists is read.
        Empty: the block itself.
    side
        Whether the tensor is the module's input or its output.
    """

    parts: tuple[str, ...] = ()
    side: Literal["input", "output"] = "output"

    def __str__(self) -> str:
        return f"the {self.side} of {' or '.join(self.parts) or 'the block'}"


# The residual stream after each block, before any final norm.
BLOCK_OUTPUT = HookPoint()
# The outputs of the attention heads side by side, before the projection that mixes them.
HEAD_OUTPUTS = HookPoint(
    (
        "attention.dense",
        "self_attn.o_proj",
        "self_attn.out_proj",
        "self_attn.dense",
        "self_attention.dense",
        "attn.c_proj",
        "attn.out_proj",
        "attn.attention.out_proj",
    ),
    "input",
)


@dataclass(frozen=True)
class Block:
    """What is read of one block in one pass: a tensor for each hook point, and the number of attention heads (0: none).

    The tensors are those of the model: a statistic does not change them.
    """

    layer: int
    tensors: Mapping[HookPoint, Tensor]
    n_heads: int = 0

    @property
    def output(self) -> Float[Tensor, "sequence position width"]:
        """The residual stream after the block."""
        return self.tensors[BLOCK_OUTPUT]

    def heads(self, point: HookPoint = HEAD_OUTPUTS) -> Float[Tensor, "sequence position head width"]:
        """A tensor that holds the heads side by side, split into them.

        Raises
        ------
        MeasureError
            When its width is not that of equally wide heads.
        """
        tensor = self.tensors[point]
        if not self.n_heads or tensor.shape[-1] % self.n_heads:
            raise MeasureError(
                f"layer {self.layer}: {point} is {tensor.shape[-1]} wide, the model has {self.n_heads} heads",
                "leave this statistic out for this model",
            )
        return tensor.unflatten(-1, (self.n_heads, -1))


@dataclass(frozen=True)
class Array:
    """One array of a statistic, over its axes and, where `ranks` is given, that many ranks more.

    Its columns in a table are `name`, or `name1`, `name2`, ... by rank.

    Attributes
    ----------
    dtype
        float32 or int32.
    meaning
        What a table says of it; `{rank}` stands for the rank.
    unit
        Empty where it has none to state, as a position.
    """

    dtype: Literal["float32", "int32"]
    meaning: str
    unit: str = "unitless"
    ranks: int = 0

    def columns(self, name: str) -> dict[str, Column]:
        """Its columns in a table of records."""
        said = self.meaning + (f", {self.unit}" if self.unit else "")
        if not self.ranks:
            return {name: Column(self.dtype, said)}
        return {f"{name}{rank}": Column(self.dtype, said.format(rank=rank)) for rank in range(1, self.ranks + 1)}


@dataclass(frozen=True)
class Aggregate:
    """A quantity over the sequences of each row.

    Attributes
    ----------
    value : (row,)
    se : (row,)
        Standard error over sequences, NaN for one sequence.
    each : (row, sequence)
        What each sequence says of the value; their mean is the value to first order.
    """

    value: Float[ndarray, " row"]
    se: Float[ndarray, " row"]
    each: Float[ndarray, "row sequence"]


# (columns of records by name, each (row, sequence); how ratios are aggregated) -> the quantity.
OverSequences = Callable[[Mapping[str, ndarray], str], Aggregate]


class SequenceColumns(dict[str, ndarray]):
    """Columns of records as float64 (row, sequence), each made when it is asked for.

    Parameters
    ----------
    records
        Sorted so that the sequences of a row follow one another.
    rows
        How many rows there are.
    """

    def __init__(self, records: pd.DataFrame, rows: int) -> None:
        super().__init__()
        self._records, self._rows = records, rows

    def __missing__(self, name: str) -> ndarray:
        self[name] = self._records[name].to_numpy(dtype=np.float64).reshape(self._rows, -1)
        return self[name]


@dataclass(frozen=True)
class Quantity:
    """What becomes of a statistic's columns over sequences: a series of its own over steps.

    Attributes
    ----------
    label
        The axis of a figure.
    meaning
        What a table says of it.
    over_sequences
        The aggregation; `mean_of` and `ratio_of` make the usual ones.
    fitted
        Whether a growth curve may be fitted to it.
    """

    label: str
    meaning: str
    over_sequences: OverSequences
    unit: str = "unitless"
    fitted: bool = True


def mean_of(column: str) -> OverSequences:
    """The mean of a column over sequences."""

    def over_sequences(columns: Mapping[str, ndarray], aggregation: str) -> Aggregate:
        x = columns[column]
        return Aggregate(*_mean(x), x)

    return over_sequences


def ratio_of(numerator: str, denominator: str) -> OverSequences:
    """The ratio of two columns, by the aggregation that is asked for.

    `ratio_of_means` is the mean over sequences of the numerator divided by that of the denominator (paper Eq. 8), its
    standard error by the delta method; a sequence has no value of its own there, and `each` is the ratio plus the
    sequence's influence on it. `mean_of_ratios` is the mean of each sequence's ratio (Eq. 6).
    """

    def over_sequences(columns: Mapping[str, ndarray], aggregation: str) -> Aggregate:
        top, bottom = columns[numerator], columns[denominator]
        if aggregation == MEAN_OF_RATIOS:
            return Aggregate(*_mean(top / bottom), top / bottom)
        mean = bottom.mean(axis=1, keepdims=True)
        ratio = top.mean(axis=1, keepdims=True) / mean
        influence = (top - ratio * bottom) / mean
        return Aggregate(ratio[:, 0], _mean(influence)[1], ratio + influence)

    return over_sequences


@dataclass(frozen=True)
class Flaw:
    """Why a checkpoint that was measured has no quantities: a status, what was found, and what mends it."""

    status: str
    what: str
    remedy: str


class Statistic(ABC):
    """A number, or several, that each sequence has after or within each block.

    A subclass states the members below and `reduce`; it is one object that measuring, the store, tables, fits and
    figures all read, so that a new statistic needs nothing else. Two that differ in any number have different names,
    versions or options: their records are told apart by these.

    Attributes
    ----------
    name
        Under which it is found in a `Measurement`, and part of every record's key.
    version
        Raise it when a change alters any measured number: its records are then measured again, and no others.
    hooks
        Where it reads tensors; `reduce` is called once all of one block are there.
    axes
        `("sequence", "layer")` or `("sequence", "layer", "head")`.
    arrays
        What it keeps, by name.
    quantities
        What is aggregated over sequences, by name.
    """

    name: str
    version: int = 1
    hooks: tuple[HookPoint, ...] = (BLOCK_OUTPUT,)
    axes: tuple[str, ...] = ("sequence", "layer")
    arrays: Mapping[str, Array]
    quantities: Mapping[str, Quantity]

    @abstractmethod
    def reduce(self, block: Block) -> Mapping[str, Tensor]:
        """Its arrays for one block and the sequences of one pass: (sequence, [head,] [rank]), on the block's device.

        Nothing of the block is to be kept. A NaN or infinite value in a float array makes the checkpoint one whose
        hidden states overflow.
        """

    def options(self) -> dict[str, Any]:
        """Settings that its numbers depend on, as JSON; part of every record's key."""
        return {}

    def key_parts(self) -> dict[str, Any]:
        """What tells its records from those of other statistics, versions and options."""
        return {"statistic": self.name, "version": self.version, **self.options()}

    def flaw(self, arrays: Mapping[str, ndarray]) -> Flaw | None:
        """Why a checkpoint's quantities do not exist; None where they do."""
        return None

    def check(self, arrays: Mapping[str, ndarray], parts: Mapping[str, Any]) -> None:
        """Hold the arrays of a record to what the statistic can give.

        Parameters
        ----------
        parts
            Those of the record's key; empty where it has none.

        Raises
        ------
        ValueError
            Other names, types or shapes, or values that are not finite.
        """
        if {name: array.dtype.name for name, array in arrays.items()} != {n: a.dtype for n, a in self.arrays.items()}:
            raise ValueError(f"its arrays are not those of {self.name}")
        shapes = set()
        for name, array in arrays.items():
            ranks = self.arrays[name].ranks
            if array.ndim != len(self.axes) + bool(ranks) or not array.size or (ranks and array.shape[-1] != ranks):
                raise ValueError("its arrays have other shapes")
            shapes.add(array.shape[: len(self.axes)])
            if not np.isfinite(array).all():
                raise ValueError("a value is not finite")
        if len(shapes) != 1 or next(iter(shapes))[0] != parts.get("sequences", next(iter(shapes))[0]):
            raise ValueError("it has another number of sequences than its key, or than another of its arrays")

    @property
    def record_rules(self) -> tuple[Rule, ...]:
        """What holds in every row of its records, beside what its columns' types say."""
        return ()

    @property
    def trajectory_rules(self) -> tuple[Rule, ...]:
        """What holds in every row of its trajectories."""
        return ()

    @cached_property
    def columns(self) -> dict[str, Column]:
        """Its columns in a table of records."""
        return {name: column for array, one in self.arrays.items() for name, column in one.columns(array).items()}

    def rows(self, arrays: Mapping[str, ndarray]) -> dict[str, ndarray]:
        """The columns of its records, each (row, sequence), rows by layer and within it by head."""
        sequences_last, n_axes = {}, len(self.axes)
        for name, array in arrays.items():
            moved = np.moveaxis(array, 0, n_axes - 1)
            flat = moved.reshape(-1, *moved.shape[n_axes - 1 :])
            columns = self.arrays[name].columns(name)
            sequences_last |= {c: flat[..., i] if flat.ndim == 3 else flat for i, c in enumerate(columns)}
        return sequences_last

    def places(self, arrays: Mapping[str, ndarray]) -> dict[str, ndarray]:
        """The layer, and the head where it has one, of each row of `rows`: (row,)."""
        shape = next(iter(arrays.values())).shape[1 : len(self.axes)]
        return dict(zip(self.row_axes, (index.ravel() for index in np.indices(shape)), strict=True))

    @property
    def fitted(self) -> tuple[str, ...]:
        """The quantities that a growth curve may be fitted to."""
        return tuple(name for name, quantity in self.quantities.items() if quantity.fitted)

    @property
    def row_axes(self) -> tuple[str, ...]:
        """What tells the rows of one step and sequence apart: layer, or layer and head."""
        return tuple(axis for axis in self.axes if axis != "sequence")


def lacking(statistic: object) -> list[str]:
    """Members of `Statistic` that an object does not state."""
    if not isinstance(statistic, Statistic):
        return ["a base class massact.extract.Statistic"]
    return [name for name in ("name", "arrays", "quantities") if not getattr(statistic, name, None)]


def _mean(x: Float[ndarray, "row sequence"]) -> tuple[Float[ndarray, " row"], Float[ndarray, " row"]]:
    """Mean over sequences and its standard error."""
    n = x.shape[1]
    se = x.std(axis=1, ddof=1) / np.sqrt(n) if n > 1 else np.full(len(x), np.nan)
    return x.mean(axis=1), se
