"""stage=fit_suite: fit one form to every layer's series of every training of a suite."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import pandas as pd
from tqdm import tqdm

from massact.config import Config
from massact.disk import file_target
from massact.fit.schemas import fits_schema
from massact.stages.fit import failures, fit_records
from massact.stages.places import place
from massact.stages.swept import suite_fits_path, suite_members, suite_records
from massact.tables import write_table


def run(config: Config, output: Path) -> list[str]:
    """Write `fits/<suite>-<form>.parquet` from the suite's records."""
    name, form = config.suite.name, config.fit.form
    path = file_target(place(config, "fits", output) / suite_fits_path(config, name, form).name)
    records = suite_records(config, name)
    members = suite_members(config, name)
    architectures = {(member["model"], member["seed"]): member["architecture"] for member in members}
    parts, groups = [], list(records.groupby(["model", "seed"], sort=False))
    for key, rows in tqdm(groups, desc=f"fit {form}", unit="training", disable=not sys.stderr.isatty()):
        model, seed = cast(tuple[str, int], key)
        parts.append(fit_records(config, rows, {"architecture": architectures[model, int(seed)]}))
    fits = pd.concat(parts, ignore_index=True)
    write_table(fits, path, fits_schema(form), {"form": form, "aggregation": config.protocol.aggregation})
    return [f"{path}: {len(fits)} curves, median R2 {fits['r2'].median():.4f}", *failures(fits)]
