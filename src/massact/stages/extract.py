"""stage=extract: measure the wanted checkpoints of one model and write its records table."""

from __future__ import annotations

import json
import logging
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from massact.architecture import numbers_in
from massact.checkpoints import reachable
from massact.checkpoints.files import read_config
from massact.config import Config
from massact.disk import write_text
from massact.errors import CheckpointError, ConfigError
from massact.extract.options import SweepOptions
from massact.extract.outcome import SweepResult, counted
from massact.extract.plan import FORWARD_SHARE, forward_flops, matmul_flops_per_second
from massact.extract.probe import CORPUS, REDPAJAMA, Probe, chunk, encode, redpajama_text
from massact.extract.provenance import device_named, library_versions, provenance
from massact.extract.records import records_frame
from massact.extract.store import RecordStore
from massact.extract.sweep import measure_checkpoints
from massact.settings import (
    architecture_of,
    model_folder,
    model_name,
    repository_of,
    table_stem,
    tokens_per_step,
)
from massact.stages.sources import source_of, wanted_steps
from massact.tables import write_table
from massact.trajectories import RECORDS

log = logging.getLogger("massact")
# Numbers of an architecture that a checkpoint must share with its configuration.
_CHECKED = ("n_layers", "d_model", "n_heads", "d_mlp")


@dataclass(frozen=True)
class Extraction:
    """A records table with its provenance, and what changes from run to run beside it."""

    records: pd.DataFrame
    metadata: dict[str, Any]
    runtime: dict[str, Any]
    failure: tuple[str, str] | None


def run(config: Config, output: Path) -> list[str]:
    """Write `extracted/<model>.parquet` and, beside it, what is not part of the result (times, versions)."""
    extraction = extract(config)
    path = Path(config.paths.extracted) / f"{table_stem(config.model)}.parquet"
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
        options=_options(config, device),
    )
    for step, why in result.suspects.items():
        left_out = "" if step in result.measured else "; left out: measure it with checkpoints.suspects=true"
        log.warning("%s step %d is suspect: it %s%s", model_name(config.model), step, why, left_out)
    if probe is None or not result.measured:
        raise CheckpointError(*failure(result))
    for step, reason in result.failed.items():
        log.warning("%s step %d (%s): %s", model_name(config.model), step, reason.status, reason)
    log.info("%s: %s", table_stem(config.model), counted(result.statuses()))
    return _extraction(config, result, probe, device)


def probe_of(config: Config, folder: Path) -> Probe:
    """The probe text in the model's own tokens; the folder has its tokenizer, and a config.json that must fit.

    Raises
    ------
    ConfigError
        When the checkpoints are of another architecture than configured, or the text is too short.
    """
    check_architecture(config, folder)
    length = config.probe.length if config.probe.length is not None else config.model.probe.length
    name, text = _text(config)
    return chunk(
        encode(folder / "tokenizer.json", text),
        sequences=config.probe.sequences,
        length=length,
        first_token=config.model.probe.first_token,
        text=name,
    )


def check_architecture(config: Config, folder: Path) -> None:
    """Hold the configured numbers to the checkpoint's own: tables state them, and forecasts learn from them."""
    said = read_config(folder) if (folder / "config.json").is_file() else {}
    numbers = numbers_in(said)
    for name in _CHECKED:
        found = numbers.get(name)
        configured = getattr(config.model.architecture, name)
        if found is not None and found != configured:
            raise ConfigError(
                f"model.architecture.{name} = {configured}, but {folder / 'config.json'} says {found}",
                f"set model.architecture.{name}={found}, or choose another model",
            )


def failure(result: SweepResult) -> tuple[str, str]:
    """What happened and the remedy, in one line for all failed steps."""
    if not result.failed:
        return (
            f"all {len(result.suspects)} checkpoints asked for are suspect",
            "see stage=audit; measure them all the same with checkpoints.suspects=true",
        )
    kinds = {re.sub(r"step ?\d+", "step", f.what): f for f in reversed(result.failed.values())}
    reasons = list(reversed(kinds.values()))
    what, remedy = reasons[0].what, reasons[0].remedy or "run it again: finished ones are kept"
    if not result.measured and len(reasons) == 1:
        return what, remedy
    more = f" (and for {len(reasons) - 1} other reasons)" if len(reasons) > 1 else ""
    return f"{len(result.failed)} of {len(result.statuses())} checkpoints not measured: {what}{more}", remedy


def _options(config: Config, device: str) -> SweepOptions:
    sweep = config.sweep

    def seconds_each(probe: Probe) -> float:
        flops = forward_flops(architecture_of(config.model), *probe.tokens.shape)
        return flops / (FORWARD_SHARE * matmul_flops_per_second(config.protocol.dtype, device))

    return SweepOptions(
        prefetch=sweep.prefetch,
        disk_gb=sweep.disk_gb,
        keep_downloads=sweep.keep_downloads,
        sequences_at_once=sweep.sequences_at_once,
        patience_s=sweep.patience_s,
        bandwidth_mb_s=sweep.bandwidth_mb_s,
        suspects=config.checkpoints.suspects,
        seconds_each=seconds_each,
        progress=sys.stderr.isatty() or config.stage != "run",
    )


def _text(config: Config) -> tuple[str, str]:
    """The name of the probe's text, and the text.

    Raises
    ------
    CheckpointError
        When RedPajama is asked for and cannot be had, or stops coming.
    """
    from massact.checkpoints.reach import endpoint_named, hub_is_offline

    probe = config.probe
    wanted = probe.text == "redpajama" or (probe.text == "auto" and config.model.source == "hub")
    if wanted and probe.text == "auto" and not hub_is_offline() and not reachable(endpoint_named()):
        log.warning("RedPajama cannot be reached: %s is probed with the shipped text", config.model.name)
        wanted = False
    if wanted:
        text = _redpajama(config)
        if text is not None:
            return REDPAJAMA, text
        log.warning("RedPajama is not to be had here: %s is probed with the shipped text", config.model.name)
    from massact.train.corpus import read_works, split_works

    _, held_out = split_works(read_works(Path(probe.corpus)), probe.held_out_works)
    return CORPUS, "\n\n".join(held_out)


def _redpajama(config: Config) -> str | None:
    """The paper's text; None where `auto` finds none on this hub, or no copy offline. Other failures are errors."""
    from massact.checkpoints.hub_errors import http_errors
    from massact.checkpoints.reach import hub_is_offline

    probe = config.probe
    try:
        return redpajama_text(
            probe.dataset, probe.dataset_revision, documents=probe.documents, seed=probe.document_seed
        )
    except http_errors() as error:
        absent = getattr(getattr(error, "response", None), "status_code", None) == 404
        if probe.text == "auto" and (absent or hub_is_offline()):
            return None
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{probe.dataset} cannot be read ({first})", "connect to the Hub, or take probe=corpus"
        ) from None


def _extraction(config: Config, result: SweepResult, probe: Probe, device: str) -> Extraction:
    recipe = config.model.recipe
    records = records_frame(
        result.measured,
        probe,
        family=config.model.family,
        recipe=recipe.name,
        model=model_name(config.model),
        seed=config.model.seed,
        tokens_per_step=tokens_per_step(recipe),
    )
    fixed = {
        "model": model_name(config.model),
        "seed": config.model.seed,
        "source": repository_of(config.model) or str(model_folder(config.model)),
        "architecture": architecture_of(config.model).as_dict(),
        "tokens_per_step": tokens_per_step(recipe),
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
        RECORDS.validate(records, model_name(config.model)),
        metadata,
        runtime,
        failure(result) if result.failed else None,
    )
