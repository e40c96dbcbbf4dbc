"""A designed suite: many small models of one recipe, measured while they train; each one has a row, failed or not."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact import claims
from massact.disk import write_text
from massact.errors import DivergedError, MassactError, StorageError, TrainError
from massact.extract.probe import Probe
from massact.extract.store import RecordStore
from massact.host import out_of_memory
from massact.outputs import replaceable
from massact.recipe import Recipe, checkpoint_steps
from massact.tables import read_metadata, read_table
from massact.train.live import LiveMeasurement
from massact.train.loop import train
from massact.train.machine import machine
from massact.train.members import GRID, Member
from massact.train.state import forget_state
from massact.train.subject import Subject
from massact.trajectories import RECORDS

if TYPE_CHECKING:
    import pandas as pd

    from massact.train.data import TrainingText

DONE, DIVERGED, FAILED = "done", "diverged", "failed"
_STATUS_FILE, _TABLE_FILE = "member.json", "trajectory.parquet"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a training: status `done`, `diverged` or `failed`, and where it stopped.

    Attributes
    ----------
    step
        Optimiser steps taken.
    loss, validation_loss
        Nats per token at the end; NaN if the training did not reach it.
    seconds, measuring_seconds
        Of training and measuring together, summed over all its processes; of measuring, in the last process only.
    what
        Why it stopped; empty if done.
    machine
        Processor, threads and versions. Trainings with the same values are bit-identical.
    """

    status: str
    step: int
    loss: float
    validation_loss: float
    seconds: float
    measuring_seconds: float
    what: str
    machine: dict[str, Any]


