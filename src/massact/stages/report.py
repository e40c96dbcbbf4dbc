"""stage=report: one self-contained page from the tables of all models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from massact.config import Config
from massact.disk import file_target, storing, write_text
from massact.stages.places import is_own, place
from massact.stages.swept import (
    all_fits,
    all_records,
    own_scores_and_predictions,
    results,
    scores_and_predictions,
    suspects_of,
    training_log,
)
from massact.tracked import warn_unless_recorded
from massact.trajectories import aggregate


def run(config: Config, output: Path) -> list[str]:
    """Write `results/report.html`, and `results/headline.txt` with its numbers in a few lines.

    If the command line chooses a model, the report is about that model alone, and is below the job's folder.
    """
    folder, own = place(config, "results", output), is_own(config)
    path = file_target(folder / "report.html", lambda head: b"massive activations" in head.lower())
    file_target(folder / "headline.txt", lambda head: head.startswith(b"measured:"))
    from massact.report import ReportInputs, build_report

    records, provenance = all_records(config)
    scores, predictions = own_scores_and_predictions(config) if own else scores_and_predictions(config)
    fits = all_fits(config)
    inputs = ReportInputs(
        trajectories=aggregate(records, config.protocol.aggregation),
        records=records,
        fits=fits,
        scores=scores,
        predictions=predictions,
        provenance=provenance,
        training=_training(config, provenance),
        suspects=suspects_of(provenance),
    )
    with storing(path.parent):
        lines = build_report(inputs, path).lines()
    write_text(path.with_name("headline.txt"), "\n".join(lines) + "\n")
    if own:
        missing = [name for name, there in (("fits", fits), ("scores and predictions", len(predictions))) if not there]
        lines += [f"not in the report, because there are none: {', '.join(missing)}"] if missing else []
        lines.append(f"your own run: {results(config)} is not changed")
    return [*lines, f"report: {path.resolve()}"]


def _training(config: Config, provenance: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The training logs beside shipped checkpoints."""
    logs = {}
    for entry in provenance:
        path = Path(str(entry["source"])) / "training.json"
        if os.path.lexists(path):
            logs[str(entry["model"])] = training_log(path)
            warn_unless_recorded(path, path.parent)
    return logs
