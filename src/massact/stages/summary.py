"""A Hydra callback that reports all failures at the end of a run or a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from massact.stages.job import report_statuses


class Summary(Callback):
    """Read the jobs' status files."""

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        """After a single job."""
        report_statuses([Path(config.hydra.runtime.output_dir)])

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """After a sweep."""
        sweep = Path(config.hydra.sweep.dir)
        report_statuses(sorted(folder for folder in sweep.iterdir() if folder.is_dir()) if sweep.is_dir() else [])
