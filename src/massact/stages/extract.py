"""stage=extract: measure checkpoints of one model and write a table of records for each statistic."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from massact.compose.options import sweep_options
from massact.compose.probes import probe_of
from massact.compose.sources import selected_steps, source_of
from massact.compose.stated import Stated, hold_to_model, numbers_of
from massact.config import Config
from massact.disk import file_target, write_text
from massact.errors import CheckpointError
from massact.extract.options import MAGNITUDES
from massact.extract.outcome import SweepResult, counted
from massact.extract.probe import Probe
from massact.extract.provenance import device_named, library_versions, provenance
from massact.extract.records import records_frame
from massact.extract.registered import get_statistic
from massact.extract.statistic import Statistic
from massact.extract.store import RecordStore
from massact.extract.sweep import measure_checkpoints
from massact.layers import layers_named
from massact.settings import (
    model_folder,
    model_name,
    repository_of,
    table_stem,
)
from massact.stages.places import place
from massact.tables import write_table
from massact.trajectories.schemas import records_schema

log = logging.getLogger("massact")
_NAMED = 4  # reasons that the line names, beside the most frequent one


@dataclass(frozen=True)
class Extraction:
    """A statistic's table of records, its provenance, and the runtime values that change from run to run."""

    statistic: Statistic
    records: pd.DataFrame
    metadata: dict[str, Any]
    runtime: dict[str, Any]


def run(config: Config, output: Path) -> list[str]:
    """Write a table for each statistic into `extracted/`, and beside it times and versions.

    Raises
    ------
    CheckpointError
        When a checkpoint could not be measured. The tables of the others are written.
    """
    folder = place(config, "extracted", output)
    for name in config.extract.statistics:
        file_target(folder / table_name(config, name))
    extractions, failures = extract(config)
    paths = [save(config, extraction, folder) for extraction in extractions]
    if failures:
        raise CheckpointError(*failures[0])
    return [
        f"{path}: {extraction.records['step'].nunique()} checkpoints, {len(extraction.records)} records"
        for path, extraction in zip(paths, extractions, strict=True)
    ]


def table_name(config: Config, statistic: str) -> str:
    """The file of a statistic's records. Later stages read that of magnitudes, which has the model's name alone."""
    stem = table_stem(config.model)
    return f"{stem}.parquet" if statistic == MAGNITUDES else f"{stem}.{statistic}.parquet"


def save(config: Config, extraction: Extraction, folder: Path) -> Path:
    """Write the table, then its side file; returns the table's path."""
    path = folder / table_name(config, extraction.statistic.name)
    write_table(extraction.records, path, records_schema(extraction.statistic), extraction.metadata)
    write_text(path.with_suffix(".runtime.json"), json.dumps(extraction.runtime, indent=1) + "\n")
    return path


def extract(config: Config, *, progress: bool | None = None) -> tuple[list[Extraction], list[tuple[str, str]]]:
    """Measure the configured statistics on the configured checkpoints, all in the same forward passes.

    Parameters
    ----------
    progress
        Whether to show a progress bar. None: as the terminal and the stage suggest.

    Returns
    -------
    extractions, failures
        One extraction for each statistic that was measured on a checkpoint. One failure for each statistic that lacks
        a checkpoint: what happened, and the remedy.

    Raises
    ------
    CheckpointError
        When no checkpoint could be measured.
    """
    device = device_named(config.protocol.device)
    source = source_of(config)
    statistics = [get_statistic(name) for name in config.extract.statistics]
    result, probe = measure_checkpoints(
        source,
        selected_steps(config, source),
        lambda folder: _probe(config, folder),
        RecordStore(Path(config.paths.records)),
        dtype=config.protocol.dtype,
        device=device,
        label=table_stem(config.model),
        options=sweep_options(config, source, device, progress),
        statistics=statistics,
    )
    for step, why in result.suspects.items():
        left_out = "" if step in result.measured else "; left out: measure it with checkpoints.suspects=true"
        log.warning("%s step %d is suspect: it %s%s", model_name(config.model), step, why, left_out)
    stated = hold_to_model(config, source, result)
    results = {statistic.name: result.of(statistic.name) for statistic in statistics}
    for statistic_result in results.values():
        statistic_result.set_flawed_aside()
    failures = _failures(results)
    if probe is None or not any(statistic_result.measured for statistic_result in results.values()):
        raise CheckpointError(*failures[0])
    _log_outcome(config, results)
    extractions = [
        _extraction(config, statistic, results[statistic.name], probe, device, stated)
        for statistic in statistics
        if results[statistic.name].measured
    ]
    return extractions, failures


