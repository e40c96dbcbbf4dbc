"""Measure a model while it trains: no checkpoint is written, and the records are those of an extraction."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.architecture import numbers_in
from massact.checkpoints.memory import MemorySource
from massact.checkpoints.source import Identity
from massact.disk import write_text
from massact.errors import MeasureError, NotFiniteError, StorageError, TrainError
from massact.extract.hooks import measure
from massact.extract.outcome import Failure, SweepResult
from massact.extract.protocol import Measurement
from massact.extract.provenance import provenance, record_key
from massact.train.unwrap import unwrapped

if TYPE_CHECKING:
    import pandas as pd

    from massact.extract.probe import Probe
    from massact.extract.store import RecordStore

log = logging.getLogger("massact")
Logger = Callable[[int, Measurement], None]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is being trained, as the axes of its table name it; `Subject.of_model` makes one from a model.

    Attributes
    ----------
    architecture
        The numbers of `massact.Architecture`, or those of them that the model has.
    tokens_per_step
        Training tokens one optimiser step sees.
    """

    family: str
    recipe: str
    model: str
    architecture: dict[str, Any]
    tokens_per_step: int
    seed: int = 0

    @classmethod
    def of_model(
        cls,
        model: Any,
        *,
        name: str,
        tokens_per_step: int,
        family: str = "own",
        recipe: str = "own",
        seed: int = 0,
    ) -> Subject:
        """A Hugging Face model (or its configuration), with the numbers its configuration states.

        Raises
        ------
        MeasureError
            When there is no such configuration.

        >>> from transformers import GPT2Config
        >>> Subject.of_model(GPT2Config(n_layer=2), name="mine", tokens_per_step=4096).architecture["d_mlp"]
        3072
        """
        config = getattr(model, "config", model)
        if not hasattr(config, "to_dict"):
            raise MeasureError(
                f"{type(model).__name__} has no Hugging Face configuration", "give the model itself, not what holds it"
            )
        numbers = numbers_in(config.get_text_config().to_dict())
        return cls(
            family=family, recipe=recipe, model=name, architecture=numbers, tokens_per_step=tokens_per_step, seed=seed
        )


