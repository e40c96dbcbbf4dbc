"""One module per pipeline stage: read the configuration, call a room, write its table."""

from massact.stages.job import begin, exit_code, run_job, unforeseen

__all__ = ["begin", "exit_code", "run_job", "unforeseen"]
