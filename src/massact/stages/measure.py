"""stage=measure: one model from its checkpoints to a table of what happens in each layer; `massact measure WHERE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from massact.config import Config
from massact.disk import file_target
from massact.errors import CheckpointError
from massact.extract.options import MAGNITUDES
from massact.findings.outcomes import onset
from massact.fit.overview import quoted_parameters
from massact.fit.schemas import fits_schema
from massact.settings import table_stem
from massact.stages.extract import Extraction, extract, save, table_name
from massact.stages.fit import failures as fit_failures
from massact.stages.fit import fit_records
from massact.stages.places import place
from massact.tables import write_table
from massact.trajectories import aggregate

_HEADS = ("layer", "start", "end", "largest", "at step", "onset", "where", "regime", "R2", "may be quoted")


def run(config: Config, output: Path) -> list[str]:
    """Write records and fits of every configured statistic, and return the table of layers.

    Raises
    ------
    CheckpointError
        When a checkpoint could not be measured. The tables of the others are written.
    """
    extracted, fitted = place(config, "extracted", output), place(config, "fits", output)
    targets = {}
    for name in config.extract.statistics:
        table = file_target(extracted / table_name(config, name))
        targets[name] = file_target(fitted / f"{table.stem}-{config.fit.form}.parquet")
    extractions, failures = extract(config)
    paths = [save(config, extraction, extracted) for extraction in extractions]
    extraction = next((e for e in extractions if e.statistic.name == MAGNITUDES), None)
    if extraction is None:
        raise CheckpointError(*failures[0])
    fits_of = {e.statistic.name: _fits(config, e) for e in extractions if e.statistic.fitted}
    metadata = {"form": config.fit.form, "aggregation": config.protocol.aggregation}
    for name, fits in fits_of.items():
        per_head = "head" in fits.columns
        write_table(fits, targets[name], fits_schema(config.fit.form, per_head=per_head), metadata)
        paths.append(targets[name])
    fits = fits_of.pop(MAGNITUDES)
    lines = [*_head(config, extraction), *layer_table(extraction, fits, config.protocol.aggregation)]
    lines += fit_failures(fits)
    for name, others in fits_of.items():
        lines += [f"{name}: {len(others)} curves, median R2 {others['r2'].median():.4f}", *fit_failures(others)]
    lines.append(f"tables: {', '.join(map(str, paths))}")
    if failures:
        raise CheckpointError(*failures[0])
    return lines


def _fits(config: Config, extraction: Extraction) -> pd.DataFrame:
    statistic = extraction.statistic
    return fit_records(config, extraction.records, extraction.metadata, statistic.fitted, statistic)


def layer_table(extraction: Extraction, fits: pd.DataFrame, aggregation: str) -> list[str]:
    """One line a layer: the measured ratio at the first and the last step and where it was largest, its onset (half its
    rise in log ratio), the position and dimension of the largest activation at the last step, and what the fit says.
    """
    trajectories: Any = aggregate(extraction.records, aggregation)
    ratio = trajectories[trajectories["quantity"] == "ratio"].sort_values("step")
    ratio_fits: Any = fits[fits["quantity"] == "ratio"]
    by_layer = {int(row["layer"]): row for row in ratio_fits.to_dict("records")}
    rows: list[tuple[str, ...]] = [_HEADS]
    for layer, curve in ratio.groupby("layer"):
        steps, values = curve["step"].to_numpy(float), curve["value"].to_numpy(float)
        largest = int(values.argmax())
        fit = by_layer[layer]
        with np.errstate(divide="ignore"):
            began = onset(steps, np.log(values))
        rows.append(
            (
                str(layer),
                f"{values[0]:.4g}",
                f"{values[-1]:.4g}",
                f"{values[largest]:.4g}",
                f"{steps[largest]:.0f}",
                "-" if np.isnan(began) else f"{began:.0f}",
                _where(extraction.records, layer),
                _regime(fit),
                "-" if np.isnan(fit["r2"]) else f"{fit['r2']:.3f}",
                quoted_parameters(fit),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _head(config: Config, extraction: Extraction) -> list[str]:
    """What was measured: the model, its checkpoints, and the probe."""
    records, probe = extraction.records, extraction.metadata["probe"]
    steps = sorted(set(records["step"]))
    first = records["first_token"].iloc[0]
    begun = f"each beginning with token {first}" if first >= 0 else "without a special first token"
    return [
        f"{table_stem(config.model)}: {len(steps)} checkpoints, steps {steps[0]} to {steps[-1]}",
        f"probe: {records['sequence'].nunique()} sequences of {records['probe_length'].iloc[0]} tokens "
        f"({probe['text']}, {begun})",
        "ratio of the largest to the median activation of each block's output:",
    ]


def _where(records: pd.DataFrame, layer: Any) -> str:
    """Position and dimension of the largest activation at the last step, and in how many sequences it is there."""
    table: Any = records
    last = table[(table["layer"] == layer) & (table["step"] == table["step"].max())]
    counts = last.groupby(["token1", "dimension1"]).size().sort_values(ascending=False, kind="stable")
    token, dimension = counts.index[0]
    share = f" in {counts.iloc[0]} of {len(last)}" if counts.iloc[0] < len(last) else ""
    return f"position {token}, dimension {dimension}{share}"


def _regime(fit: dict[str, Any]) -> str:
    return f"{fit['regime']} ({fit['doubts']})" if fit["doubts"] else str(fit["regime"])
