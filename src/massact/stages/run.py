"""stage=run: extract, fit and log one composition. All files are in the job's own folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from massact.config import Config
from massact.errors import CheckpointError
from massact.extract.options import MAGNITUDES
from massact.extras import require
from massact.fit.judgement.regimes import Regime
from massact.fit.schemas import fits_schema
from massact.settings import table_stem
from massact.stages import track_figures
from massact.stages.extract import Extraction, extract, save
from massact.stages.fit import fit_records
from massact.stages.track import log
from massact.tables import write_table
from massact.trajectories import aggregate


def run(config: Config, output: Path) -> list[str]:
    """Write records, fits and figures. A model with missing checkpoints is fitted on the others."""
    if config.tracking.enabled:
        require("mlflow")
    stem, form = table_stem(config.model), config.fit.form
    extractions, failures = extract(config)
    for extraction in extractions:
        save(config, extraction, output)
    extraction = next((e for e in extractions if e.statistic.name == MAGNITUDES), None)
    if extraction is None:
        raise CheckpointError(*failures[0])
    fits = fit_records(config, extraction.records, extraction.metadata)
    path = output / f"{stem}-{form}.parquet"
    write_table(fits, path, fits_schema(form), {"form": form, "aggregation": config.protocol.aggregation})
    trajectories = aggregate(extraction.records, config.protocol.aggregation)
    _figures(config, extraction, trajectories, fits, output)
    lines = _summary(fits, stem, form)
    if config.tracking.enabled:
        from massact.predict.tracking import fit_runs

        of_fits = track_figures.of_fits(trajectories)
        log(
            config,
            fit_runs({form: fits}, trajectories, track_figures.of_model, of_fits),
            f"tables and figures are kept in {output}",
        )
        lines.append(f"logged to MLflow: {config.tracking.uri}")
    if failures:
        raise CheckpointError(*failures[0])
    return [*lines, f"tables and figures: {output}"]


def _figures(
    config: Config, extraction: Extraction, trajectories: pd.DataFrame, fits: pd.DataFrame, output: Path
) -> None:
    from massact.report import ReportInputs, save_figures

    inputs = ReportInputs(trajectories=trajectories, records=extraction.records, fits={config.fit.form: fits})
    save_figures(inputs, output / "figures")


def _summary(fits: pd.DataFrame, stem: str, form: str) -> list[str]:
    ratio: Any = fits[fits["quantity"] == "ratio"]  # pandas' stubs know no column types
    head = f"{stem}, {form}: ratio of largest to median |h|, fitted curve per layer"
    rows = [
        f"  layer {row['layer']:2d}  start {row['f_start']:8.2f}  end {row['f_end']:8.2f}"
        f"  peak {row['peak_value']:8.2f}  R2 {row['r2']:6.3f}  {_words(row)}"
        for row in ratio.to_dict("records")
    ]
    return [head, *rows]


def _words(row: dict[str, Any]) -> str:
    """A fit's regime, with the reason if it is disputed or failed, and the step of its peak if it may be quoted."""
    if row["regime"] == str(Regime.FAILED):
        return f"{row['regime']}: {row['status']}"
    regime = f"{row['regime']} ({row['doubts']})" if row["doubts"] else str(row["regime"])
    return f"{regime}, peak near step {row['peak_step']:.0f}" if row["peak_determined"] else regime
