"""stage=track: log the pipeline's results to MLflow. A repeat changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from massact.config import Config
from massact.disk import file_target, write_text
from massact.errors import MassactError, MissingInputError, StorageError
from massact.stages import track_figures
from massact.stages.places import command, is_own, place
from massact.stages.swept import all_fits, all_records, own_scores_and_predictions, scores_and_predictions
from massact.trajectories import aggregate

if TYPE_CHECKING:
    import pandas as pd

    from massact.mlflow_runs import Run

_LONGEST_REASON = 200


def run(config: Config, output: Path) -> list[str]:
    """Log models, fits and scores. Write `results/track.json` with the numbers of runs in the store."""
    path = file_target(place(config, "results", output) / "track.json", lambda head: b"_runs" in head)
    if not config.tracking.enabled:
        return ["tracking is off: nothing logged"]
    from massact.predict.tracking import fit_runs, score_runs

    own, uri = is_own(config), config.tracking.uri
    scores, predictions = own_scores_and_predictions(config) if own else scores_and_predictions(config)
    scored = score_runs(scores, predictions)
    fitted = fit_runs(all_fits(config), _trajectories(config, own), track_figures.of_model)
    log(config, [*scored, *fitted], "the tables are kept")
    counts = {
        name: sum(r.parent is not None for r in runs) for name, runs in (("score_runs", scored), ("fit_runs", fitted))
    }
    write_text(path, json.dumps(counts, indent=1) + "\n")
    return [
        f"MLflow {uri}: {counts['score_runs']} score runs, {counts['fit_runs']} fit runs; "
        f"see them with: mlflow ui --backend-store-uri {uri}"
    ]


def log(config: Config, runs: list[Run], kept: str) -> None:
    """Write runs to the store that `tracking` names.

    Parameters
    ----------
    kept
        What the user keeps even if logging fails, e.g. "the tables are kept".

    Raises
    ------
    MassactError
        Any error of MLflow or its database, in one line with what is kept and the command that logs it later.
    """
    from massact.mlflow_runs import log_runs

    with logging_to(config.tracking.uri, kept, command()):
        log_runs(runs, tracking_uri=config.tracking.uri, experiment=config.tracking.experiment)


@contextmanager
def logging_to(uri: str, kept: str, again: str) -> Iterator[None]:
    """Turn any error of MLflow or its database into one line: what is kept, and how to log it later.

    Raises
    ------
    StorageError
        When MLflow fails. ConfigError when there is no such store.
    """
    try:
        yield
    except MassactError as error:
        raise type(error)(error.what, f"{error.remedy}; {kept}; log them later: {again}") from None
    except Exception as error:  # errors of MLflow, SQLAlchemy and servers have no common type
        raise StorageError(
            f"MLflow {uri} failed ({type(error).__name__}: {_reason(error)})", f"{kept}; log them later: {again}"
        ) from None


def _reason(error: Exception) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return first if len(first) <= _LONGEST_REASON else f"{first[:_LONGEST_REASON]}..."


def _trajectories(config: Config, own: bool) -> pd.DataFrame | None:
    """The trajectories of all models; None for a user's model without records."""
    try:
        records, _ = all_records(config)
    except MissingInputError:
        if not own:
            raise
        return None
    return aggregate(records, config.protocol.aggregation)
