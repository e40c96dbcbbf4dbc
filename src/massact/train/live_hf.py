"""Live measurement in Hugging Face's Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from massact.train.live import LiveMeasurement


class TrainerMeasurement(TrainerCallback):
    """Measures at the steps of a `LiveMeasurement`. The numbers of the training are the same as without it.

    Steps are optimiser steps (`state.global_step`), independent of gradient accumulation. Only the process with rank 0
    measures. Under mixed precision the stored weights are measured, without autocast.

    Parameters
    ----------
    live
        Defines what is measured, at which steps, and where the results go.
    table
        Where to write the table at the end of the training; None: no table.

    Raises
    ------
    MeasureError
        At the start of the training: sharded weights (FSDP, DeepSpeed ZeRO-3). At the first measurement: the Trainer's
        model is not a Hugging Face decoder.
    TrainError
        At the start of the training: another training writes to the journal.
    """

    def __init__(self, live: LiveMeasurement, *, table: Path | str | None = None) -> None:
        self.live = live
        self.table = None if table is None else Path(table)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure the weights at the start of the training, or where it continues."""
        if state.is_world_process_zero:
            self.live.open(kwargs["model"])
        self._measure(state, kwargs)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Measure the weights after an optimiser step."""
        self._measure(state, kwargs)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the table and close the loggers. A failure is logged as a warning."""
        if state.is_world_process_zero:
            self.live.end(self.table)

    def _measure(self, state: TrainerState, kwargs: dict[str, Any]) -> None:
        if state.is_world_process_zero:
            self.live(state.global_step, kwargs["model"])
