"""Sweeps over a family of tiny checkpoints in separate processes, with a diary of reads and writes."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np

from massact.checkpoints import FolderSource
from massact.extract.options import SweepOptions
from massact.extract.probe import Probe
from massact.extract.records import records_frame
from massact.extract.store import RecordStore
from massact.extract.sweep import measure_checkpoints
from massact.tables import write_table
from massact.trajectories import RECORDS
from tests.models import tiny_model

PROBE = Probe(np.random.default_rng(0).integers(0, 300, (3, 9)), "random", -1)
QUIET = SweepOptions(progress=False)

# Children are forked from a process that has imported everything: fifty of them take seconds.
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["tests.extract.imported", "tests.extract.sweeping"])


def write_family(root: Path, steps: int) -> Path:
    for step in range(steps):
        tiny_model(seed=step).save_pretrained(root / f"step{step}")
    return root


def note(diary: Path, line: str) -> None:
    descriptor = os.open(diary, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


class DiarySource(FolderSource):
    """A folder that notes each checkpoint that is read to be measured."""

    def __init__(self, root: Path, diary: Path) -> None:
        super().__init__(root)
        self.diary = diary

    def resolve(self, step: int):
        note(self.diary, f"read {step}")
        return super().resolve(step)


class DiaryStore(RecordStore):
    """A store that notes each record that is written."""

    def __init__(self, folder: Path, diary: Path) -> None:
        super().__init__(folder)
        self.diary = diary

    def write(self, key, outcome, **options) -> None:
        super().write(key, outcome, **options)
        note(self.diary, f"wrote {key}")


def sweep(family: Path, store: Path, diary: Path):
    source = DiarySource(family, diary)
    return measure_checkpoints(
        source,
        source.steps(),
        lambda folder: PROBE,
        DiaryStore(store, diary),
        dtype="float32",
        device="cpu",
        label="tiny",
        options=QUIET,
    )


def signalled(family: Path, store: Path, diary: Path, started) -> None:
    """A sweep that says when it begins."""
    import massact.checkpoints.bridge
    import massact.extract.hooks  # noqa: F401

    started.set()
    sweep(family, store, diary)


def table_bytes(result, path: Path) -> bytes:
    frame = records_frame(result.measured, PROBE, family="f", recipe="r", model="m", seed=0, tokens_per_step=1)
    write_table(frame, path, RECORDS)
    return path.read_bytes()


def lines(diary: Path, kind: str) -> list[str]:
    if not diary.is_file():
        return []
    return [line.split()[1] for line in diary.read_text().splitlines() if line.startswith(kind)]
