"""stage=run: one composition extracted, fitted and logged, everything in the job's own folder."""

from __future__ import annotations

from pathlib import Path

from massact.config import Config
from massact.errors import CheckpointError
from massact.fit.table import fits_schema
from massact.settings import table_stem
from massact.stages.extract import extract, save
from massact.stages.fit import fit_records
from massact.tables import write_table


def run(config: Config, output: Path) -> list[str]:
    """Write the records and fits tables; a model with missing checkpoints is fitted on what there is."""
    stem, form = table_stem(config.model), config.fit.form
    extraction = extract(config)
    save(extraction, output / f"{stem}.parquet")
    fits = fit_records(config, extraction.records, extraction.metadata)
    path = output / f"{stem}-{form}.parquet"
    write_table(fits, path, fits_schema(form), {"form": form, "aggregation": config.protocol.aggregation})
    lines = _summary(fits, stem, form)
    if config.tracking.enabled:
        from massact.predict.tracking import log_fits

        log_fits(fits, form=form, tracking_uri=config.tracking.uri, experiment=config.tracking.experiment)
        lines.append(f"logged to MLflow: {config.tracking.uri}")
    if extraction.failure:
        raise CheckpointError(*extraction.failure)
    return [*lines, f"tables: {output}"]


def _summary(fits, stem: str, form: str) -> list[str]:
    ratio = fits[fits["quantity"] == "ratio"]
    head = f"{stem}, {form}: ratio of largest to median |h|, fitted curve per layer"
    rows = [
        f"  layer {row.layer:2d}  start {row.f_start:8.2f}  end {row.f_end:8.2f}  peak {row.peak_value:8.2f}"
        f"  R2 {row.r2:6.3f}  {row.regime}"
        for row in ratio.itertuples()
    ]
    return [head, *rows]
