"""Project tables to MLflow runs, keyed by their content: a repeat updates runs and never duplicates them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from massact import __version__
from massact.mlflow_store import KEY, key_of, opened, source_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.entities import Run as Stored

CONTENT = "massact.content"
# Jobs of a sweep wait for each other, but no longer than this for a process that hangs.
WAIT_S = 120.0
_PARENT, _NAME = "mlflow.parentRunId", "mlflow.runName"
# MLflow's limit on metrics in one request.
_AT_ONCE = 1000
# Part of every content hash, so that runs with an earlier layout are written again.
_LAYOUT = 2


@dataclass(frozen=True)
class Run:
    """The content of one MLflow run. `identity` is its key, `name` is displayed; the rest is its content.

    Parameters
    ----------
    steps
        Metric -> training step -> value.
    files
        Name -> text.
    figures
        Writes figures into a folder. Called when the run is written; `drawn` identifies the figures.
    drawn
        Hash of the data in the figures.
    parent
        Identity of the parent run, which is logged before this one.
    """

    identity: Mapping[str, str]
    name: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    steps: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    figures: Callable[[Path], object] | None = None
    drawn: str = ""
    parent: Mapping[str, str] | None = None

    @property
    def key(self) -> str:
        """Hash of the identity."""
        return key_of(dict(self.identity))

    @property
    def content(self) -> str:
        """Hash of the whole content."""
        steps = {name: {str(step): value for step, value in series.items()} for name, series in self.steps.items()}
        parts = [self.identity, self.metrics, self.parameters, self.files]
        return key_of([_LAYOUT, self.name, *map(dict, parts), steps, self.drawn, dict(self.parent or {})])


def log_runs(runs: Iterable[Run], *, tracking_uri: str, experiment: str, wait_s: float = WAIT_S) -> int:
    """Create, update or skip each run. Returns the number of nested runs in `runs`.

    Processes take turns: one creates the store, and one at a time writes to SQLite.

    Raises
    ------
    MassactError
        As in `massact.mlflow_store.opened`.
    """
    with opened(tracking_uri, experiment, wait_s=wait_s) as (client, home):
        store = _Store(client, home)
        count = 0
        for run in runs:
            store.project(run)
            count += run.parent is not None
    return count


class _Store:
    """An experiment that is open for writing."""

    def __init__(self, client: MlflowClient, home: str) -> None:
        self.client, self.home = client, home
        self.known = _known(client, home)
        self.ids = {key: run.info.run_id for key, run in self.known.items()}
        self.source = {**source_tags(), "massact.version": __version__}
        self.began = time.time_ns() // 1_000_000

    def project(self, run: Run) -> None:
        """Create, update or skip one run."""
        tags = dict(self.source)
        if run.parent is not None:
            tags[_PARENT] = self.ids[key_of(dict(run.parent))]
        known = self.known.get(run.key)
        if known is not None and _is_written(known, run, tags):
            return
        missing = run.steps
        if known is not None and run.steps:
            missing = _missing(self.client, known, run.steps)
            if missing is None:  # other values at the same steps need a new run: metrics cannot be deleted
                self.client.delete_tag(known.info.run_id, KEY)
                known, missing = None, run.steps
        run_id = self._new(run, tags) if known is None else known.info.run_id
        self.ids[run.key] = run_id
        self._write(run, run_id, missing, {} if known is None else known.data.params, {**tags, _NAME: run.name})

    def _new(self, run: Run, tags: dict[str, str]) -> str:
        # MLflow lists the latest start first, so parents come above their nested runs.
        start = self.began - (run.parent is not None)
        created = self.client.create_run(self.home, start_time=start, run_name=run.name, tags={KEY: run.key, **tags})
        return created.info.run_id

    def _write(
        self,
        run: Run,
        run_id: str,
        steps: Mapping[str, Mapping[int, float]],
        known: Mapping[str, str],
        tags: Mapping[str, str],
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        self._files(run, run_id)
        now = time.time_ns() // 1_000_000
        metrics = [Metric(name, value, now, 0) for name, value in run.metrics.items() if np.isfinite(value)]
        metrics += [Metric(name, value, now, step) for name, series in steps.items() for step, value in series.items()]
        parts = _parts(metrics)
        for part in parts[:-1]:
            self.client.log_batch(run_id, metrics=part)
        parameters = {**run.identity, **run.parameters}
        params = [Param(name, value) for name, value in parameters.items() if name not in known]
        # The content hash comes last, so that an interrupted run is written again.
        last = [RunTag(name, value) for name, value in {**tags, CONTENT: run.content}.items()]
        self.client.log_batch(run_id, metrics=parts[-1], params=params, tags=last)
        self.client.set_terminated(run_id)

    def _files(self, run: Run, run_id: str) -> None:
        if not run.files and run.figures is None:
            return
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for file, text in run.files.items():
                (folder / file).write_text(text, encoding="utf-8")
            if run.figures is not None:
                run.figures(folder / "figures")
            self.client.log_artifacts(run_id, str(folder))


def _is_written(known: Stored, run: Run, tags: Mapping[str, str]) -> bool:
    has = known.data.tags
    whole = has.get(CONTENT) == run.content and known.info.status == "FINISHED"
    return whole and has.get(_PARENT) == tags.get(_PARENT)


def _missing(
    client: MlflowClient, known: Stored, steps: Mapping[str, Mapping[int, float]]
) -> dict[str, dict[int, float]] | None:
    """The steps that are missing in a run; None if it has another value at one of the steps."""
    missing: dict[str, dict[int, float]] = {}
    for name, series in steps.items():
        recorded = client.get_metric_history(known.info.run_id, name) if name in known.data.metrics else []
        has = {metric.step: metric.value for metric in recorded}
        if any(has.get(step, value) != value for step, value in series.items()):
            return None
        missing[name] = {step: value for step, value in series.items() if step not in has}
    return missing


def _parts(metrics: list[Metric]) -> list[list[Metric]]:
    return [metrics[first : first + _AT_ONCE] for first in range(0, len(metrics), _AT_ONCE)] or [[]]


def _known(client: MlflowClient, home: str) -> dict[str, Stored]:
    """Key -> run, for all runs of the experiment."""
    known: dict[str, Any] = {}
    token = None
    while True:
        page = client.search_runs([home], max_results=5000, page_token=token)
        for run in page:
            if KEY in run.data.tags:
                known[run.data.tags[KEY]] = run
        token = page.token
        if not token:
            return known
