"""Live measurement in Lightning, with either package: `lightning` or `pytorch_lightning`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import PreTrainedModel

from massact.errors import MeasureError
from massact.train.unwrap import inside

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer

    from massact.train.live import LiveMeasurement
else:
    try:
        from lightning.pytorch import Callback
    except ImportError:
        from pytorch_lightning import Callback


class LightningMeasurement(Callback):
    """Measures at the steps of a `LiveMeasurement`. The numbers of the training are the same as without it.

    Steps are those of `trainer.global_step`: optimiser steps, independent of gradient accumulation, summed over all
    optimisers. Only the first process measures.

    Parameters
    ----------
    live
        Defines what is measured, at which steps, and where the results go.
    model
        Returns the Hugging Face decoder in the LightningModule. None: the module itself if it is a decoder, else the
        only decoder in it (parts of a decoder do not count).
    table
        Where to write the table at the end of the training; None: no table.

    Raises
    ------
    MeasureError
        At the start of the training: no decoder or several in the module, or sharded weights (FSDP, ZeRO-3).
    TrainError
        At the start of the training: another training writes to the journal.
    """

    def __init__(
        self,
        live: LiveMeasurement,
        *,
        model: Callable[[LightningModule], nn.Module] | None = None,
        table: Path | str | None = None,
    ) -> None:
        self.live = live
        self.model = model or decoder_in
        self.table = None if table is None else Path(table)
        self._step = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the weights at the start of the training, or where it continues."""
        self._step = trainer.global_step
        if trainer.is_global_zero:
            model = self.model(pl_module)
            self.live.open(model)
            self.live(self._step, model)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure the weights after an optimiser step. A batch that only accumulates gradients is not a step."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        if trainer.is_global_zero and self.live.due(self._step):
            self.live(self._step, self.model(pl_module))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the table and close the loggers. A failure is logged as a warning."""
        if trainer.is_global_zero:
            self.live.end(self.table)


def decoder_in(module: nn.Module) -> nn.Module:
    """The only Hugging Face model in a module, or the module itself.

    Raises
    ------
    MeasureError
        There is none, or there are several.
    """
    models = list({id(model): model for model in _outermost(module)}.values())
    if len(models) != 1:
        names = ", ".join(type(model).__name__ for model in models) or "none"
        raise MeasureError(
            f"{type(module).__name__} holds {len(models)} Hugging Face models ({names})",
            "name the one to measure: LightningMeasurement(live, model=lambda module: module.student)",
        )
    return models[0]


def _outermost(module: nn.Module) -> Iterator[nn.Module]:
    inner = inside(module)
    if isinstance(inner, PreTrainedModel):
        yield inner
        return
    for child in inner.children():
        yield from _outermost(child)
