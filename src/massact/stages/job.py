"""Run one composition and leave a status behind: jobs of a sweep never stop each other."""

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
from massact.pipeline import stage_named
from massact.settings import model_name, settings

log = logging.getLogger("massact")
STATUS_FILE, TRACEBACK_FILE = "status.json", "traceback.txt"
_LONGEST_REASON = 300
_QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",  # downloads go one way, whose failures are known
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "TOKENIZERS_PARALLELISM": "false",
}
_worst_exit_code = 0
_expected, _began = 0, 0


@dataclass(frozen=True)
class JobStatus:
    """How a job ended: `exit_code` 0, 2 or 3; for failures what happened and the remedy.

    `state` is running, interrupted or ended; `began` in nanoseconds since 1970.
    """

    stage: str
    model: str
    exit_code: int
    what: str = ""
    remedy: str = ""
    state: str = "ended"
    began: int = 0


def run_job(composed: DictConfig) -> int:
    """Run the stage of one composition inside its Hydra output folder; returns its exit code.

    Whatever a stage raises is the status of this job alone. A job that is killed leaves "running".
    """
    from hydra.core.hydra_config import HydraConfig

    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    logging.raiseExceptions = False  # a log that cannot be written is no reason for a traceback
    for client in ("httpx", "httpx2"):  # whichever huggingface_hub uses; else a line a request
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
        if status.state == "ended":  # the job's own failure is told all the same
            told = f"{status.what}; {status.remedy}" if status.exit_code else error
            log.error("massact: %s: %s", status.model, told)
            _remember(max(status.exit_code, error.exit_code))


def _run(plain: DictConfig, output: Path, running: JobStatus) -> JobStatus:
    stage, name = running.stage, running.model
    try:
        config = settings(plain)
        work = stage_named(stage)
        name = config.suite.name if work.of_suite else model_name(config.model)
        for line in work.run(config, output):
            log.info("%s", line)
    except MassactError as error:
        return JobStatus(stage, name, error.exit_code, error.what, error.remedy, began=running.began)
    except (Exception, SystemExit) as error:
        found = unforeseen(error, output)
        return JobStatus(stage, name, found.exit_code, found.what, found.remedy, began=running.began)
    return JobStatus(stage, name, 0, began=running.began)


def unforeseen(error: BaseException, folder: Path) -> UnforeseenError:
    """One line for an exception that nothing expects; its traceback is written into the folder."""
    text = "".join(traceback.format_exception(error))
    first = " ".join(str(error).split())[:_LONGEST_REASON]
    what = f"{type(error).__name__}: {first}" if first else type(error).__name__
    path = folder / TRACEBACK_FILE
    try:
        write_text(path, text)
    except MassactError as refusal:
        return UnforeseenError(what, f"its traceback could not be written ({refusal.what})")
    return UnforeseenError(what, f"nobody foresaw this, please report it with {path}")


def begin(jobs: int) -> None:
    """Say that this process is about to run so many jobs: those that leave no status are then missed."""
    global _expected, _began
    _expected, _began = jobs, time.time_ns()


def report_statuses(folders: list[Path]) -> None:
    """Log one line per model and distinct failure, and remember the worst exit code for `exit_code`.

    Statuses that earlier runs left in the same folders do not count; jobs that left none do.
    """
    statuses = [status for folder in folders if (status := _status(folder)) is not None]
    failed = [status for status in statuses if status.exit_code]
    for line in dict.fromkeys(f"{s.model}: {s.what}; {s.remedy}" for s in failed):
        log.error("massact: %s", line)
    jobs = max(_expected, len(statuses))
    silent = jobs - len(statuses)
    if silent and jobs > 1:  # a single job has said itself that the disk refuses
        log.error("massact: %d of %d jobs left no status; run it again: finished work is kept", silent, jobs)
        _remember(3)
    if jobs > 1:
        log.info("%d of %d jobs done", len(statuses) - len(failed), jobs)
    _remember(max((status.exit_code for status in statuses), default=0))


def _status(folder: Path) -> JobStatus | None:
    """The status that this run left; None for that of an earlier run, and where there is none that can be read."""
    with suppress(OSError, ValueError, TypeError):
        status = JobStatus(**json.loads((folder / STATUS_FILE).read_text(encoding="utf-8")))
        return status if status.began >= _began else None
    return None


def _remember(code: int) -> None:
    global _worst_exit_code
    _worst_exit_code = max(_worst_exit_code, code)


def exit_code() -> int:
    """Exit code of the run just made in this process: the worst of its jobs."""
    return _worst_exit_code
