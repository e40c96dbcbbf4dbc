"""Table definitions of measurements: records (one sequence) and trajectories (aggregated over sequences)."""

from __future__ import annotations

from massact.extract.magnitudes import DEFAULT
from massact.extract.quantity import AGGREGATIONS
from massact.extract.statistic import Statistic
from massact.tables import Column, Schema
from massact.trajectories.rules import ARCHITECTURES_RULES, records_rules, trajectories_rules

__all__ = [
    "AGGREGATIONS",
    "ARCHITECTURES",
    "AXES",
    "FITTED",
    "HEAD",
    "QUANTITIES",
    "RECORDS",
    "REJECTED",
    "TRAJECTORIES",
]

# Those of the paper's statistic.
QUANTITIES = tuple(DEFAULT.quantities)
FITTED = DEFAULT.fitted
AXES = {
    "family": Column("string", "models trained alike, e.g. pythia, pocket"),
    "recipe": Column("string", "training recipe; never pool recipes on one step axis; empty if unknown"),
    "model": Column("string", "name of the model within massact"),
    "seed": Column("int64", "training seed"),
    "step": Column("int64", "optimiser steps taken"),
    "tokens": Column("int64", "training tokens seen; null if the tokens per step are unknown", null=True),
    "layer": Column("int32", "0-based block; the paper's l is layer + 1"),
    "probe_length": Column("int32", "tokens in each probe sequence"),
    "first_token": Column("int32", "id every probe sequence begins with, -1 for none"),
}
HEAD = {"head": Column("int32", "0-based attention head")}


def axes_of(statistic: Statistic) -> dict[str, Column]:
    """The axes of a statistic's tables: those of every trajectory, and the head if it has that axis."""
    extra = HEAD if "head" in statistic.axes else {}
    names = list(AXES)
    at = names.index("layer") + 1
    return {**{name: AXES[name] for name in names[:at]}, **extra, **{name: AXES[name] for name in names[at:]}}


def records_schema(statistic: Statistic = DEFAULT) -> Schema:
    """The table of a statistic's records: one row per sequence and layer, and per head if it has that axis."""
    return Schema(
        _named("records", statistic),
        {**axes_of(statistic), "sequence": Column("int32", "0-based probe sequence"), **statistic.columns},
        key=("family", "recipe", "model", "seed", "step", *statistic.row_axes, "sequence"),
        rules=records_rules(statistic),
    )


def trajectories_schema(statistic: Statistic = DEFAULT) -> Schema:
    """The table of a statistic's trajectories: its quantities, aggregated over sequences."""
    meanings = [name if name == q.meaning else f"{name} ({q.meaning})" for name, q in statistic.quantities.items()]
    units = sorted({quantity.unit for quantity in statistic.quantities.values()})
    return Schema(
        _named("trajectories", statistic),
        {
            **axes_of(statistic),
            "quantity": Column("string", ", ".join(meanings)),
            "value": Column("float64", f"aggregated over sequences, {' or '.join(units)}"),
            "se": Column("float64", "standard error over sequences, NaN for one sequence", nan=True),
            "n_sequences": Column("int32", "sequences aggregated"),
        },
        key=("family", "recipe", "model", "seed", "step", *statistic.row_axes, "quantity"),
        rules=trajectories_rules(statistic),
    )


def _named(table: str, statistic: Statistic) -> str:
    """The name of a schema. It is part of its files' seals, so the paper's statistic keeps a name without a suffix."""
    return table if statistic.name == DEFAULT.name else f"{table} of {statistic.name}"


RECORDS = records_schema()
TRAJECTORIES = trajectories_schema()

ARCHITECTURES = Schema(
    "architectures",
    {
        **{name: AXES[name] for name in ("family", "recipe", "model", "seed")},
        "part": Column("string", "part of the design: grid, the name of a ladder, or the family's own name"),
        "n_layers": Column("int32", "blocks"),
        "d_model": Column("int32", "width of the residual stream"),
        "n_heads": Column("int32", "attention heads"),
        "d_head": Column("int32", "width of a head"),
        "d_mlp": Column("int32", "width of the MLP"),
        "vocab_size": Column("int32", "rows of the embedding"),
        "context": Column("int32", "training window, tokens"),
        "rotary_fraction": Column("float64", "share of head dimensions that rotate, NaN if unknown", nan=True),
        "rotary_base": Column("float64", "base of the rotary wavelengths, NaN if unknown or none rotate", nan=True),
        "parallel_residual": Column("bool", "attention and MLP read the same input; null if unknown", null=True),
        "n_parameters": Column("int64", "scalars of the model"),
        "status": Column("string", "done, diverged or failed"),
        "steps": Column("int64", "optimiser steps taken"),
        "tokens": Column("int64", "training tokens seen; null if the tokens per step are unknown", null=True),
        "loss": Column("float64", "training loss at the end, nats per token", nan=True),
        "validation_loss": Column("float64", "loss on held-out text at the end, nats per token", nan=True),
        "seconds": Column("float64", "training and measuring, NaN where not recorded", nan=True),
        "measured_steps": Column("int32", "steps measured"),
        "sequences": Column("int32", "probe sequences"),
        "weights_sha256": Column("string", "hash of the weights at the last measured step"),
        "machine": Column("string", "processor, threads and versions that the last bits depend on; empty if unknown"),
    },
    key=("family", "recipe", "model", "seed"),
    rules=ARCHITECTURES_RULES,
)

REJECTED = Schema(
    "rejected files",
    {
        "file": Column("string", "name of a published statistics file that was not used"),
        "step": Column("int64", "the step in its name, -1 if there is none"),
        "reason": Column("string", "line, sequence, layer and what is wrong there"),
    },
    key=("file",),
)
