"""Run a stage in this process and collect its output and status, without the import time of a new process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from massact.errors import MassactError
from massact.pipeline import stage_named
from massact.preflight import preflight

CONF = Path(__file__).parents[2] / "conf"


@dataclass(frozen=True)
class StageResult:
    """The exit status and the one line of an error; `output` has all lines, log lines included."""

    exit_code: int
    error: str
    output: str


@pytest.fixture
def stage(online, monkeypatch, caplog, tmp_path) -> Callable[..., StageResult]:
    """`stage(endpoint, *words)` as `python run.py`, with a Hugging Face cache below `tmp_path`."""
    import huggingface_hub.constants as constants

    def run(endpoint: str, *words: str, offline: str = "0") -> StageResult:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        monkeypatch.setenv("HF_HUB_OFFLINE", offline)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline == "1")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf/hub"))
        caplog.clear()
        lines, error, code = [], "", 0
        with caplog.at_level("INFO", logger="massact"):
            try:
                config = preflight(words, CONF, multirun=False)[0]
                lines = stage_named(config.stage).run(config, tmp_path / "job")
            except MassactError as raised:
                error, code = str(raised), raised.exit_code
        assert "\n" not in error
        return StageResult(code, error, "\n".join([*caplog.messages, *lines, error]))

    return run
