"""Measure a model while it trains: no checkpoint is written, and the records are those of an extraction."""

from __future__ import annotations

import hashlib
import json
import logging
import operator
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.architecture import numbers_in
from massact.checkpoints.memory import MemorySource
from massact.checkpoints.source import Identity
from massact.errors import MassactError, MeasureError, NotFiniteError, StorageError, TrainError
from massact.extract.hooks import measure
from massact.extract.outcome import Failure, SweepResult
from massact.extract.protocol import Measurement
from massact.extract.provenance import provenance, record_key
from massact.train.journal import Entry, Journal
from massact.train.unwrap import unwrapped

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    from massact.extract.probe import Probe
    from massact.extract.store import RecordKey, RecordStore

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

    It does not end a training that it has begun to measure: a full disk, a logger or a measurement that fails is
    warned of once, and the training goes on. What a disk did not take is kept in memory and written as soon as the
    disk takes it. `end` never raises.

    Parameters
    ----------
    subject
        What is trained.
    probe
        The token sequences: of a text by `massact.extract.probe.chunk`, or your own by `Probe.of`.
    steps
        When to measure, in optimiser steps taken: `massact.recipe.checkpoint_steps(2048, 44)`.
    store
        Where records go, keyed by weights, tokens and protocol as those of an extraction are. A model with code of its
        own (a forward that no library defines, hooks) is measured each time and never taken from the store.
    journal
        A JSON file that remembers which record belongs to which step. One file a training run; while it is measured,
        a claim beside the file keeps other trainings from it.
    loggers
        Called as `logger(step, measurement)` after each, e.g. `massact.train.live_mlflow.MlflowLogger`. A training
        that goes on tells them first what its journal holds, so that each process's loggers see the whole series.
    strict
        Raise what goes wrong in place of a warning: for trainings that are there only to be measured.

    Raises
    ------
    TrainError
        When the journal is that of another run or is damaged, or a step is no whole number.
    """

    def __init__(
        self,
        subject: Subject,
        probe: Probe,
        steps: Iterable[Any],
        *,
        store: RecordStore,
        journal: str | Path,
        loggers: Iterable[Logger] = (),
        strict: bool = False,
    ) -> None:
        self.subject, self.probe, self.steps = subject, probe, frozenset(whole_step(step) for step in steps)
        self.store, self.loggers, self.strict = store, tuple(loggers), strict
        self.seconds = 0.0
        identity = {"subject": asdict(subject), "tokens_sha256": probe.sha256}
        of = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self._journal = Journal(Path(journal), of=of, model=subject.model)
        self._unkept: dict[int, Measurement | NotFiniteError] = {}  # the disk has not taken these
        self._keys: dict[int, RecordKey] = {}
        self._untold = bool(self._journal.entries and self.loggers)
        self._works = False
        self._warned: set[str] = set()

    @property
    def journal(self) -> Path:
        """The journal's path."""
        return self._journal.path

    def __call__(self, step: Any, model: Any) -> Measurement | None:
        """Measure if this step is due; hidden states that overflow are remembered as such.

        The model may be wrapped by DistributedDataParallel or torch.compile: what is inside is measured. A step that
        was measured before is not measured again, unless its decoder's weights are others now: then the training was
        begun anew or goes on with other numbers, and what was measured of this step and later ones is replaced.

        Returns
        -------
        Measurement
            None where nothing was measured.

        Raises
        ------
        TrainError
            A step that is no whole number; at the first measurement, a journal that another training writes to.
        MeasureError
            At the first measurement: a model that cannot be measured. With `strict`, all else that goes wrong.
        """
        step = whole_step(step)
        if self._untold:
            self._tell_again()
        if not self.due(step):
            return None
        try:
            outcome = self._measure(step, model)
        except Exception as error:  # whatever it is, the training is not to end of it
            if self.strict or (not self._works and isinstance(error, MassactError)):
                raise
            self._warn("measure", f"step {step} was not measured ({_first(error)}); the training goes on")
            return None
        if outcome is None or isinstance(outcome, NotFiniteError):
            return None
        for logger in self.loggers:
            with self._harmless(logger):
                logger(step, outcome)
        return outcome

    def open(self, model: Any = None) -> None:
        """Begin: claim the journal, and see whether this process has the whole model. Optional; the first measurement
        does it otherwise.

        Raises
        ------
        TrainError
            When another training writes to the journal.
        MeasureError
            When the weights are spread over processes.
        """
        if model is not None:
            unwrapped(model)
        self._journal.open()

    def _measure(self, step: int, model: Any) -> Measurement | NotFiniteError | None:
        """The outcome for a step that is due; None when the journal has it for these weights."""
        began = time.perf_counter()
        model = unwrapped(model)
        self._journal.open()
        identity = MemorySource({step: model}).identify(step)
        entries = self._journal.entries
        if step in entries:
            if entries[step].decoder_sha256 == identity.decoder_sha256:
                return None
            log.warning("%s has other weights than before: measured again from step %d on", self.subject.model, step)
            self._journal.entries = {earlier: entry for earlier, entry in entries.items() if earlier < step}
        parameter = next(model.parameters())
        dtype = "+".join(sorted({str(held.dtype).removeprefix("torch.") for held in model.parameters()}))
        key = record_key(identity, self.probe, dtype, parameter.device.type)
        outcome = None if identity.foreign else self._stored(key)
        if outcome is None:
            outcome = self._outcome(step, model)
            self._unkept[step] = outcome
        self._works = True
        self._journal.entries[step] = Entry(
            step, identity.weights_sha256, identity.decoder_sha256, identity.config_id, dtype, key
        )
        self._keys[step] = key
        self._keep()
        self.seconds += time.perf_counter() - began
        return outcome

    def _outcome(self, step: int, model: Any) -> Measurement | NotFiniteError:
        import torch

        try:
            return measure(model, torch.as_tensor(self.probe.tokens))
        except NotFiniteError as error:
            log.warning("%s step %d: %s", self.subject.model, step, error)
            return error

    def _stored(self, key: RecordKey) -> Measurement | NotFiniteError | None:
        try:
            return self.store.read(key)
        except StorageError:
            if self.strict:
                raise
            return None

    def _keep(self) -> None:
        """Write the records that are not written yet, and the journal; a disk that refuses is warned of."""
        try:
            for step in sorted(self._unkept):
                self.store.write(self._keys[step], self._unkept[step])
                del self._unkept[step]
        except StorageError as error:
            self._unwritten(error)
        try:
            self._journal.write(without=self._unkept)
        except (StorageError, TrainError) as error:
            self._unwritten(error)

    def _unwritten(self, error: MassactError) -> None:
        if self.strict:
            raise error
        self._warn(
            f"keep {type(error).__name__}",
            f"{error}; what is measured is held in memory until it can be written, and the training goes on",
        )

    def _warn(self, kind: str, text: str) -> None:
        """Warn once of each kind of trouble."""
        if kind not in self._warned:
            self._warned.add(kind)
            log.warning("live measurement of %s: %s", self.subject.model, text)

    @contextmanager
    def _harmless(self, logger: Any) -> Generator[None, None, None]:
        """Whatever a logger raises is warned of, once for each logger."""
        try:
            yield
        except Exception as error:
            if self.strict:
                raise
            name = getattr(logger, "__name__", type(logger).__name__)
            self._warn(
                f"logger {id(logger)}",
                f"{name} failed ({_first(error)}); the journal is kept, the training goes on, and"
                f" LiveMeasurement.tell({name}) tells it all of it later",
            )

    def due(self, step: int) -> bool:
        """Whether this step is one of those to measure."""
        return step in self.steps

    def end(self, table: Path | None = None) -> None:
        """Training has ended: write the table where one is wanted, close the loggers that have a `close`, and give the
        journal up. Nothing is raised: the weights may be yet to save. What failed is warned of, with what writes it
        later.
        """
        if self._untold:
            self._tell_again()
        if self._unkept:
            self._warned = {kind for kind in self._warned if not kind.startswith("keep ")}
            with self._told_of("the last records were not written"):
                self._keep()
        if table is not None:
            with self._told_of(f"{table} was not written"):
                self.write(table)
        for logger in self.loggers:
            self._close(logger)
        with self._told_of("the journal's claim was not given up"):
            self._journal.close()

    def tell(self, logger: Logger) -> None:
        """Tell a logger all that the journal holds, and close it: for one that failed while training.

        Raises
        ------
        StorageError
            When a record that the journal names is no longer in the store. What the logger raises is raised.
        """
        for step, measurement in self.result().measured.items():
            logger(step, measurement)
        close = getattr(logger, "close", None)
        if close is not None:
            close()

    def _close(self, logger: Any) -> None:
        close = getattr(logger, "close", None)
        if close is not None:
            with self._told_of(f"{type(logger).__name__} was not closed"):
                close()

    @contextmanager
    def _told_of(self, what: str) -> Generator[None, None, None]:
        try:
            yield
        except Exception as error:  # the end of a training is no place to raise
            log.warning(
                "%s: %s; what was measured is kept in %s, and LiveMeasurement(..., journal=that file).write(path)"
                " writes the table later",
                what,
                _first(error),
                self.journal,
            )

    def _tell_again(self) -> None:
        self._untold = False
        try:
            known = self.result().measured
        except StorageError as error:
            if self.strict:
                raise
            self._warn("tell", f"the loggers are not told of earlier steps ({error})")
            return
        for step, measurement in known.items():
            for logger in self.loggers:
                with self._harmless(logger):
                    logger(step, measurement)

    def missing(self, before: int) -> list[int]:
        """Steps that were due before this one and are not measured."""
        return sorted(step for step in self.steps if step < before and step not in self._journal.entries)

    def result(self) -> SweepResult:
        """What was measured, as a sweep over checkpoints gives it.

        Raises
        ------
        StorageError
            When a record that the journal names is no longer in the store, or is not of the step's weights and probe.
        """
        result = SweepResult()
        for step, entry in sorted(self._journal.entries.items()):
            outcome = self._unkept.get(step) or self._recorded(step, entry)
            if isinstance(outcome, NotFiniteError):
                result.failed[step] = Failure.of(outcome)
                continue
            result.measured[step] = outcome
            weights = entry.weights_sha256
            result.identified[step] = Identity(step, f"step{step}", "memory", weights, {}, 0, entry.settings)
        result.set_zero_medians_aside()
        return result

    def _recorded(self, step: int, entry: Entry) -> Measurement | NotFiniteError:
        """The record of a step, which must be of the weights and the tokens that the journal says it is of."""
        found = self.store.described(entry.key)
        said = None if found is None else found[1]
        asked = {
            "weights": entry.weights_sha256,
            "settings": entry.settings,
            "dtype": entry.dtype,
            "tokens": self.probe.sha256,
        }
        if found is None or said is None or any(said.get(name) != value for name, value in asked.items()):
            raise StorageError(
                f"the record of step {step} is not in {self.store.folder}",
                f"remove {self.journal} and train again: it cannot be measured afterwards",
            )
        return found[0]

    def records(self) -> pd.DataFrame:
        """The tidy table so far: one row per (step, layer, sequence), schema `massact.trajectories.RECORDS`."""
        from massact.extract.records import records_frame
        from massact.trajectories import RECORDS

        s, measured = self.subject, self.result().measured
        if not measured:
            raise TrainError(f"nothing of {s.model} has been measured yet", f"it is due at steps {sorted(self.steps)}")
        frame = records_frame(
            measured,
            self.probe,
            tokens_per_step=s.tokens_per_step,
            family=s.family,
            recipe=s.recipe,
            model=s.model,
            seed=s.seed,
        )
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
        dtype = next((entry.dtype for _, entry in sorted(self._journal.entries.items(), reverse=True)), "float32")
        return provenance(self.result(), self.probe, dtype=dtype, fixed=fixed)

    def write(self, path: Path) -> None:
        """Write the table with its provenance, as `stage=extract` writes that of a sweep over checkpoints."""
        from massact.tables import write_table
        from massact.trajectories import RECORDS

        write_table(self.records(), path, RECORDS, self.metadata())


def whole_step(step: Any) -> int:
    """Optimiser steps as an int: numpy's and torch's whole numbers and whole floats are taken, a bool is not.

    Raises
    ------
    TrainError
        When it is no whole number, or negative.

    >>> whole_step(512.0)
    512
    """
    number: int | None = None
    if not isinstance(step, bool) and "bool" not in str(getattr(step, "dtype", "")):
        try:
            number = operator.index(step)
        except (TypeError, ValueError):
            value = step.item() if hasattr(step, "item") and getattr(step, "size", 1) == 1 else step
            number = int(value) if isinstance(value, float) and value.is_integer() else None
    if number is None or number < 0:
        raise TrainError(f"step {str(step)[:80]} is no number of steps", "give optimiser steps taken, as an int")
    return number


def _first(error: BaseException) -> str:
    """The first line of what an error says, with its kind where it is none of massact's."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return said if isinstance(error, MassactError) else f"{type(error).__name__}: {said}"
