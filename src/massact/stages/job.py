"""Run one composition and write its status. Jobs of a sweep never stop each other."""

from __future__ import annotations

import json
import logging
import os
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict

from massact.disk import write_text
from massact.errors import MassactError, UnforeseenError
from massact.extras import extras_named
from massact.pipeline import stage_named
from massact.settings import model_name, settings

log = logging.getLogger("massact")
STATUS_FILE, TRACEBACK_FILE = "status.json", "traceback.txt"
_LONGEST_REASON = 300
_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",  # only one way to download, whose failures are known
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "TOKENIZERS_PARALLELISM": "false",
}
_worst_exit_code = 0
_expected, _began = 0, 0


@dataclass(frozen=True)
class JobStatus:
    """The state and the result of a job.

    `exit_code` is 0, 2 or 3. Failures have what happened and the remedy. `state` is running, interrupted or ended.
    `began` is in nanoseconds since 1970.
    """

    stage: str
    model: str
    exit_code: int
    what: str = ""
    remedy: str = ""
    state: str = "ended"
    began: int = 0


def run_job(composed: DictConfig) -> int:
    """Run the stage of one composition in its Hydra output folder. Returns its exit code.

    An exception of the stage becomes the status of this job. A killed job leaves the status "running".
    """
    from hydra.core.hydra_config import HydraConfig

    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.raiseExceptions = False  # no traceback when the log cannot be written
    for client in ("httpx", "httpx2"):  # whichever huggingface_hub uses; otherwise it logs every request
        logging.getLogger(client).setLevel(logging.WARNING)
    output = Path(HydraConfig.get().runtime.output_dir)
    plain = composed.copy()
    with open_dict(plain):
        plain.pop("hydra", None)
    OmegaConf.resolve(plain)
    running = JobStatus(
        str(plain.stage),
        str(plain.model.name),
        3,
        "the job was killed before it ended",
        "run it again: finished work is kept",
        "running",
        time.time_ns(),
    )
    _write(running, output)
    try:
        status = _run(plain, output, running)
    except KeyboardInterrupt:
        _write(replace(running, state="interrupted", what="the job was interrupted"), output)
        raise
    _write(status, output)
    return status.exit_code


def _write(status: JobStatus, output: Path) -> None:
    try:
        write_text(output / STATUS_FILE, json.dumps(asdict(status)) + "\n")
    except MassactError as error:
        if status.state == "ended":  # still report the job's own failure
            reason = f"{status.what}; {status.remedy}" if status.exit_code else error
            log.error("massact: %s: %s", status.model, reason)
            _keep_worst(max(status.exit_code, error.exit_code))


def _run(plain: DictConfig, output: Path, running: JobStatus) -> JobStatus:
    stage, name = running.stage, running.model
    try:
        config = settings(plain)
        work = stage_named(stage)
        name = config.suite.name if work.of_suite else model_name(config.model)
        with extras_named():
            lines = work.run(config, output)
        for line in lines:
            log.info("%s", line)
    except MassactError as error:
        return JobStatus(stage, name, error.exit_code, error.what, error.remedy, began=running.began)
    except (Exception, SystemExit) as error:
        failure = unforeseen(error, output)
        return JobStatus(stage, name, failure.exit_code, failure.what, failure.remedy, began=running.began)
    return JobStatus(stage, name, 0, began=running.began)


def unforeseen(error: BaseException, folder: Path) -> UnforeseenError:
    """An unexpected exception as one line. Its traceback is written into the folder."""
    text = "".join(traceback.format_exception(error))
    first = " ".join(str(error).split())[:_LONGEST_REASON]
    what = f"{type(error).__name__}: {first}" if first else type(error).__name__
    path = folder / TRACEBACK_FILE
    try:
        write_text(path, text)
    except MassactError as refusal:
        return UnforeseenError(what, f"its traceback could not be written ({refusal.what})")
    return UnforeseenError(what, f"unexpected error: please report it with {path}")


def begin(jobs: int) -> None:
    """Announce the number of jobs of this process, so that jobs without a status are noticed."""
    global _expected, _began
    _expected, _began = jobs, time.time_ns()


def report_statuses(folders: list[Path]) -> None:
    """Log one line per model and distinct failure, and keep the worst exit code for `exit_code`.

    Statuses of earlier runs in the same folders do not count. Jobs without a status count as failed.
    """
    statuses = [status for folder in folders if (status := _status(folder)) is not None]
    failed = [status for status in statuses if status.exit_code]
    for line in dict.fromkeys(f"{s.model}: {s.what}; {s.remedy}" for s in failed):
        log.error("massact: %s", line)
    jobs = max(_expected, len(statuses))
    silent = jobs - len(statuses)
    if silent and jobs > 1:  # a single job has reported the disk error itself
        log.error("massact: %d of %d jobs left no status; run it again: finished work is kept", silent, jobs)
        _keep_worst(3)
    if jobs > 1:
        log.info("%d of %d jobs done", len(statuses) - len(failed), jobs)
    _keep_worst(max((status.exit_code for status in statuses), default=0))


def _status(folder: Path) -> JobStatus | None:
    """The status that this run wrote; None if it is of an earlier run, missing or unreadable."""
    with suppress(OSError, ValueError, TypeError):
        status = JobStatus(**json.loads((folder / STATUS_FILE).read_text(encoding="utf-8")))
        return status if status.began >= _began else None
    return None


def _keep_worst(code: int) -> None:
    global _worst_exit_code
    _worst_exit_code = max(_worst_exit_code, code)


def exit_code() -> int:
    """The exit code of the last run in this process: the worst of its jobs."""
    return _worst_exit_code
