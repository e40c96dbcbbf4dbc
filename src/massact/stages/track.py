"""stage=track: project the pipeline's results into MLflow; a repeat changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from massact.config import Config
from massact.disk import file_target, write_text
from massact.errors import MassactError, StorageError
from massact.stages.places import is_own, place
from massact.stages.tables import all_fits, own_scores_and_predictions, scores_and_predictions


def run(config: Config, output: Path) -> list[str]:
    """Log scores and fits; write `results/track.json`, which says what is in the store."""
    path = file_target(place(config, "results", output) / "track.json", lambda head: b"_runs" in head)
    if not config.tracking.enabled:
        return ["tracking is off: nothing logged"]
    from massact.predict.tracking import log_fits, log_scores

    where = {"tracking_uri": config.tracking.uri, "experiment": config.tracking.experiment}
    own = is_own(config)
    scores, predictions = own_scores_and_predictions(config) if own else scores_and_predictions(config)
    tables = all_fits(config)
    with logging_to(config.tracking.uri, "the tables are kept", "python run.py stage=track"):
        counts = {"score_runs": log_scores(scores, predictions, **where), "fit_runs": 0}
        for form, fits in tables.items():
            counts["fit_runs"] += log_fits(fits, form=form, **where)
    write_text(path, json.dumps(counts, indent=1) + "\n")
    return [
        f"MLflow {config.tracking.uri}: {counts['score_runs']} score runs, {counts['fit_runs']} fit runs; "
        f"see them with: mlflow ui --backend-store-uri {config.tracking.uri}"
    ]


@contextmanager
def logging_to(uri: str, kept: str, again: str) -> Iterator[None]:
    """Whatever MLflow or its database raises inside the context is one line: what is kept, how to log it later.

    Raises
    ------
    StorageError
    """
    try:
        yield
    except MassactError:
        raise
    except Exception as error:  # MLflow's, SQLAlchemy's, the server's: there is no common type
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise StorageError(
            f"MLflow {uri} took no more ({type(error).__name__}: {first[:200]})", f"{kept}; log them later: {again}"
        ) from None