class Suite:
    """Trains members into a folder, each by one process at a time. Finished members are kept.

    Parameters
    ----------
    members, recipe
        The trainings and their recipe.
    folder
        Work in progress and finished trajectories, one folder per member. Do not delete it while the suite grows.
    published
        The suite's table, if it exists: its members are finished.
    text, probe
        The training text, and the sequences for measuring.
    measured
        Number of measured steps per training.
    threads
        CPU threads of a training. Bit-identical repeats need the same number.
    """

    def __init__(
        self,
        members: Sequence[Member],
        recipe: Recipe,
        folder: Path,
        *,
        published: Path,
        text: TrainingText,
        probe: Probe,
        store: RecordStore,
        measured: int = 44,
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        self.members, self.recipe, self.folder = list(members), recipe, folder
        self.text, self.probe, self.store = text, probe, store
        self.steps, self.measured = checkpoint_steps(recipe.steps, measured), measured
        self.threads, self.device = threads, device
        self.published = published
        rows = read_metadata(published)["members"] if published.is_file() else []
        self._published_rows = {f"{row['model']}-seed{row['seed']}": row for row in rows}

    def elsewhere(self, folder: Path) -> Suite:
        """The same suite in another folder, which shares nothing with earlier trainings."""
        return Suite(
            self.members,
            self.recipe,
            folder,
            published=folder / self.published.name,
            text=self.text,
            probe=self.probe,
            store=RecordStore(folder / "records"),
            measured=self.measured,
            threads=self.threads,
            device=self.device,
        )

    def outcome(self, member: Member) -> Outcome | None:
        """The outcome of a member; None if it is not finished.

        Raises
        ------
        TrainError
            When its folder holds a member with another architecture, recipe or probe.
        """
        path = self._folder(member) / _STATUS_FILE
        if path.is_file():
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                raise TrainError(f"{path} is damaged", f"remove {path.parent} to train the member again") from None
        elif member.name in self._published_rows:
            path, content = self.published, self._published_rows[member.name]
        else:
            return None
        if content.get("identity") != self.identity(member):
            raise TrainError(
                f"{path} holds {member.name} with another architecture, recipe or schedule",
                "choose another suite.name",
            )
        return Outcome(**{field.name: content[field.name] for field in fields(Outcome)})

    def records(self) -> pd.DataFrame:
        """The records of every finished member, in the order of the members.

        Raises
        ------
        TrainError
            When no member is finished.
        """
        import pandas as pd

        known = read_table(self.published, RECORDS) if self._published_rows else None
        tables = []
        for member in self.members:
            if self.outcome(member) is None:
                continue
            if (self._folder(member) / _TABLE_FILE).is_file():
                tables.append(self.records_of(member))
            elif known is not None:
                tables.append(known[(known["model"] == member.model) & (known["seed"] == member.seed)])
        if not tables:
            raise TrainError("no member of the suite is finished", "train members with: python run.py stage=suite")
        return pd.concat(tables, ignore_index=True)

    def records_of(self, member: Member) -> pd.DataFrame:
        """The records of a member that was trained in this folder."""
        return read_table(
            self._folder(member) / _TABLE_FILE, RECORDS, remedy="train it with: python run.py stage=suite"
        )

    def work(
        self, wanted: Sequence[Member], each: Callable[[Member, int], None] | None = None
    ) -> Iterator[tuple[Member, Outcome]]:
        """Train the unfinished members: first the design, then replicates and ladders, the most expensive first.

        Members that another process is training are skipped.
        Any number of processes may call this at the same time, on one machine or on several that share the folder.
        A diverged training is final. One that failed in another way is tried again by the next call.

        Parameters
        ----------
        wanted
            Members of the suite to train.
        each
            Called as `each(member, step)` before every step.
        """
        for member in sorted(wanted, key=lambda m: (m.part != GRID or m.seed > 0, -m.cost)):
            if self._final(member):
                continue
            with claims.held(self._folder(member) / ".claim") as ours:
                if ours and not self._final(member):
                    replaceable(self._folder(member), _stranger)
                    yield member, self._train(member, each)

    def _final(self, member: Member) -> bool:
        outcome = self.outcome(member)
        return outcome is not None and outcome.status != FAILED

    def _train(self, member: Member, each: Callable[[Member, int], None] | None) -> Outcome:
        """Train one member. Write its table, then its status: a status without a table means no measurements."""
        import torch

        torch.set_num_threads(self.threads)
        folder = self._folder(member)
        live = self._live(member, folder)
        reached = 0

        def watch(step: int, model: Any) -> None:
            nonlocal reached
            reached = step
            live(step, model)
            if each is not None:
                each(member, step)

        began = time.perf_counter()
        status, what, loss, validation, seconds = DONE, "", float("nan"), float("nan"), None
        try:
            summary = train(
                member.architecture, self.recipe, folder, name=member.name, seed=member.seed, text=self.text,
                watch=watch, keep_checkpoints=False, device=self.device, progress=False,
            )  # fmt: skip
            loss, validation, seconds = summary.loss, summary.validation_loss, summary.seconds
            unmeasured = live.missing(before=self.recipe.steps + 1)
            if unmeasured:
                forget_state(folder)
                status, what = FAILED, f"steps {unmeasured} were not measured: the journal of the training was lost"
        except StorageError:
            raise
        except (MassactError, RuntimeError, MemoryError) as error:
            status, what = _why(error, reached)
        seconds = time.perf_counter() - began if seconds is None else seconds
        outcome = Outcome(status, reached, loss, validation, seconds, live.seconds, what, machine(self.threads))
        if live.result().measured:
            live.write(folder / _TABLE_FILE)
        content = {"identity": self.identity(member), **asdict(outcome)}
        write_text(folder / _STATUS_FILE, json.dumps(content, indent=1) + "\n", durable=True)
        if status == DONE:
            forget_state(folder)
        return outcome

    def _live(self, member: Member, folder: Path) -> LiveMeasurement:
        return LiveMeasurement(
            Subject(
                family=member.family,
                recipe=self.recipe.name,
                model=member.model,
                seed=member.seed,
                architecture=member.architecture.as_dict(),
                tokens_per_step=self.recipe.tokens_per_step,
            ),
            self.probe,
            self.steps,
            store=self.store,
            journal=folder / "measured.json",
            strict=True,
        )

    def _folder(self, member: Member) -> Path:
        return self.folder / member.name

    def row(self, member: Member) -> dict[str, Any] | None:
        """The entry of a finished member in the metadata of the suite's table."""
        outcome = self.outcome(member)
        if outcome is None:
            return None
        folder = self._folder(member)
        if not (folder / _STATUS_FILE).is_file():
            return self._published_rows[member.name]
        table = folder / _TABLE_FILE
        checkpoints = read_metadata(table)["checkpoints"] if table.is_file() else {}
        last = max(map(int, checkpoints), default=None)
        weights = "" if last is None else checkpoints[str(last)]["weights_sha256"]
        return {**asdict(member), **asdict(outcome), "identity": self.identity(member), "weights_sha256": weights}

    def identity(self, member: Member) -> str:
        """Hash of everything that a member's numbers depend on, except the machine."""
        content = {
            "member": asdict(member),
            "recipe": self.recipe.as_dict(),
            "steps": self.steps,
            "tokens_sha256": self.probe.sha256,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _stranger(folder: Path) -> str:
    """Why a folder does not belong to a training of a suite; empty if it does."""
    if any((folder / name).is_file() for name in ("run.json", "measured.json", _STATUS_FILE)):
        return ""
    foreign = sorted(path.name for path in folder.iterdir() if path.name != ".claim")
    return f"holds {foreign[0]}, and massact did not write it" if foreign else ""


def _why(error: Exception, step: int) -> tuple[str, str]:
    """Status of a training that ended in an error, and the reason."""
    if isinstance(error, DivergedError):
        return DIVERGED, error.what
    if out_of_memory(error):
        return FAILED, f"out of memory at step {step}"
    return FAILED, str(error).splitlines()[0] if str(error) else type(error).__name__
