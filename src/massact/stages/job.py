"""Run one composition and leave a status behind: jobs of a sweep never stop each other."""

from __future__ import annotations

import importlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict

from massact.disk import write_text
from massact.errors import MassactError, StorageError
from massact.settings import SUITE_STAGES, model_name, settings

log = logging.getLogger("massact")
STATUS_FILE = "status.json"
_QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",  # downloads go one way, whose failures are known
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "TOKENIZERS_PARALLELISM": "false",
}
_worst_exit_code = 0


@dataclass(frozen=True)
class JobStatus:
    """How a job ended: `exit_code` 0, 2 or 3; for failures what happened and the remedy."""

    stage: str
    model: str
    exit_code: int
    what: str = ""
    remedy: str = ""


def run_job(composed: DictConfig) -> int:
    """Run the stage of one composition inside its Hydra output folder; returns its exit code."""
    from hydra.core.hydra_config import HydraConfig

    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # else a line a request
    output = Path(HydraConfig.get().runtime.output_dir)
    status = _run(composed, output)
    try:
        write_text(output / STATUS_FILE, json.dumps(asdict(status)) + "\n")
    except StorageError as error:  # the job's own failure is told all the same
        log.error("massact: %s: %s", status.model, f"{status.what}; {status.remedy}" if status.exit_code else error)
        _remember(max(status.exit_code, error.exit_code))
    return status.exit_code


def _run(composed: DictConfig, output: Path) -> JobStatus:
    plain = composed.copy()
    with open_dict(plain):
        plain.pop("hydra", None)
    OmegaConf.resolve(plain)
    stage, name = str(plain.stage), str(plain.model.name)
    try:
        config = settings(plain)
        name = config.suite.name if stage in SUITE_STAGES else model_name(config.model)
        for line in importlib.import_module(f"massact.stages.{stage}").run(config, output):
            log.info("%s", line)
    except MassactError as error:
        return JobStatus(stage, name, error.exit_code, error.what, error.remedy)
    return JobStatus(stage, name, 0)


def report_statuses(folders: list[Path]) -> None:
    """Log one line per model and distinct failure, and remember the worst exit code for `exit_code`."""
    global _worst_exit_code
    statuses = [JobStatus(**json.loads(f.read_text())) for d in folders if (f := d / STATUS_FILE).is_file()]
    failed = [status for status in statuses if status.exit_code]
    for line in dict.fromkeys(f"{s.model}: {s.what}; {s.remedy}" for s in failed):
        log.error("massact: %s", line)
    if len(statuses) > 1:
        log.info("%d of %d jobs done", len(statuses) - len(failed), len(statuses))
    _worst_exit_code = max([_worst_exit_code, *(status.exit_code for status in statuses)])


def _remember(code: int) -> None:
    global _worst_exit_code
    _worst_exit_code = max(_worst_exit_code, code)


def exit_code() -> int:
    """Exit code of the run just made in this process: the worst of its jobs."""
    return _worst_exit_code
