"""Log live measurements as metrics of an MLflow run, one run per training."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from massact.errors import ConfigError
from massact.extract.quantity import RATIO_OF_MEANS
from massact.extract.statistic import Statistic
from massact.mlflow_store import (
    KEY,
    experiment_id,
    key_of,
    open_client,
    patience,
    source_tags,
    turn,
    valid_params,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from massact.extract.probe import Probe
    from massact.extract.protocol import Measurement
    from massact.train.subject import Subject

log = logging.getLogger("massact")
# MLflow's limits on metrics and parameters in one request.
_AT_ONCE, _PARAMS_AT_ONCE = 1000, 100
# The longest wait of a training for another process that writes to the same store, or for a server. After a failure
# there is a pause before the next attempt, which grows with each failure.
_WAIT_S = 10.0
_PAUSE_S, _LONGEST_PAUSE_S = 30.0, 3600.0
_LATER = "log it later with LiveMeasurement(...).tell(MlflowLogger(...))"


class MlflowLogger:
    """Logs `ratio/layer00`, `top1/layer00`, `median/layer00` and so on at each measured step.

    Pass it to a `LiveMeasurement` among its `loggers`, or call it directly: `logger(step, measurement)`. One training
    (subject and probe) is one run. A resumed training continues its run, and steps in the run are not logged again. If
    a step has other numbers than in the run, it belongs to another training of the same name: that gets a new run, and
    the old run is kept without its key. The store is opened at the first logged step.

    Parameters
    ----------
    subject, probe
        Those of the `LiveMeasurement`.
    tracking_uri, experiment
        The store, e.g. `sqlite:///mlflow.db`, and the name of the experiment.
    every_s
        Seconds between writes. Measurements in between are written together, and `close` writes the rest. After a
        kill, the `LiveMeasurement` logs them again.

    Raises
    ------
    ConfigError
        At the first step: when MLflow knows no such kind of store. Any other failure of a store does not end the
        training: it is logged once as a warning, and the write is repeated at growing intervals and at the end. Later,
        `LiveMeasurement.tell(MlflowLogger(...))` logs what is missing.
    """

    def __init__(
        self, subject: Subject, probe: Probe, *, tracking_uri: str, experiment: str = "massact", every_s: float = 5.0
    ) -> None:
        self.subject, self.probe = subject, probe
        self.tracking_uri, self.experiment, self.every_s = tracking_uri, experiment, every_s
        self._client: MlflowClient | None = None
        self._run_id = ""
        self._told: dict[int, dict[str, float]] = {}  # by this process
        self._recorded: dict[int, dict[str, float]] = {}  # in the run
        self._written = -float("inf")
        self._pause_s = 0.0
        self._warned = False

    def __call__(self, step: int, measurement: Measurement) -> None:
        """Log one step, now or with the next ones."""
        metrics = step_metrics(measurement)
        if _contradict(self._told.get(step, metrics), metrics):  # restarted: later steps belong to the earlier training
            self._told = {earlier: values for earlier, values in self._told.items() if earlier < step}
        self._told[step] = metrics
        if time.monotonic() - self._written >= max(self.every_s, self._pause_s):
            self.flush()

    def flush(self) -> None:
        """Write the measurements that are not yet in the store."""
        with self._turn():
            self._write(self._client or self._open())
        self._written = time.monotonic()

    def close(self, status: str = "FINISHED") -> None:
        """Write the rest and end the run. A later step reopens it."""
        if not self._told:
            return
        failed = self._warned
        with self._turn():
            client = self._client or self._open()
            self._write(client)
            client.set_terminated(self._run_id, status)
            failed = False
        if failed:
            log.warning("%s: the log is incomplete; %s", self.tracking_uri, _LATER)
        self._client, self._written = None, -float("inf")

    def __enter__(self) -> MlflowLogger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close("FINISHED" if kind is None else "FAILED")

    @property
    def key(self) -> str:
        """Hash of the subject and the probe: the run's tag `massact.key`."""
        return key_of({"kind": "live", "subject": asdict(self.subject), "tokens_sha256": self.probe.sha256})

    @contextmanager
    def _turn(self) -> Generator[None, None, None]:
        """Hold the store's lock. Any failure except an unknown kind of store becomes a warning."""
        try:
            with patience(self.tracking_uri), turn(self.tracking_uri, wait_s=_WAIT_S):
                yield
        except ConfigError:  # no such store
            raise
        except Exception as error:  # whatever a server, a database or a driver raises
            self._pause_s = min(max(2 * self._pause_s, _PAUSE_S), _LONGEST_PAUSE_S) if self._warned else self.every_s
            if not self._warned:
                self._warned = True
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                log.warning(
                    "%s: %s; it is tried again, and the journal keeps all steps; %s",
                    self.tracking_uri,
                    reason,
                    _LATER,
                )
        else:
            self._pause_s, self._warned = 0.0, False

    def _open(self) -> MlflowClient:
        client = open_client(self.tracking_uri)
        home = experiment_id(client, self.experiment, self.tracking_uri)
        runs = client.search_runs([home], filter_string=f"tags.`{KEY}` = '{self.key}'", max_results=1)
        if runs:
            self._run_id = runs[0].info.run_id
            client.update_run(self._run_id, status="RUNNING")
            self._recorded = _recorded(client, self._run_id, list(runs[0].data.metrics))
        else:
            self._run_id, self._recorded = self._new_run(client, home), {}
        self._client = client
        return client

    def _new_run(self, client: MlflowClient, home: str) -> str:
        from mlflow.entities import Param

        s = self.subject
        tags = {KEY: self.key, **source_tags()}
        run_id = client.create_run(home, run_name=f"{s.model} {s.recipe} seed {s.seed}", tags=tags).info.run_id
        axes = {"family": s.family, "recipe": s.recipe, "model": s.model, "seed": s.seed}
        probe = {
            "probe_text": self.probe.text,
            "probe_length": self.probe.length,
            "first_token": self.probe.first_token,
        }
        tokens = {} if s.tokens_per_step is None else {"tokens_per_step": s.tokens_per_step}
        values = {**axes, **s.architecture, **tokens, **probe}
        params = [Param(name, value) for name, value in valid_params(values).items()]
        for first in range(0, len(params), _PARAMS_AT_ONCE):
            client.log_batch(run_id, params=params[first : first + _PARAMS_AT_ONCE])
        return run_id

    def _write(self, client: MlflowClient) -> None:
        from mlflow.entities import Metric

        if any(_contradict(self._recorded.get(step, {}), metrics) for step, metrics in self._told.items()):
            home = client.get_run(self._run_id).info.experiment_id
            client.delete_tag(self._run_id, KEY)
            client.set_terminated(self._run_id)
            self._run_id, self._recorded = self._new_run(client, home), {}
        now = time.time_ns() // 1_000_000
        metrics = [
            Metric(name, value, now, step)
            for step, values in self._told.items()
            for name, value in values.items()
            if name not in self._recorded.get(step, {})
        ]
        for first in range(0, len(metrics), _AT_ONCE):
            client.log_batch(self._run_id, metrics=metrics[first : first + _AT_ONCE])
        self._recorded |= {step: self._recorded.get(step, {}) | values for step, values in self._told.items()}


