"""stage=gather: the dataset of trajectories. One file for each family, and one row for each training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from massact.architecture import Architecture
from massact.config import Config
from massact.disk import file_target
from massact.stages.places import place
from massact.stages.swept import all_records, params_of, suite_records, training_log
from massact.tables import read_metadata, write_table
from massact.tracked import warn_unless_recorded
from massact.trajectories import ARCHITECTURES, RECORDS

POCKET = "pocket"


def run(config: Config, output: Path) -> list[str]:
    """Write `trajectories/pocket.parquet` and `trajectories/architectures.parquet`."""
    folder = place(config, "trajectories", output)
    gathered, path = file_target(folder / f"{POCKET}.parquet"), file_target(folder / "architectures.parquet")
    records, provenance = all_records(config)
    write_table(records, gathered, RECORDS, {"models": provenance})
    rows = [_checkpointed(records, entry) for entry in provenance]
    for name in params_of(config).suites:
        rows += suite_rows(config, name)
    table: Any = pd.DataFrame(rows, columns=list(ARCHITECTURES.columns))
    write_table(table, path, ARCHITECTURES)
    distinct, done = len(table.drop_duplicates(["family", "model"])), int((table["status"] == "done").sum())
    return [f"{path}: {len(table)} trainings of {distinct} models, {done} done"]


def suite_rows(config: Config, name: str) -> list[dict[str, Any]]:
    """A row of schema ARCHITECTURES for each training of a suite."""
    records = suite_records(config, name)
    metadata = read_metadata(Path(config.paths.trajectories) / f"{name}.parquet")
    per_step = metadata["recipe"]["batch"] * metadata["recipe"]["window"]
    measured: Any = records.groupby(["model", "seed"])["step"].nunique()
    rows = []
    for member in metadata["members"]:
        key = (member["model"], member["seed"])
        rows.append(
            {
                **_numbers(Architecture(**member["architecture"])),
                **{column: member[column] for column in ("family", "model", "seed", "part", "status", "seconds")},
                **{column: member[column] for column in ("loss", "validation_loss", "weights_sha256")},
                "recipe": metadata["recipe"]["name"],
                "steps": member["step"],
                "tokens": member["step"] * per_step,
                "measured_steps": int(measured.get(key, 0)),
                "sequences": metadata["sequences"],
                "machine": json.dumps(member["machine"], sort_keys=True),
            }
        )
    return rows


def _checkpointed(records: pd.DataFrame, provenance: dict[str, Any]) -> dict[str, Any]:
    """The row of a training whose checkpoints were measured afterwards."""
    same = (records["model"] == provenance["model"]) & (records["seed"] == provenance["seed"])
    own: Any = records[same]  # pandas' stubs know no column types
    last = int(own["step"].max())
    log = _training_log(Path(provenance["source"]))
    end = next((row for row in log if row["step"] == last), {})
    return {
        **_numbers(Architecture(**provenance["architecture"])),
        "family": own["family"].iloc[0],
        "recipe": own["recipe"].iloc[0],
        "model": provenance["model"],
        "seed": provenance["seed"],
        "part": own["family"].iloc[0],
        "status": "done",
        "steps": last,
        "tokens": None if provenance["tokens_per_step"] is None else last * provenance["tokens_per_step"],
        "loss": end.get("loss", float("nan")),
        "validation_loss": end.get("validation_loss", float("nan")),
        "seconds": float("nan"),
        "measured_steps": own["step"].nunique(),
        "sequences": own["sequence"].nunique(),
        "weights_sha256": provenance["checkpoints"][str(last)]["weights_sha256"],
        "machine": "",
    }


def _training_log(folder: Path) -> list[dict[str, Any]]:
    path = folder / "training.json"
    log = training_log(path)["log"]
    warn_unless_recorded(path, folder)
    return log


def _numbers(a: Architecture) -> dict[str, Any]:
    return {**a.as_dict(), "d_head": a.d_head, "n_parameters": a.n_parameters}
