"""Measure a model while it trains, without writing checkpoints. The records are the same as those of an extraction."""

from __future__ import annotations

import hashlib
import json
import logging
import operator
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.architecture import numbers_in
from massact.checkpoints.memory import MemorySource
from massact.checkpoints.source import Identity
from massact.errors import MassactError, MeasureError, NotFiniteError, StorageError, TrainError
from massact.extract.magnitudes import DEFAULT
from massact.extract.measurement import measure
from massact.extract.outcome import Failure, SweepResult
from massact.extract.protocol import Measurement
from massact.extract.provenance import provenance, record_key
from massact.extract.store import RecordKey
from massact.train.journal import Entry, Journal
from massact.train.unwrap import unwrapped

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    from massact.extract.probe import Probe
    from massact.extract.statistic import Statistic
    from massact.extract.store import RecordStore

log = logging.getLogger("massact")
Logger = Callable[[int, Measurement], None]
Outcome = Measurement | NotFiniteError


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The subject of a training, with the values of the table's axes. `Subject.of_model` makes one from a model.

    Attributes
    ----------
    architecture
        The numbers of `massact.Architecture`, as far as the model has them.
    tokens_per_step
        Training tokens per optimiser step. None: unknown.
    """

    family: str
    recipe: str
    model: str
    architecture: dict[str, Any]
    tokens_per_step: int | None
    seed: int = 0

    @classmethod
    def of_model(
        cls,
        model: Any,
        *,
        name: str,
        tokens_per_step: int | None,
        family: str = "own",
        recipe: str = "own",
        seed: int = 0,
    ) -> Subject:
        """The subject for a Hugging Face model or its configuration, with the numbers that the configuration states.

        Raises
        ------
        MeasureError
            When there is no Hugging Face configuration.

        >>> from transformers import GPT2Config
        >>> Subject.of_model(GPT2Config(n_layer=2), name="mine", tokens_per_step=4096).architecture["d_mlp"]
        3072
        """
        config = getattr(model, "config", model)
        if not hasattr(config, "to_dict"):
            raise MeasureError(
                f"{type(model).__name__} has no Hugging Face configuration", "pass the model itself, not its container"
            )
        numbers = numbers_in(config.get_text_config().to_dict())
        return cls(
            family=family, recipe=recipe, model=name, architecture=numbers, tokens_per_step=tokens_per_step, seed=seed
        )


class LiveMeasurement:
    """Measures a model in training at chosen steps, on one fixed probe.

    Call it as `live(step, model)` at any step, as often as you like. It measures at its given steps, once for the same
    weights, in evaluation mode, without gradients, and leaves the random state unchanged. Measurements outlive the
    process: a new object with the same journal continues where the old one stopped. In a training with several
    processes, call it in one of them. `massact.train.live_hf` and `massact.train.live_lightning` call it from Hugging
    Face's Trainer and from Lightning.

    After its first measurement it never ends the training. A full disk, a failed logger or a failed measurement is
    logged once as a warning, and the training continues. Records that could not be written are held in memory and
    written as soon as the disk accepts them. `end` never raises.

    Parameters
    ----------
    subject
        The training's model, recipe and seed.
    probe
        The token sequences: from a text with `massact.extract.probe.chunk`, or your own with `Probe.of`.
    steps
        When to measure, in optimiser steps taken: `massact.recipe.checkpoint_steps(2048, 44)`.
    statistics
        What to measure. A training that goes on may have more of them than before: those have values from then on.
    store
        Where records go, keyed by weights, tokens and statistic as those of an extraction are. A model with code of its
        own (a forward that no library defines, hooks) is measured each time and never taken from the store.
    journal
        A JSON file that maps steps to records, one per training run. During the training, a claim beside the file keeps
        other trainings from using it.
    loggers
        Called as `logger(step, measurement)` after each measurement, e.g. `massact.train.live_mlflow.MlflowLogger`. A
        resumed training first passes them the steps in its journal, so that they see the whole series.
    strict
        Raise errors instead of logging warnings, for trainings whose only purpose is to be measured.

    Raises
    ------
    TrainError
        When the journal belongs to another run or is damaged, or a step is not an integer.
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
        statistics: Iterable[Statistic] = (DEFAULT,),
    ) -> None:
        self.subject, self.probe, self.steps = subject, probe, frozenset(whole_step(step) for step in steps)
        self.store, self.loggers, self.strict = store, tuple(loggers), strict
        self.statistics = tuple(statistics)
        self.seconds = 0.0
        identity = {"subject": asdict(subject), "tokens_sha256": probe.sha256}
        of = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self._journal = Journal(Path(journal), of=of, model=subject.model)
        self._unkept: dict[int, dict[RecordKey, Outcome]] = {}  # the disk has not taken these
        self._untold = bool(self._journal.entries and self.loggers)
        self._works = False
        self._warned: set[str] = set()

    @property
    def journal(self) -> Path:
        """The journal's path."""
        return self._journal.path

    def __call__(self, step: Any, model: Any) -> Measurement | None:
        """Measure if this step is due. An overflow of the hidden states is recorded as such.

        The model may be wrapped by DistributedDataParallel or torch.compile: the inner model is measured. A step that
        was measured before is skipped if the decoder's weights are the same. If they differ, the training was restarted
        or continues with other numbers, and the measurements of this step and later ones are replaced.

        Returns
        -------
        Measurement
            None if nothing was measured.

        Raises
        ------
        TrainError
            A step that is not an integer; at the first measurement, a journal that another training writes to.
        MeasureError
            At the first measurement: a model that cannot be measured. With `strict`, any error.
        """
        step = whole_step(step)
        if self._untold:
            self._tell_again()
        if not self.due(step):
            return None
        try:
            outcome = self._measure(step, model)
        except Exception as error:  # no error may end the training
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
        """Claim the journal, and check that this process holds the whole model.

        Optional: otherwise the first measurement does this.

        Raises
        ------
        TrainError
            When another training writes to the journal.
        MeasureError
            When the weights are sharded over processes.
        """
        if model is not None:
            unwrapped(model)
        self._journal.open()

    def _measure(self, step: int, model: Any) -> Outcome | None:
        """The outcome for a step that is due; None when the journal has it for these weights."""
        began = time.perf_counter()
        model = unwrapped(model)
        self._journal.open()
        identity = MemorySource({step: model}).identify(step)
        entries = self._journal.entries
        had: dict[str, str] = {}
        if step in entries:
            if entries[step].decoder_sha256 == identity.decoder_sha256:
                had = dict(entries[step].keys)
                if all(statistic.name in had for statistic in self.statistics):
                    return None
            else:
                log.warning(
                    "%s has other weights than before: measuring again from step %d on", self.subject.model, step
                )
                self._journal.entries = {earlier: entry for earlier, entry in entries.items() if earlier < step}
                self._unkept = {earlier: kept for earlier, kept in self._unkept.items() if earlier < step}
        parameter = next(model.parameters())
        dtype = "+".join(sorted({str(held.dtype).removeprefix("torch.") for held in model.parameters()}))
        device = parameter.device.type
        keys = [record_key(identity, self.probe, dtype, device, statistic) for statistic in self.statistics]
        outcomes = self._outcomes(step, model, [key for key in keys if key.kind.name not in had], identity.foreign)
        self._works = True
        self._journal.entries[step] = Entry(
            step,
            identity.weights_sha256,
            identity.decoder_sha256,
            identity.config_id,
            dtype,
            {**had, **{key.kind.name: str(key) for key in outcomes}},
        )
        self._keep()
        self.seconds += time.perf_counter() - began
        earlier = [self._recorded(step, entries[step], s) for s in self.statistics if s.name in had]
        return _together([*earlier, *outcomes.values()])

    def _outcomes(self, step: int, model: Any, keys: Sequence[RecordKey], foreign: str) -> dict[RecordKey, Outcome]:
        """What the store has of these keys, and what it has not, measured in the same passes."""
        stored = {key: None if foreign else self._stored(key) for key in keys}
        missing = [key for key in keys if stored[key] is None]
        outcomes = self._measured(step, model, missing) if missing else {}
        if outcomes:
            self._unkept.setdefault(step, {}).update(outcomes)
        return {key: outcome for key in keys if (outcome := outcomes.get(key) or stored[key]) is not None}

    def _measured(self, step: int, model: Any, keys: Sequence[RecordKey]) -> dict[RecordKey, Outcome]:
        import torch

        names = {key.kind.name for key in keys}
        statistics = [statistic for statistic in self.statistics if statistic.name in names]
        try:
            measurement = measure(model, torch.as_tensor(self.probe.tokens), statistics=statistics)
        except NotFiniteError as error:
            if len(keys) > 1:  # told for each: some may be finite
                return {key: self._measured(step, model, [key])[key] for key in keys}
            log.warning("%s step %d: %s", self.subject.model, step, error)
            return {keys[0]: error}
        return {key: measurement.only(key.kind.name) for key in keys}

    def _stored(self, key: RecordKey) -> Outcome | None:
        try:
            return self.store.read(key)
        except StorageError:
            if self.strict:
                raise
            return None

    def _keep(self) -> None:
        """Write pending records and the journal. A write error becomes a warning."""
        try:
            for step in sorted(self._unkept):
                for key, outcome in list(self._unkept[step].items()):
                    self.store.write(key, outcome)
                    del self._unkept[step][key]
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
            f"{error}; measurements are held in memory until they can be written, and the training goes on",
        )

    def _warn(self, kind: str, text: str) -> None:
        """Log one warning for each kind of failure."""
        if kind not in self._warned:
            self._warned.add(kind)
            log.warning("live measurement of %s: %s", self.subject.model, text)

    @contextmanager
    def _harmless(self, logger: Any) -> Generator[None, None, None]:
        """Turn an exception of a logger into a warning, once per logger."""
        try:
            yield
        except Exception as error:
            if self.strict:
                raise
            name = getattr(logger, "__name__", type(logger).__name__)
            self._warn(
                f"logger {id(logger)}",
                f"{name} failed ({_first(error)}); the journal is kept, the training goes on, and"
                f" LiveMeasurement.tell({name}) logs all steps later",
            )

    def due(self, step: int) -> bool:
        """Whether this step is to be measured."""
        return step in self.steps

    def end(self, table: Path | None = None) -> None:
        """End the measurement: write the table if a path is given, close the loggers, and release the journal.

        This never raises, since the weights may not be saved yet. A failure is logged as a warning that says
        how to repeat the step later.
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
        with self._told_of("the journal's claim was not released"):
            self._journal.close()

    def tell(self, logger: Logger) -> None:
        """Pass a logger every step in the journal, and close it. For a logger that failed during the training.

        Raises
        ------
        StorageError
            When a record in the journal is no longer in the store. Exceptions of the logger are not caught.
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
        except Exception as error:  # the end of a training must not raise
            log.warning(
                "%s: %s; the measurements are kept in %s, and LiveMeasurement(..., journal=that file).write(path)"
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
            self._warn("tell", f"earlier steps are not passed to the loggers ({error})")
            return
        for step, measurement in known.items():
            for logger in self.loggers:
                with self._harmless(logger):
                    logger(step, measurement)

    def missing(self, before: int) -> list[int]:
        """Steps before this one that were due but are not measured."""
        return sorted(step for step in self.steps if step < before and step not in self._journal.entries)

    def result(self) -> SweepResult:
        """The measurements, in the form that a sweep over checkpoints returns.

        Raises
        ------
        StorageError
            When a record in the journal is no longer in the store, or belongs to other weights or another probe.
        """
        result = SweepResult()
        for step, entry in sorted(self._journal.entries.items()):
            outcome = _together([self._recorded(step, entry, s) for s in self.statistics if s.name in entry.keys])
            if outcome is None:
                continue
            if isinstance(outcome, NotFiniteError):
                result.failed[step] = Failure.of(outcome)
                continue
            result.measured[step] = outcome
            weights = entry.weights_sha256
            result.identified[step] = Identity(step, f"step{step}", "memory", weights, {}, 0, entry.settings)
        result.set_flawed_aside()
        return result

    def _recorded(self, step: int, entry: Entry, statistic: Statistic) -> Outcome:
        """The record of a step, checked against the weights and tokens in the journal."""
        key = RecordKey.known(entry.keys[statistic.name], statistic)
        unkept = self._unkept.get(step, {}).get(key)
        if unkept is not None:
            return unkept
        described = self.store.described(key)
        metadata = None if described is None else described[1]
        expected = {
            "weights": entry.weights_sha256,
            "settings": entry.settings,
            "dtype": entry.dtype,
            "tokens": self.probe.sha256,
        }
        if (
            described is None
            or metadata is None
            or any(metadata.get(name) != value for name, value in expected.items())
        ):
            raise StorageError(
                f"the record of step {step} is not in {self.store.folder}",
                f"remove {self.journal} and train again: a step cannot be measured afterwards",
            )
        return described[0]

    def records(self, statistic: Statistic | None = None) -> pd.DataFrame:
        """The tidy table of one statistic so far, the first by default: one row per (step, layer, sequence).

        Its schema is `massact.trajectories.schemas.records_schema(statistic)`.
        """
        from massact.extract.records import records_frame
        from massact.trajectories.schemas import records_schema

        statistic = statistic or self.statistics[0]
        s, measured = self.subject, self.result().measured
        if not any(statistic.name in measurement.reduced for measurement in measured.values()):
            raise TrainError(f"{s.model} has no measurements yet", f"they are due at steps {sorted(self.steps)}")
        frame = records_frame(
            measured,
            self.probe,
            family=s.family,
            recipe=s.recipe,
            model=s.model,
            seed=s.seed,
            tokens_per_step=s.tokens_per_step,
            statistic=statistic,
        )
        return records_schema(statistic).validate(frame, s.model)

    def metadata(self, statistic: Statistic | None = None) -> dict[str, Any]:
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
        statistic = statistic or self.statistics[0]
        return provenance(self.result(), self.probe, dtype=dtype, fixed=fixed, statistic=statistic)

    def write(self, path: Path, statistic: Statistic | None = None) -> None:
        """Write the table of a statistic, the first by default, with its provenance, as `stage=extract` does."""
        from massact.tables import write_table
        from massact.trajectories.schemas import records_schema

        statistic = statistic or self.statistics[0]
        write_table(self.records(statistic), path, records_schema(statistic), self.metadata(statistic))


def _together(outcomes: Iterable[Outcome]) -> Outcome | None:
    """The measurements of one step as one; one that is not finite makes the step so. None: there are none."""
    whole: Measurement | None = None
    for outcome in outcomes:
        if isinstance(outcome, NotFiniteError):
            return outcome
        whole = outcome if whole is None else whole.with_also(outcome)
    return whole


def whole_step(step: Any) -> int:
    """A number of optimiser steps as an int. Accepts integers of numpy and torch and integral floats, but no bool.

    Raises
    ------
    TrainError
        When it is not an integer, or negative.

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
        raise TrainError(f"step {str(step)[:80]} is no number of steps", "give the optimiser step as an int")
    return number


def _first(error: BaseException) -> str:
    """The first line of an error's message, with its type unless it is a MassactError."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if isinstance(error, MassactError) else f"{type(error).__name__}: {line}"
