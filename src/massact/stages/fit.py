"""stage=fit: fit one form to every layer's series of one model."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from massact.config import Config
from massact.disk import file_target
from massact.errors import FitError
from massact.extract.magnitudes import DEFAULT
from massact.extract.statistic import Statistic
from massact.fit.judgement.regimes import Regime
from massact.fit.schemas import fits_schema
from massact.params import is_pipeline, load_params
from massact.settings import table_stem
from massact.stages.places import place
from massact.tables import read_metadata, read_table, write_table
from massact.trajectories import RECORDS, aggregate
from massact.trajectories.schemas import FITTED


def run(config: Config, output: Path) -> list[str]:
    """Write `fits/<model>-<form>.parquet` from the model's records."""
    stem, form = table_stem(config.model), config.fit.form
    path = file_target(place(config, "fits", output) / f"{stem}-{form}.parquet")
    source = Path(config.paths.extracted) / f"{stem}.parquet"
    records = read_table(
        source, RECORDS, remedy=f"create it with: python run.py stage=extract model={config.model.name}"
    )
    fits = fit_records(config, records, read_metadata(source, ["architecture"]))
    write_table(fits, path, fits_schema(form), {"form": form, "aggregation": config.protocol.aggregation})
    return [f"{path}: {len(fits)} curves, median R2 {fits['r2'].median():.4f}", *failures(fits)]


def failures(fits: pd.DataFrame) -> list[str]:
    """One line for every reason why fits failed, with their number and the remedy."""
    failed: Any = fits.loc[fits["regime"] == str(Regime.FAILED), "status"]
    return [f"  {count} of {len(fits)} fits failed: {reason}" for reason, count in failed.value_counts().items()]


def fit_records(
    config: Config,
    records: pd.DataFrame,
    metadata: dict[str, Any],
    quantities: Sequence[str] | None = None,
    statistic: Statistic = DEFAULT,
) -> pd.DataFrame:
    """Fit the configured form to one table of a statistic's records. Suspect checkpoints are left out by default.

    `quantities` are those of the pipeline's params.yaml when None; elsewhere all.

    The intervals of derived quantities come from resampling the input sequences, if there are several.
    """
    if quantities is None:
        params = Path(config.paths.params)
        quantities = load_params(params).quantities if is_pipeline(params) else FITTED
    return fits_of(
        records,
        metadata,
        form=config.fit.form,
        quantities=quantities,
        aggregation=config.protocol.aggregation,
        suspects=config.fit.suspects,
        resamples=config.fit.resamples,
        progress=sys.stderr.isatty(),
        statistic=statistic,
    )


def fits_of(
    records: pd.DataFrame,
    metadata: Mapping[str, Any],
    *,
    form: str,
    quantities: Sequence[str],
    aggregation: str,
    suspects: bool,
    resamples: int,
    progress: bool,
    statistic: Statistic = DEFAULT,
) -> pd.DataFrame:
    """Fit one form to a table of a statistic's records.

    The metadata names the architecture and the suspect checkpoints.

    Raises
    ------
    FitError, ConfigError
        As `without_suspects`, `massact.fit.fit_table` and `massact.trajectories.aggregate`.
    """
    from massact.fit import fit_table
    from massact.fit.sequences import sequence_series

    if not suspects:
        records = without_suspects(records, metadata)
    return fit_table(
        aggregate(records, aggregation, statistic),
        metadata["architecture"],
        form=form,
        quantities=quantities,
        progress=progress,
        sequences=sequence_series(records, aggregation, statistic),
        resamples=resamples,
    )


def without_suspects(records: pd.DataFrame, metadata: Mapping[str, Any]) -> pd.DataFrame:
    """The records of checkpoints that are not suspect.

    Raises
    ------
    FitError
        When every checkpoint is suspect.
    """
    suspect = [int(step) for step in metadata.get("suspects", {})]
    kept: Any = records[~records["step"].isin(suspect)]  # pandas' stubs know no column types
    if kept.empty and not records.empty:
        raise FitError("every measured checkpoint is suspect", "fit them anyway with fit.suspects=true")
    return kept
