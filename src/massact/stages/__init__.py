"""One module per pipeline stage: read the configuration, call a room, write its table."""

from massact.stages.job import exit_code, run_job

__all__ = ["exit_code", "run_job"]