def _probe(config: Config, folder: Path) -> Probe:
    """The probe, once the chosen layers are known to be layers of the model."""
    n_layers = numbers_of(folder).get("n_layers") if config.extract.layers is not None else None
    if n_layers is not None:
        layers_named(str(config.extract.layers), n_layers)
    return probe_of(config, folder)


def _failures(results: Mapping[str, SweepResult]) -> list[tuple[str, str]]:
    """What happened and the remedy, for each statistic that lacks a checkpoint."""
    failures = []
    for name, result in results.items():
        if result.failed or not result.measured:
            what, remedy = failure(result)
            failures.append((what if len(results) == 1 else f"{name}: {what}", remedy))
    return failures


def _log_outcome(config: Config, results: Mapping[str, SweepResult]) -> None:
    """Log every failed checkpoint, and how many checkpoints ended in which way."""
    for name, result in results.items():
        suffix = "" if len(results) == 1 else f" {name}"
        for step, reason in result.failed.items():
            log.warning("%s%s step %d (%s): %s", model_name(config.model), suffix, step, reason.status, reason)
        log.info("%s%s: %s", table_stem(config.model), suffix, counted(result.statuses()))


def failure(result: SweepResult) -> tuple[str, str]:
    """What happened and the remedy, in one line for all failed steps."""
    if not result.failed:
        return (
            f"all {len(result.suspects)} requested checkpoints are suspect",
            "see stage=audit; measure them anyway with checkpoints.suspects=true",
        )
    kinds: dict[str, list[int]] = {}
    for step, reason in sorted(result.failed.items()):
        kinds.setdefault(re.sub(r"step ?\d+", "step", reason.what), []).append(step)
    named = sorted(kinds.values(), key=len, reverse=True)
    first = result.failed[named[0][-1]]
    remedy = first.remedy or "run it again: finished ones are kept"
    if not result.measured and len(named) == 1:
        return first.what, remedy
    others = [f"{len(steps)} for another reason: {result.failed[steps[0]].what}" for steps in named[1:]]
    more = f" ({'; '.join(others[:_NAMED])})" if others else ""
    if len(others) > _NAMED:
        more = f"{more[:-1]}; and {len(others) - _NAMED} reasons more, named above)"
    return f"{len(result.failed)} of {len(result.statuses())} checkpoints not measured: {first.what}{more}", remedy


def _extraction(
    config: Config, statistic: Statistic, result: SweepResult, probe: Probe, device: str, stated: Stated
) -> Extraction:
    records = records_frame(
        result.measured,
        probe,
        family=config.model.family,
        recipe=stated.recipe,
        model=model_name(config.model),
        seed=config.model.seed,
        tokens_per_step=stated.tokens_per_step,
        tokens=stated.tokens,
        statistic=statistic,
    )
    naming = config.model.naming
    chosen: dict[str, Any] = {}
    if config.extract.layers is not None:  # the records in the store have all layers
        every: Any = records  # pandas' stubs know no column types
        chosen = {"layers": layers_named(config.extract.layers, int(every["layer"].max()) + 1)}
        records = every[every["layer"].isin(chosen["layers"])].reset_index(drop=True)
    fixed = {
        **chosen,
        "model": model_name(config.model),
        "seed": config.model.seed,
        "source": repository_of(config.model) or str(model_folder(config.model)),
        "architecture": stated.architecture,
        "tokens_per_step": stated.tokens_per_step,
        **({"axis": naming.axis} if naming is not None and naming.axis != "step" else {}),
    }
    runtime = {
        "device": device,
        "libraries": library_versions(),
        "seconds": {str(step): round(seconds, 3) for step, seconds in sorted(result.seconds.items())},
        "from_store": list(result.statuses().values()).count("stored"),
        "statuses": {str(step): status for step, status in result.statuses().items()},
    }
    metadata = provenance(result, probe, dtype=config.protocol.dtype, fixed=fixed, statistic=statistic)
    records = records_schema(statistic).validate(records, model_name(config.model), metadata)
    return Extraction(statistic, records, metadata, runtime)
