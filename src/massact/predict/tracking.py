"""MLflow as a projection of the tables: runs are keyed by what they describe, so a repeat updates, never duplicates."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from massact.mlflow_store import KEY, experiment_id, key_of, open_client, turn

if TYPE_CHECKING:
    from mlflow import MlflowClient

CONTENT = "massact.content"


@dataclass(frozen=True)
class Run:
    """What one MLflow run says. `identity` names it; the rest is its content."""

    identity: Mapping[str, str]
    metrics: Mapping[str, float]
    parameters: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Hash of the identity."""
        return key_of(dict(self.identity))

    @property
    def content(self) -> str:
        """Hash of everything it says."""
        return key_of([dict(self.identity), dict(self.metrics), dict(self.parameters), dict(self.files)])


def log_scores(scores: pd.DataFrame, predictions: pd.DataFrame, *, tracking_uri: str, experiment: str) -> int:
    """One run per (recipe, form, quantity, target, regressor, split); returns how many the store now has of them."""
    names = ["recipe", "form", "quantity", "target", "regressor", "split"]
    tables = dict(iter(predictions.groupby(names, sort=False)))
    columns = ["model", "seed", "layer", "actual", "predicted"]
    runs = []
    for row in scores.to_dict("records"):
        identity = {"kind": "score", **{name: str(row[name]) for name in names}}
        rows = tables.get(tuple(row[name] for name in names))
        files = {} if rows is None else {"predictions.csv": rows[columns].to_csv(index=False, float_format="%.8g")}
        measured = {name: float(row[name]) for name in ("r2", "r2_transformed", "mae")}
        counts = {name: float(row[name]) for name in ("n_train", "n_test", "n_architectures")}
        runs.append(Run(identity, {**measured, **counts}, files=files))
    return log_runs(runs, tracking_uri=tracking_uri, experiment=experiment)


def log_fits(fits: pd.DataFrame, *, form: str, tracking_uri: str, experiment: str) -> int:
    """One run per (family, recipe, model, seed) of a fits table: median R2 per quantity, the table as its file."""
    runs = []
    table: Any = fits  # pandas' stubs know no column types
    for (family, recipe, model, seed), rows in table.groupby(["family", "recipe", "model", "seed"], sort=False):
        identity = {"kind": "fit", "family": family, "recipe": recipe, "model": model, "seed": str(seed), "form": form}
        quantities = rows.groupby("quantity")
        metrics = {f"r2_{name}": float(group["r2"].median()) for name, group in quantities}
        metrics |= {f"end_{name}_largest": float(group["f_end"].max()) for name, group in quantities}
        first = rows.iloc[0]
        shape = {name: str(first[name]) for name in ("n_layers", "d_model", "n_heads", "d_mlp", "n_points")}
        text = rows.to_csv(index=False, float_format="%.8g")
        runs.append(Run(identity, metrics, shape, {f"{form}.csv": text}))
    return log_runs(runs, tracking_uri=tracking_uri, experiment=experiment)


def log_runs(runs: Iterable[Run], *, tracking_uri: str, experiment: str) -> int:
    """Make, update or leave each run; returns how many runs were asked for.

    Processes take turns: the store is made once, and SQLite is written by one at a time.
    """
    with turn(tracking_uri):
        client = open_client(tracking_uri)
        home = experiment_id(client, experiment, tracking_uri)
        known = _known(client, home)
        count = 0
        for run in runs:
            _project(client, home, run, known.get(run.key))
            count += 1
    return count


def _project(client: MlflowClient, home: str, run: Run, known: tuple[str, str] | None) -> None:
    from mlflow.entities import Metric, Param, RunTag

    if known is not None and known[1] == run.content:
        return
    if known is None:
        name = " ".join(value for key, value in run.identity.items() if key != "kind")
        run_id = client.create_run(home, run_name=name, tags={KEY: run.key}).info.run_id
        said = {**run.identity, **run.parameters}
        client.log_batch(run_id, params=[Param(key, value) for key, value in said.items()])
    else:
        run_id = known[0]
    now = time.time_ns() // 1_000_000
    metrics = [Metric(key, value, now, 0) for key, value in run.metrics.items() if np.isfinite(value)]
    for name, text in run.files.items():
        client.log_text(run_id, text, name)
    # The content tag last: a run cut short is written again.
    client.log_batch(run_id, metrics=metrics, tags=[RunTag(CONTENT, run.content)])
    client.set_terminated(run_id)


def _known(client: MlflowClient, home: str) -> dict[str, tuple[str, str]]:
    """Key -> (run id, content hash) of all runs of the experiment."""
    known: dict[str, tuple[str, str]] = {}
    token = None
    while True:
        page = client.search_runs([home], max_results=5000, page_token=token)
        for run in page:
            if KEY in run.data.tags:
                known[run.data.tags[KEY]] = (run.info.run_id, run.data.tags.get(CONTENT, ""))
        token = page.token
        if not token:
            return known
