"""stage=report: one self-contained page from the tables of all models."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.config import Config
from massact.disk import file_target, storing, write_text
from massact.extract.magnitudes import DEFAULT
from massact.extract.statistic import Statistic
from massact.fit.schemas import fits_schema
from massact.stages.places import is_own, place
from massact.stages.swept import (
    fit_paths,
    own_scores_and_predictions,
    provenance_of,
    read_tables,
    record_paths,
    remedy_for_records,
    results,
    scores_and_predictions,
    suspects_of,
    training_log,
)
from massact.tracked import warn_unless_recorded
from massact.trajectories import aggregate
from massact.trajectories.schemas import records_schema

if TYPE_CHECKING:
    from massact.report import ReportInputs
    from massact.report.inputs import StatisticTables


def run(config: Config, output: Path) -> list[str]:
    """Write `results/report.html`, and `results/headline.txt` with its numbers in a few lines.

    If the command line chooses a model, the report is about that model alone, and is below the job's folder.
    """
    folder, own = place(config, "results", output), is_own(config)
    path = page_target(folder)
    file_target(folder / "headline.txt", lambda head: head.startswith(b"measured:"))
    fits = fit_paths(config)
    scores, predictions = own_scores_and_predictions(config) if own else scores_and_predictions(config)
    inputs = inputs_of(record_paths(config), fits, config.protocol.aggregation, remedy=remedy_for_records(config))
    training = _training(inputs.provenance)
    lines = write_page(replace(inputs, scores=scores, predictions=predictions, training=training), path)
    write_text(path.with_name("headline.txt"), "\n".join(lines) + "\n")
    if own:
        missing = [name for name, there in (("fits", fits), ("scores and predictions", len(predictions))) if not there]
        lines += [f"not in the report, because there are none: {', '.join(missing)}"] if missing else []
        lines.append(f"your own run: {results(config)} is not changed")
    return [*lines, f"report: {path.resolve()}"]


def page_target(folder: Path) -> Path:
    """The page in a folder of results.

    Raises
    ------
    OutputError
        When something else is there that massact did not write.
    """
    return file_target(folder / "report.html", lambda head: b"massive activations" in head.lower())


def inputs_of(
    tables: Sequence[Path], fits: Mapping[str, Sequence[Path]], aggregation: str, *, remedy: str | None = None
) -> ReportInputs:
    """What a page shows of tables of magnitudes and their fits.

    Parameters
    ----------
    tables
        Files of schema RECORDS.
    fits
        Files by form.
    remedy
        The command that makes the tables, for the error if one is missing.
    """
    from massact.report import ReportInputs

    records, provenance = read_tables(tables, records_schema(), remedy), provenance_of(tables)
    return ReportInputs(
        trajectories=aggregate(records, aggregation),
        records=records,
        fits=_fits(fits, DEFAULT),
        provenance=provenance,
        suspects=suspects_of(provenance),
    )


def statistic_tables(
    statistic: Statistic, tables: Sequence[Path], fits: Mapping[str, Sequence[Path]], aggregation: str
) -> StatisticTables:
    """What a page shows of another statistic; the parameters are those of `inputs_of`."""
    from massact.report.inputs import StatisticTables

    records = read_tables(tables, records_schema(statistic))
    return StatisticTables(statistic, aggregate(records, aggregation, statistic), _fits(fits, statistic))


def write_page(inputs: ReportInputs, path: Path) -> list[str]:
    """Write the page; returns its headline numbers in a few lines."""
    from massact.report import build_report

    with storing(path.parent):
        return build_report(inputs, path).lines()


def _fits(paths: Mapping[str, Sequence[Path]], statistic: Statistic) -> dict[str, Any]:
    per_head = "head" in statistic.axes
    return {form: read_tables(of_form, fits_schema(form, per_head=per_head)) for form, of_form in paths.items()}


def _training(provenance: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The training logs beside shipped checkpoints."""
    logs = {}
    for entry in provenance:
        path = Path(str(entry["source"])) / "training.json"
        if os.path.lexists(path):
            logs[str(entry["model"])] = training_log(path)
            warn_unless_recorded(path, path.parent)
    return logs
