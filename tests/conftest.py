"""Settings of all tests: no network, no telemetry, one thread."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    DO_NOT_TRACK="1",
    MLFLOW_DISABLE_TELEMETRY="true",
    TOKENIZERS_PARALLELISM="false",
    OMP_NUM_THREADS="1",
)


# Of two workers, one would wait for the other if the files that take minutes came last.
LONGEST = ("tests/test_dvc.py", "tests/stages/", "tests/train/", "tests/report/", "tests/extract/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; within a file and among the others the order stays."""

    def place(item: pytest.Item) -> int:
        return next((at for at, name in enumerate(LONGEST) if item.nodeid.startswith(name)), len(LONGEST))

    items.sort(key=place)


# How long an example takes is the machine's, and other work's on it.
settings.register_profile("massact", deadline=None)
settings.load_profile("massact")


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Mapping[str, Path]:
    """Tiny checkpoints step0 = step1, step2, step4; never written to."""
    from tests.hub import write_checkpoint
    from tests.models import tiny

    root = tmp_path_factory.mktemp("weights")
    seeds = {"step0": 0, "step1": 0, "step2": 1, "step4": 2}
    return {name: write_checkpoint(root / name, tiny(), seed) for name, seed in seeds.items()}


@pytest.fixture(scope="session")
def pythia(tmp_path_factory) -> Path:
    """A checkpoint of pythia-14m's true shapes; never written to."""
    from tests.hub import PYTHIA_14M, write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("pythia-14m") / "step1000", PYTHIA_14M, 3)


@pytest.fixture
def online(monkeypatch) -> Iterator[None]:
    """Let huggingface_hub speak to the loopback server, quickly, and forget who answered."""
    import huggingface_hub.constants as constants

    from massact.checkpoints import hub_errors, hub_fetch, reach

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_errors, "RETRY_WAITS_S", (0.01, 0.01))
    monkeypatch.setattr(hub_fetch, "REFETCH_WAITS_S", (0.01, 0.01))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    reach._answered.clear()
    yield
    reach._answered.clear()
