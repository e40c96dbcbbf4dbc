"""What a statistic is: one object that measuring, storing, tabling, fitting and plotting read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from massact.errors import MeasureError
from massact.extract.quantity import Quantity
from massact.tables import Column, Rule

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class HookPoint:
    """Where a tensor is read in every block: at the input or the output of the block itself or of a part of it.

    Attributes
    ----------
    parts
        Names of the part within the block, one for each naming in use among model classes. The first one that a block
        has is read. Empty: the block itself.
    side
        Whether the tensor is the module's input or its output.
    """

    parts: tuple[str, ...] = ()
    side: Literal["input", "output"] = "output"

    def __str__(self) -> str:
        return f"the {self.side} of {' or '.join(self.parts) or 'the block'}"


# The residual stream after each block, before any final norm.
BLOCK_OUTPUT = HookPoint()
# The concatenated outputs of the attention heads, before the output projection.
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
    """What is read of one block in one forward pass: a tensor for each hook point.

    `n_heads` is the number of attention heads, 0 if the model states none. The tensors belong to the model. A statistic
    must not change them.
    """

    layer: int
    tensors: Mapping[HookPoint, Tensor]
    n_heads: int = 0

    @property
    def output(self) -> Float[Tensor, "sequence position width"]:
        """The residual stream after the block."""
        return self.tensors[BLOCK_OUTPUT]

    def heads(self, point: HookPoint = HEAD_OUTPUTS) -> Float[Tensor, "sequence position head width"]:
        """A tensor of concatenated heads, split by head.

        Raises
        ------
        MeasureError
            When its width is not divisible by the number of heads.
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
    """One array of a statistic. Its axes are those of the statistic, then one of length `ranks` if that is not 0.

    Its columns in a table are `name`, or `name1`, `name2`, ... by rank.

    Attributes
    ----------
    dtype
        float32 or int32.
    meaning
        The description of the column in a table; `{rank}` stands for the rank.
    unit
        Empty for indices, such as positions.
    """

    dtype: Literal["float32", "int32"]
    meaning: str
    unit: str = "unitless"
    ranks: int = 0

    def columns(self, name: str) -> dict[str, Column]:
        """Its columns in a table of records."""
        meaning = self.meaning + (f", {self.unit}" if self.unit else "")
        if not self.ranks:
            return {name: Column(self.dtype, meaning)}
        return {f"{name}{rank}": Column(self.dtype, meaning.format(rank=rank)) for rank in range(1, self.ranks + 1)}


@dataclass(frozen=True)
class Flaw:
    """Why a measured checkpoint has no quantities: a status, what is wrong, and the remedy."""

    status: str
    what: str
    remedy: str


class Statistic(ABC):
    """One or several numbers for each sequence and block, or for each sequence, block and attention head.

    A subclass defines the members below and `reduce`. Measuring, the store, tables, fits and figures read this one
    object, so a new statistic needs nothing else. Statistics whose numbers differ must differ in name, version or
    options, because these identify their records.

    Attributes
    ----------
    name
        Its name in a `Measurement` and in a configuration, and part of every record's key.
    version
        Raise it when a change alters any measured number. Its records are then measured again, and no others.
    hooks
        Where it reads tensors. `reduce` is called once all tensors of a block have been read.
    axes
        `("sequence", "layer")` or `("sequence", "layer", "head")`.
    arrays
        The arrays of a record, by name.
    quantities
        The quantities aggregated over sequences, by name.
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

        It must not keep a reference to the block's tensors. A NaN or infinite value in a float array means that the
        checkpoint's hidden states overflow.
        """

    def options(self) -> dict[str, Any]:
        """Settings that its numbers depend on, as JSON. They are part of every record's key."""
        return {}

    def key_parts(self) -> dict[str, Any]:
        """The parts of a record's key that identify the statistic, its version and its options."""
        return {"statistic": self.name, "version": self.version, **self.options()}

    def flaw(self, arrays: Mapping[str, ndarray]) -> Flaw | None:
        """Why a checkpoint has no quantities; None if it has."""
        return None

    def check(self, arrays: Mapping[str, ndarray], parts: Mapping[str, Any]) -> None:
        """Check that the arrays of a record are possible results of the statistic.

        Parameters
        ----------
        parts
            The parts of the record's key; empty if unknown.

        Raises
        ------
        ValueError
            When names, types or shapes differ, or a value is not finite.
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
        """Rules for every row of its records, beyond the types of the columns."""
        return ()

    @property
    def trajectory_rules(self) -> tuple[Rule, ...]:
        """Rules for every row of its trajectories."""
        return ()

    @cached_property
    def columns(self) -> dict[str, Column]:
        """Its columns in a table of records."""
        return {name: column for array, one in self.arrays.items() for name, column in one.columns(array).items()}

    def rows(self, arrays: Mapping[str, ndarray]) -> dict[str, ndarray]:
        """The columns of its records, each (row, sequence). Rows are in order of layer, then of head."""
        sequences_last, n_axes = {}, len(self.axes)
        for name, array in arrays.items():
            moved = np.moveaxis(array, 0, n_axes - 1)
            flat = moved.reshape(-1, *moved.shape[n_axes - 1 :])
            columns = self.arrays[name].columns(name)
            sequences_last |= {c: flat[..., i] if flat.ndim == 3 else flat for i, c in enumerate(columns)}
        return sequences_last

    def places(self, arrays: Mapping[str, ndarray]) -> dict[str, ndarray]:
        """The layer, and the head if it has that axis, of each row of `rows`: (row,)."""
        shape = next(iter(arrays.values())).shape[1 : len(self.axes)]
        return dict(zip(self.row_axes, (index.ravel() for index in np.indices(shape)), strict=True))

    @property
    def fitted(self) -> tuple[str, ...]:
        """The quantities that a growth curve may be fitted to."""
        return tuple(name for name, quantity in self.quantities.items() if quantity.fitted)

    @property
    def row_axes(self) -> tuple[str, ...]:
        """The axes that distinguish the rows of one step and sequence: layer, or layer and head."""
        return tuple(axis for axis in self.axes if axis != "sequence")


def lacking(statistic: object) -> list[str]:
    """Members of `Statistic` that an object does not define."""
    if not isinstance(statistic, Statistic):
        return ["a base class massact.extract.Statistic"]
    return [name for name in ("name", "arrays", "quantities") if not getattr(statistic, name, None)]
