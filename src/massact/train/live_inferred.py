"""Live measurement in Hugging Face's Trainer in one line: everything is inferred from the Trainer."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from transformers import TrainerCallback

from massact.errors import MeasureError
from massact.extract.own_probe import LONGEST, RANDOM, encoded_probe, random_probe
from massact.extract.probe import CORPUS, Probe
from massact.extract.store import RecordStore
from massact.folders import EXTRACTED, RECORDS, RESULTS
from massact.names import slug
from massact.recipe import checkpoint_steps
from massact.shipped import CONF, corpus_path
from massact.train.corpus import read_works, split_works
from massact.train.live import LiveMeasurement, Logger
from massact.train.live_hf import TrainerMeasurement
from massact.train.subject import Subject
from massact.train.unwrap import unwrapped

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

log = logging.getLogger("massact")
MEASUREMENTS = 44
JOURNAL = "live.json"


def live(
    *,
    steps: int | Iterable[int] | None = None,
    probe: Any = None,
    sequences: int | None = None,
    length: int | None = None,
    name: str | None = None,
    tokens_per_step: int | None = None,
    results: str | Path | None = None,
    loggers: Iterable[Logger] | None = None,
) -> LiveTrainerMeasurement:
    """A callback that measures the Trainer's model while it trains: `Trainer(..., callbacks=[massact.live()])`.

    The numbers of the training do not change. What is None is inferred when the training begins.

    Parameters
    ----------
    steps
        Optimiser steps to measure at, or how many of them: 0, powers of two up to 128, then evenly in log step.
        Default: 44 of the Trainer's steps.
    probe
        A `massact.Probe`, token ids of shape (sequence, position), or `random` for random token ids. Default: the
        shipped text in the Trainer's tokenizer (`processing_class`), begun by the tokenizer's own rule.
    sequences, length
        Of the default probe: 10 sequences of as many tokens as the model reads, at most 1,024.
    name
        What tables call the model. Default: the name of `output_dir`.
    tokens_per_step
        Training tokens per optimiser step, for the tables' axis of tokens. Default: unknown, null in the table.
    results
        A folder for records, journal and table. Default: `massact-results` in `output_dir`.
    loggers
        As in `massact.LiveMeasurement`. Default: MLflow if the Trainer reports to it (`report_to`).

    Raises
    ------
    MeasureError
        When the training begins: no tokenizer and no `probe`; sharded weights; a model that is not a decoder.
    TrainError
        When the training begins: the folder of results belongs to another model, seed or probe.
    """
    return LiveTrainerMeasurement(
        steps=steps, probe=probe, sequences=sequences, length=length, name=name, tokens_per_step=tokens_per_step,
        results=results, loggers=loggers,
    )  # fmt: skip


class LiveTrainerMeasurement(TrainerCallback):
    """The callback of `live`. Only the process with rank 0 measures.

    Attributes
    ----------
    measurement
        The `LiveMeasurement`, once the training has begun; None in other processes.
    table
        The table that the end of the training writes, once the training has begun.
    """

    def __init__(self, **given: Any) -> None:
        self.given = given
        self.measurement: LiveMeasurement | None = None
        self.table: Path | None = None
        self._inner: TrainerMeasurement | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Infer what is not given, and measure the weights at the start of the training, or where it continues."""
        self.measurement = self._inner = None
        if state.is_world_process_zero:
            self.measurement, self.table = inferred(args, state, kwargs, **self.given)
            self._inner = TrainerMeasurement(self.measurement, table=self.table)
            self._inner.on_train_begin(args, state, control, **kwargs)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Measure the weights after an optimiser step."""
        if self._inner is not None:
            self._inner.on_step_end(args, state, control, **kwargs)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the table and close the loggers. A failure is logged as a warning."""
        if self._inner is not None and self.table is not None:
            self._inner.on_train_end(args, state, control, **kwargs)
            log.info("measured in training: massact report --out %s", self.table.parents[1])


def inferred(
    args: TrainingArguments,
    state: TrainerState,
    kwargs: dict[str, Any],
    *,
    steps: int | Iterable[int] | None,
    probe: Any,
    sequences: int | None,
    length: int | None,
    name: str | None,
    tokens_per_step: int | None,
    results: str | Path | None,
    loggers: Iterable[Logger] | None,
) -> tuple[LiveMeasurement, Path]:
    """The measurement of a training that begins, and the path of its table; parameters and errors as in `live`."""
    output = Path(str(args.output_dir))
    name = slug(output.resolve().name) if name is None else name
    subject = Subject.of_model(
        unwrapped(kwargs["model"]), name=name, tokens_per_step=tokens_per_step, seed=int(args.seed)
    )
    chosen = _probe(probe, subject, kwargs.get("processing_class"), sequences=sequences, length=length)
    if steps is None or isinstance(steps, int):
        steps = checkpoint_steps(int(state.max_steps), MEASUREMENTS if steps is None else steps)
    folder = output / RESULTS if results is None else Path(results)
    measurement = LiveMeasurement(
        subject,
        chosen,
        steps,
        store=RecordStore(folder / RECORDS),
        journal=folder / JOURNAL,
        loggers=_loggers(args, subject, chosen) if loggers is None else loggers,
    )
    return measurement, folder / EXTRACTED / f"{name}-seed{subject.seed}.parquet"


def _probe(given: Any, subject: Subject, processing: Any, *, sequences: int | None, length: int | None) -> Probe:
    if isinstance(given, Probe):
        return given
    if given is not None and not isinstance(given, str):
        return Probe.of(given)
    stated = yaml.safe_load((CONF / "probe" / "auto.yaml").read_text(encoding="utf-8"))
    context = subject.architecture.get("context")
    size = {
        "sequences": int(stated["sequences"]) if sequences is None else sequences,
        "length": min(context or LONGEST, LONGEST) if length is None else length,
    }
    if given == RANDOM:
        return random_probe(subject.architecture["vocab_size"], **size)
    tokenizer = getattr(processing, "tokenizer", processing)
    if given is not None or not hasattr(tokenizer, "encode"):
        what = "the Trainer has no tokenizer" if given is None else f"probe = {given[:60]!a} is no probe"
        raise MeasureError(what, "give Trainer(processing_class=tokenizer), or live(probe=token ids, or 'random')")
    _, held_out = split_works(read_works(corpus_path(stated["corpus"])), stated["held_out_works"])

    def encode(text: str, special: bool) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=special, verbose=False))

    return encoded_probe(encode, "\n\n".join(held_out), name=CORPUS, **size)


def _loggers(args: TrainingArguments, subject: Subject, probe: Probe) -> list[Logger]:
    """MLflow, where the Trainer reports to it, in the store and experiment that it uses."""
    if "mlflow" not in (args.report_to or ()):
        return []
    import mlflow

    from massact.train.live_mlflow import MlflowLogger

    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "massact")
    return [MlflowLogger(subject, probe, tracking_uri=mlflow.get_tracking_uri(), experiment=experiment)]