def step_metrics(measurement: Measurement) -> dict[str, float]:
    """Each statistic's quantities over sequences by layer, or by layer and head; a ratio is that of the means.

    What is not finite is left out.
    """
    metrics: dict[str, float] = {}
    for reduced in measurement.reduced.values():
        statistic = reduced.kind
        if not isinstance(statistic, Statistic):
            continue
        columns = {name: rows.astype(np.float64) for name, rows in statistic.rows(reduced.arrays).items()}
        rows = zip(*statistic.places(reduced.arrays).values(), strict=True)
        places = ["/".join(f"{axis}{at:02d}" for axis, at in zip(statistic.row_axes, row, strict=True)) for row in rows]
        for name, quantity in statistic.quantities.items():
            with np.errstate(divide="ignore", invalid="ignore"):
                values = quantity.over_sequences(columns, RATIO_OF_MEANS).value
            metrics |= {f"{name}/{p}": float(v) for p, v in zip(places, values, strict=True) if np.isfinite(v)}
    return metrics


def _contradict(recorded: dict[str, float], told: dict[str, float]) -> bool:
    """Whether one has other numbers than the other; one of them may have more statistics."""
    return not (recorded.items() <= told.items() or told.items() <= recorded.items())


def _recorded(client: MlflowClient, run_id: str, names: list[str]) -> dict[int, dict[str, float]]:
    """Step -> name -> value, as recorded in the run."""
    steps: dict[int, dict[str, float]] = {}
    for name in names:
        for metric in client.get_metric_history(run_id, name):
            steps.setdefault(metric.step, {})[name] = metric.value
    return steps
