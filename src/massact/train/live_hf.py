"""Live measurement in Hugging Face's Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from massact.train.live import LiveMeasurement


class TrainerMeasurement(TrainerCallback):
    """Measures at the steps of a `LiveMeasurement`; the training's numbers are those it would have without.

    Steps are optimiser steps taken (`state.global_step`), whatever the gradient accumulation. Only the first process
    of the world measures. Mixed precision measures the weights as they are stored, without autocast.

    Parameters
    ----------
    live
        What to measure, when, and where to.
    table
        Where to write the table when training ends; None: nowhere.

    Raises
    ------
    MeasureError
        When training starts: when the weights are spread over processes (FSDP, DeepSpeed ZeRO-3). At the first
        measurement: when the Trainer's model is no decoder of Hugging Face's kind.
    TrainError
        When training starts: when another training writes to the journal.
    """

    def __init__(self, live: LiveMeasurement, *, table: Path | str | None = None) -> None:
        self.live = live
        self.table = None if table is None else Path(table)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure the weights training begins or goes on with."""
        if state.is_world_process_zero:
            self.live.open(kwargs["model"])
        self._measure(state, kwargs)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Measure the weights the optimiser has just made."""
        self._measure(state, kwargs)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the table and close the loggers; what fails is warned of."""
        if state.is_world_process_zero:
            self.live.end(self.table)

    def _measure(self, state: TrainerState, kwargs: dict[str, Any]) -> None:
        if state.is_world_process_zero:
            self.live(state.global_step, kwargs["model"])
