"""stage=track: project the pipeline's results into MLflow; a repeat changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

from massact.config import Config
from massact.stages.tables import all_fits, results, scores_and_predictions


def run(config: Config, output: Path) -> list[str]:
    """Log scores and fits; write `results/track.json`, which says what is in the store."""
    if not config.tracking.enabled:
        return ["tracking is off: nothing logged"]
    from massact.predict.tracking import log_fits, log_scores

    where = {"tracking_uri": config.tracking.uri, "experiment": config.tracking.experiment}
    scores, predictions = scores_and_predictions(config)
    counts = {"score_runs": log_scores(scores, predictions, **where), "fit_runs": 0}
    for form, fits in all_fits(config).items():
        counts["fit_runs"] += log_fits(fits, form=form, **where)
    path = results(config) / "track.json"
    path.write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
    return [
        f"MLflow {config.tracking.uri}: {counts['score_runs']} score runs, {counts['fit_runs']} fit runs; "
        f"see them with: mlflow ui --backend-store-uri {config.tracking.uri}"
    ]
