"""Sweeps over a loopback hub in separate processes, which are killed or share one cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from massact.checkpoints import HubSource
from massact.extract.options import SweepOptions
from massact.extract.sweep import measure_checkpoints
from tests.extract.sweeping import PROBE, DiaryStore, note, table_bytes
from tests.hub import REPOSITORY, commit_of, write_checkpoint
from tests.models import tiny

QUIET = SweepOptions(progress=False)


def write_revisions(root: Path, steps: int) -> dict[str, Path]:
    """Tiny checkpoints by revision; step0 = step1."""
    folders = [write_checkpoint(root / f"seed{seed}", tiny(), seed) for seed in range(1, steps)]
    return {f"step{step}": folders[max(step - 1, 0)] for step in range(steps)}


class DiaryHub(HubSource):
    """A hub that notes each checkpoint that is fetched."""

    def __init__(self, url: str, folder: Path, steps: list[int]) -> None:
        super().__init__(
            REPOSITORY, steps=steps, offline=False, endpoint=url, cache=folder / "hf", ledger=folder / "ledger.json"
        )
        self.diary = folder / "diary"

    def resolve(self, step: int):
        note(self.diary, f"fetch {step}")
        return super().resolve(step)


def sweep(url: str, folder: Path, steps: list[int], options: SweepOptions = QUIET):
    """A sweep whose cache, records and diary are in `folder`."""
    source = DiaryHub(url, folder, steps)
    return measure_checkpoints(
        source,
        steps,
        lambda small: PROBE,
        DiaryStore(folder / "records", folder / "diary"),
        dtype="float32",
        device="cpu",
        label="tiny",
        options=options,
    )[0]


def in_child(url: str, folder: Path, steps: list[int], table: Path | None, started) -> None:
    """A sweep in a process that has imported everything, with a network and no patience; its table at the end."""
    import huggingface_hub.constants as constants

    from massact.checkpoints import hub_errors, hub_fetch

    constants.HF_HUB_OFFLINE = False
    constants.DOWNLOAD_CHUNK_SIZE = 1024  # so that what has come is in the file
    hub_errors.RETRY_WAITS_S = (0.01, 0.01)
    hub_fetch.REFETCH_WAITS_S = (0.01, 0.05, 0.2)
    started.set()
    result = sweep(url, folder, steps)
    if result.failed:
        raise AssertionError(result.failed)
    if table is not None:
        table_bytes(result, table)


def partial_downloads(folder: Path) -> list[Path]:
    return list((folder / "hf").rglob("*.incomplete"))


def cached_weights(folder: Path) -> tuple[set[str], int]:
    """Commits with weights in their snapshots, and how many large contents there are."""
    commits = {path.parent.name for path in (folder / "hf").rglob("snapshots/*/model.safetensors")}
    blobs = [p for p in (folder / "hf").rglob("blobs/*") if p.is_file() and len(p.name) == 64]
    return commits, len(blobs)


def commits(steps) -> set[str]:
    return {commit_of(REPOSITORY, f"step{step}") for step in steps}


def revisions_of(folders: Mapping[str, Path]) -> dict[str, Mapping[str, Path]]:
    return {REPOSITORY: folders}
