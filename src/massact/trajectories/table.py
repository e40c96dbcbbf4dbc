"""Table definitions of measurements: records (one sequence) and trajectories (aggregated over sequences)."""

from __future__ import annotations

from massact.tables import Column, Schema
from massact.trajectories.rules import ARCHITECTURES_RULES, RECORDS_RULES, TRAJECTORIES_RULES

QUANTITIES = ("ratio", "top1", "median")
AGGREGATIONS = ("ratio_of_means", "mean_of_ratios")

_NO_PLACE = "-1 where not known: the published files have no places"

AXES = {
    "family": Column("string", "models trained alike, e.g. pythia, pocket"),
    "recipe": Column("string", "training recipe; never pool recipes on one step axis; empty where nobody knows it"),
    "model": Column("string", "name of the model within massact"),
    "seed": Column("int64", "training seed"),
    "step": Column("int64", "optimiser steps taken"),
    "tokens": Column("int64", "training tokens seen; null where nobody knows the tokens a step", null=True),
    "layer": Column("int32", "0-based block; the paper's l is layer + 1"),
    "probe_length": Column("int32", "tokens in each probe sequence"),
    "first_token": Column("int32", "id every probe sequence begins with, -1 for none"),
}

RECORDS = Schema(
    "records",
    {
        **AXES,
        "sequence": Column("int32", "0-based probe sequence"),
        **{f"top{k}": Column("float32", f"|h|, rank {k}, unitless") for k in (1, 2, 3)},
        **{f"token{k}": Column("int32", f"position of top{k} in the sequence; {_NO_PLACE}") for k in (1, 2, 3)},
        **{f"dimension{k}": Column("int32", f"residual-stream dimension of top{k}; {_NO_PLACE}") for k in (1, 2, 3)},
        "median": Column("float32", "lower median of |h|, unitless"),
    },
    key=("family", "recipe", "model", "seed", "step", "layer", "sequence"),
    rules=RECORDS_RULES,
)

TRAJECTORIES = Schema(
    "trajectories",
    {
        **AXES,
        "quantity": Column("string", "ratio (top1 over median), top1 or median"),
        "value": Column("float64", "aggregated over sequences, unitless"),
        "se": Column("float64", "standard error over sequences, NaN for one sequence", nan=True),
        "n_sequences": Column("int32", "sequences aggregated"),
    },
    key=("family", "recipe", "model", "seed", "step", "layer", "quantity"),
    rules=TRAJECTORIES_RULES,
)

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
        "tokens": Column("int64", "training tokens seen; null where nobody knows the tokens a step", null=True),
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
        "step": Column("int64", "the step its name says, -1 where it says none"),
        "reason": Column("string", "line, sequence, layer and what is wrong there"),
    },
    key=("file",),
)
