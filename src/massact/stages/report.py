"""stage=report: one self-contained page from the tables of all models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from massact.config import Config
from massact.stages.audit import suspects_of
from massact.stages.tables import all_fits, all_records, results, scores_and_predictions
from massact.trajectories import aggregate


def run(config: Config, output: Path) -> list[str]:
    """Write `results/report.html`; and `results/headline.txt`, its numbers in a few lines."""
    from massact.report import ReportInputs, build_report

    records, provenance = all_records(config)
    scores, predictions = scores_and_predictions(config)
    inputs = ReportInputs(
        trajectories=aggregate(records, config.protocol.aggregation),
        records=records,
        fits=all_fits(config),
        scores=scores,
        predictions=predictions,
        provenance=provenance,
        training=_training(config, provenance),
        suspects=suspects_of(provenance),
    )
    path = results(config) / "report.html"
    lines = build_report(inputs, path).lines()
    path.with_name("headline.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [*lines, f"report: {path.resolve()}"]


def _training(config: Config, provenance: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The training logs that lie beside shipped checkpoints."""
    found = {}
    for entry in provenance:
        path = Path(str(entry["source"])) / "training.json"
        if path.is_file():
            found[str(entry["model"])] = json.loads(path.read_text(encoding="utf-8"))
    return found