class LiveMeasurement:
    """Measures a model in training at chosen steps, on one fixed probe.

    Call it as `live(step, model)` at any step, as often as you like: it measures at the steps it was made for, once
    for the same weights, in evaluation mode, without gradients and without touching the random state. What it has
    measured outlives the process: a new one with the same journal goes on where the old one stopped. In training with
    several processes call it in one of them. In Hugging Face's Trainer and in Lightning, `massact.train.live_hf` and
    `massact.train.live_lightning` call it.

    Parameters
    ----------
    subject
        What is trained.
    probe
        The token sequences: of a text by `massact.extract.probe.chunk`, or your own by `Probe.of`.
    steps
        When to measure, in optimiser steps taken: `massact.recipe.checkpoint_steps(2048, 44)`.
    store
        Where records go, keyed by weights, tokens and protocol as those of an extraction are.
    journal
        A JSON file that remembers which record belongs to which step. One file a training run.
    loggers
        Called as `logger(step, measurement)` after each, e.g. `massact.train.live_mlflow.MlflowLogger`. A training
        that goes on tells them first what its journal holds, so that each process's loggers see the whole series.

    Raises
    ------
    TrainError
        When the journal is that of another run or is damaged.
    """

    def __init__(
        self,
        subject: Subject,
        probe: Probe,
        steps: Iterable[int],
        *,
        store: RecordStore,
        journal: Path,
        loggers: Iterable[Logger] = (),
    ) -> None:
        self.subject, self.probe, self.steps = subject, probe, frozenset(int(step) for step in steps)
        self.store, self.journal, self.loggers = store, journal, tuple(loggers)
        self.seconds = 0.0
        self._identity = {"subject": asdict(subject), "tokens_sha256": probe.sha256}
        self._entries: dict[int, dict[str, str]] = self._read_journal()
        self._dtype = next((entry["dtype"] for entry in self._entries.values()), "float32")
        self._untold = bool(self._entries and self.loggers)

    def __call__(self, step: int, model: Any) -> Measurement | None:
        """Measure if this step is due; hidden states that overflow are remembered as such.

        The model may be wrapped by DistributedDataParallel or torch.compile: what is inside is measured. A step that
        was measured before is not measured again, unless its weights are others now: then the training was begun anew
        or goes on with other numbers, and what was measured of this step and later ones is replaced.

        Returns
        -------
        Measurement
            None where nothing was measured.

        Raises
        ------
        MeasureError, StorageError
            A model that cannot be measured; a disk that refuses.
        """
        if self._untold:
            self._tell_again()
        if not self.due(step):
            return None
        import torch

        began = time.perf_counter()
        model = unwrapped(model)
        identity = MemorySource({step: model}).identify(step)
        if step in self._entries:
            if self._entries[step]["weights_sha256"] == identity.weights_sha256:
                return None
            log.warning("%s has other weights than before: measured again from step %d on", self.subject.model, step)
            self._entries = {earlier: entry for earlier, entry in self._entries.items() if earlier < step}
        parameter = next(model.parameters())
        dtype, device = str(parameter.dtype).removeprefix("torch."), parameter.device.type
        key = record_key(identity, self.probe, dtype, device)
        outcome = self.store.read(key)
        if outcome is None:
            try:
                outcome = measure(model, torch.from_numpy(self.probe.tokens))
            except NotFiniteError as error:
                log.warning("%s step %d: %s", self.subject.model, step, error)
                outcome = error
            self.store.write(key, outcome)
        self._dtype = dtype
        self._entries[step] = {
            "weights_sha256": identity.weights_sha256, "settings": identity.config_id, "dtype": dtype, "key": key,
        }  # fmt: skip
        self._write_journal()
        self.seconds += time.perf_counter() - began
        if isinstance(outcome, NotFiniteError):
            return None
        for logger in self.loggers:
            logger(step, outcome)
        return outcome

    def due(self, step: int) -> bool:
        """Whether this step is one of those to measure."""
        return step in self.steps

    def end(self, table: Path | None = None) -> None:
        """Training has ended: write the table where one is wanted, and close the loggers that have a `close`.

        A training too short to have been measured is said in the log and is no error: its weights may be yet to save.
        """
        if self._untold:
            self._tell_again()
        if table is not None:
            try:
                self.write(table)
            except TrainError as error:
                log.warning("%s was not written: %s", table, error)
        for logger in self.loggers:
            close = getattr(logger, "close", None)
            if close is not None:
                close()

    def _tell_again(self) -> None:
        self._untold = False
        for step, measurement in self.result().measured.items():
            for logger in self.loggers:
                logger(step, measurement)

    def missing(self, before: int) -> list[int]:
        """Steps that were due before this one and are not measured."""
        return sorted(step for step in self.steps if step < before and step not in self._entries)

    def result(self) -> SweepResult:
        """What was measured, as a sweep over checkpoints gives it.

        Raises
        ------
        StorageError
            When a record that the journal names is no longer in the store.
        """
        result = SweepResult()
        for step, entry in sorted(self._entries.items()):
            outcome = self.store.read(entry["key"])
            if outcome is None:
                raise StorageError(
                    f"the record of step {step} is not in {self.store.folder}",
                    f"remove {self.journal} and train again: it cannot be measured afterwards",
                )
            if isinstance(outcome, NotFiniteError):
                result.failed[step] = Failure.of(outcome)
                continue
            result.measured[step] = outcome
            weights = entry["weights_sha256"]
            result.identified[step] = Identity(step, f"step{step}", "memory", weights, {}, 0, entry["settings"])
        return result

    def records(self) -> pd.DataFrame:
        """The tidy table so far: one row per (step, layer, sequence), schema `massact.trajectories.RECORDS`."""
        from massact.extract.records import records_frame
        from massact.trajectories import RECORDS

        s, measured = self.subject, self.result().measured
        if not measured:
            raise TrainError(f"nothing of {s.model} has been measured yet", f"it is due at steps {sorted(self.steps)}")
        axes = {"family": s.family, "recipe": s.recipe, "model": s.model, "seed": s.seed}
        frame = records_frame(measured, self.probe, tokens_per_step=s.tokens_per_step, **axes)
        return RECORDS.validate(frame, s.model)

    def metadata(self) -> dict[str, Any]:
        """What the table says of where it comes from; nothing in it changes from one identical run to the next."""
        s = self.subject
        fixed = {
            "model": s.model,
            "seed": s.seed,
            "source": "measured in training",
            "architecture": s.architecture,
            "tokens_per_step": s.tokens_per_step,
        }
        return provenance(self.result(), self.probe, dtype=self._dtype, fixed=fixed)

    def write(self, path: Path) -> None:
        """Write the table with its provenance, as `stage=extract` writes that of a sweep over checkpoints."""
        from massact.tables import write_table
        from massact.trajectories import RECORDS

        write_table(self.records(), path, RECORDS, self.metadata())

    def _read_journal(self) -> dict[int, dict[str, str]]:
        if not self.journal.is_file():
            return {}
        mend = f"remove {self.journal} and train from the start"
        try:
            content = json.loads(self.journal.read_text(encoding="utf-8"))
            entries = {int(step): entry for step, entry in content["steps"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise TrainError(f"{self.journal} is damaged", mend) from None
        if content.get("of") != self._hash():
            raise TrainError(f"{self.journal} is that of another model, seed, recipe or probe", mend)
        return entries

    def _write_journal(self) -> None:
        content = {"of": self._hash(), "model": self.subject.model, "steps": self._entries}
        write_text(self.journal, json.dumps(content) + "\n", durable=True)

    def _hash(self) -> str:
        return hashlib.sha256(json.dumps(self._identity, sort_keys=True).encode()).hexdigest()
