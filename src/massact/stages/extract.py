"""stage=extract: measure the wanted checkpoints of one model and write its records table."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from massact.compose.options import sweep_options
from massact.compose.probes import probe_of
from massact.compose.sources import source_of, wanted_steps
from massact.compose.stated import Stated, hold_to_model
from massact.config import Config
from massact.disk import file_target, write_text
from massact.errors import CheckpointError
from massact.extract.outcome import SweepResult, counted
from massact.extract.probe import Probe
from massact.extract.provenance import device_named, library_versions, provenance
from massact.extract.records import records_frame
from massact.extract.store import RecordStore
from massact.extract.sweep import measure_checkpoints
from massact.settings import (
    model_folder,
    model_name,
    repository_of,
    table_stem,
)
from massact.stages.places import place
from massact.tables import write_table
from massact.trajectories import RECORDS

log = logging.getLogger("massact")
_NAMED = 4  # reasons, beside the most frequent one, that one line names


@dataclass(frozen=True)
class Extraction:
    """A records table with its provenance, and what changes from run to run beside it."""

    records: pd.DataFrame
    metadata: dict[str, Any]
    runtime: dict[str, Any]
    failure: tuple[str, str] | None


def run(config: Config, output: Path) -> list[str]:
    """Write `extracted/<model>.parquet` and, beside it, what is not part of the result (times, versions)."""
    path = file_target(place(config, "extracted", output) / f"{table_stem(config.model)}.parquet")
    extraction = extract(config)
    save(extraction, path)
    if extraction.failure:
        raise CheckpointError(*extraction.failure)
    return [f"{path}: {extraction.records['step'].nunique()} checkpoints, {len(extraction.records)} records"]


def save(extraction: Extraction, path: Path) -> None:
    """Write the table, then its side file."""
    write_table(extraction.records, path, RECORDS, extraction.metadata)
    write_text(path.with_suffix(".runtime.json"), json.dumps(extraction.runtime, indent=1) + "\n")


def extract(config: Config) -> Extraction:
    """Measure what the configuration asks for.

    Raises
    ------
    CheckpointError
        When not one checkpoint could be measured.
    """
    device = device_named(config.protocol.device)
    source = source_of(config)
    result, probe = measure_checkpoints(
        source,
        wanted_steps(config, source),
        lambda folder: probe_of(config, folder),
        RecordStore(Path(config.paths.records)),
        dtype=config.protocol.dtype,
        device=device,
        label=table_stem(config.model),
        options=sweep_options(config, device),
    )
    for step, why in result.suspects.items():
        left_out = "" if step in result.measured else "; left out: measure it with checkpoints.suspects=true"
        log.warning("%s step %d is suspect: it %s%s", model_name(config.model), step, why, left_out)
    stated = hold_to_model(config, source, result)
    result.set_flawed_aside()
    if probe is None or not result.measured:
        raise CheckpointError(*failure(result))
    for step, reason in result.failed.items():
        log.warning("%s step %d (%s): %s", model_name(config.model), step, reason.status, reason)
    log.info("%s: %s", table_stem(config.model), counted(result.statuses()))
    return _extraction(config, result, probe, device, stated)


def failure(result: SweepResult) -> tuple[str, str]:
    """What happened and the remedy, in one line for all failed steps."""
    if not result.failed:
        return (
            f"all {len(result.suspects)} checkpoints asked for are suspect",
            "see stage=audit; measure them all the same with checkpoints.suspects=true",
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


def _extraction(config: Config, result: SweepResult, probe: Probe, device: str, stated: Stated) -> Extraction:
    records = records_frame(
        result.measured,
        probe,
        family=config.model.family,
        recipe=stated.recipe,
        model=model_name(config.model),
        seed=config.model.seed,
        tokens_per_step=stated.tokens_per_step,
    )
    fixed = {
        "model": model_name(config.model),
        "seed": config.model.seed,
        "source": repository_of(config.model) or str(model_folder(config.model)),
        "architecture": stated.architecture,
        "tokens_per_step": stated.tokens_per_step,
    }
    runtime = {
        "device": device,
        "libraries": library_versions(),
        "seconds": {str(step): round(seconds, 3) for step, seconds in sorted(result.seconds.items())},
        "from_store": list(result.statuses().values()).count("stored"),
        "statuses": {str(step): status for step, status in result.statuses().items()},
    }
    metadata = provenance(result, probe, dtype=config.protocol.dtype, fixed=fixed)
    return Extraction(
        RECORDS.validate(records, model_name(config.model), metadata),
        metadata,
        runtime,
        failure(result) if result.failed else None,
    )
