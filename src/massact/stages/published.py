"""stage=published: the paper's published measurements as a records table of a Pythia model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.checkpoints.hub_dataset import HubDataset, fetch_files
from massact.checkpoints.pythia import KNOWN_SUSPECTS
from massact.config import Config
from massact.disk import file_target, write_text
from massact.errors import CheckpointError, ConfigError
from massact.settings import (
    available_steps,
    described,
    model_name,
    repository_of,
    table_stem,
)
from massact.tables import write_table
from massact.trajectories import RECORDS, PublishedImport, import_published
from massact.trajectories.importing import PROBE_LENGTH

if TYPE_CHECKING:
    import pandas as pd

# How the paper's measurements differ from ours.
PROTOCOL_NOTES = (
    "weights in float16",
    "text: 500 random documents of RedPajama-Data-1T-Sample (numpy seed 1) joined by blank lines, no special tokens",
    "median: the lower one, over all positions and dimensions",
    "positions and dimensions of the largest values are not published",
    "what a checkpoint's weights were is not published: suspects are those known from the Hub, and equal numbers",
)


@dataclass(frozen=True)
class _Files:
    """A folder of statistics files, a line about it for the user, and its origin."""

    folder: Path
    line: str
    origin: Mapping[str, Any]


def run(config: Config, output: Path) -> list[str]:
    """Write `published/<model>.parquet`, and beside it `<model>.rejected.csv` with the rejected files and reasons."""
    if config.model.family != "pythia" or config.model.deduped or config.model.seed:
        raise ConfigError(f"{table_stem(config.model)} is not in the published dataset", "choose e.g. pythia-1b")
    path = file_target(Path(config.paths.published) / f"{table_stem(config.model)}.parquet")
    size = str(config.model.size)
    files = _local(config, size) if config.published.folder else _from_hub(config, size)
    read = import_published(
        files.folder,
        size,
        n_layers=described(config.model)[0].n_layers,
        steps=available_steps(config.model),
        tokens_per_step=described(config.model)[1].tokens_per_step,
        sequences=config.published.sequences,
    )
    rejected = _write_rejected(read.rejected, path.with_suffix(".rejected.csv"))
    lines = [files.line, *(f"rejected {row['file']}: {row['reason']}" for row in read.rejected.to_dict("records"))]
    if read.records.empty:
        raise CheckpointError(
            f"none of {len(read.rejected)} files in {files.folder} can be used", f"see why in {rejected}"
        )
    metadata = _metadata(config, read, files.origin)
    write_table(read.records, path, RECORDS, metadata)
    lines += [f"step {step} is suspect: it {why}" for step, why in metadata["suspects"].items()]
    counts = f"{len(read.files)} checkpoints, {len(read.records)} records, {len(read.rejected)} files rejected"
    return [*lines, f"{path}: {counts} ({rejected})"]


def _local(config: Config, size: str) -> _Files:
    """The configured folder, which is the root of a copy of the dataset or holds the files itself."""
    folder = Path(str(config.published.folder))
    inside = folder / f"pythia_{size}" / "stats"
    chosen = inside if inside.is_dir() else folder
    return _Files(chosen, f"{chosen}: read as it is", {"source": folder.as_posix(), "dataset": None, "commit": None})


def _from_hub(config: Config, size: str) -> _Files:
    name, commit = config.published.dataset, config.published.commit
    folder = f"pythia_{size}/stats"
    dataset = HubDataset.from_environment(name, commit, Path(config.paths.records))
    fetched = fetch_files(dataset, lambda file: file.startswith(f"{folder}/"))
    if not fetched.names:
        raise ConfigError(f"dataset {name} has no files of pythia-{size}", "choose another model, e.g. pythia-1b")
    counts = f"{fetched.downloaded} of {len(fetched.names)} files downloaded, cached and checked"
    line = f"dataset {name} {commit[:12]}: {counts}"
    return _Files(fetched.snapshot / folder, line, {"source": name, "dataset": name, "commit": commit})


def _metadata(config: Config, read: PublishedImport, origin: Mapping[str, Any]) -> dict[str, Any]:
    """The same keys as in our own tables; null if the dataset does not state the value."""
    repository = repository_of(config.model)
    known = {step: why for (model, step), why in KNOWN_SUSPECTS.items() if model == repository and step in read.files}
    rejected = read.rejected.to_dict("records")
    return {
        **origin,
        "model": model_name(config.model),
        "seed": config.model.seed,
        "architecture": described(config.model)[0].as_dict(),
        "tokens_per_step": described(config.model)[1].tokens_per_step,
        "protocol_version": None,
        "protocol_notes": list(PROTOCOL_NOTES),
        "dtype": "float16",
        "hook": "output of block {layer}, residual sum included",
        "probe": {"text": "redpajama", "length": PROBE_LENGTH, "first_token": -1},
        "tokens_sha256": None,
        "checkpoints": {
            str(step): {
                "revision_asked": f"step{step}",
                "revision_loaded": None,
                "weights_sha256": None,
                "file": name,
                "file_sha256": sha256,
            }
            for step, (name, sha256) in sorted(read.files.items())
        },
        "suspects": {str(step): why for step, why in sorted({**read.twins, **known}.items())},
        "failed": {str(r["step"]): r["reason"] for r in rejected if r["step"] >= 0 and r["step"] not in read.files},
        "rejected": {r["file"]: r["reason"] for r in rejected},
    }


def _write_rejected(rejected: pd.DataFrame, path: Path) -> Path:
    """Write the list. It has only a header if no file was rejected."""
    write_text(path, rejected.to_csv(index=False))
    return path
