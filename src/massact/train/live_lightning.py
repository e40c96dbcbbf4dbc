"""Live measurement in Lightning; `lightning` and `pytorch_lightning` both do."""

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
    """Measures at the steps of a `LiveMeasurement`; the training's numbers are those it would have without.

    Steps are those of `trainer.global_step`: optimiser steps taken, whatever the gradient accumulation, those of all
    optimisers together where there are several. Only the first process measures.

    Parameters
    ----------
    live
        What to measure, when, and where to.
    model
        Gives the Hugging Face decoder in the LightningModule. None: the module itself if it is one, else the only one
        in it (a decoder's own parts do not count).
    table
        Where to write the table when training ends; None: nowhere.

    Raises
    ------
    MeasureError
        When training starts: no decoder or several in the module, or weights spread over processes (FSDP, ZeRO-3).
    TrainError
        When training starts: another training writes to the journal.
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
        """Measure the weights training begins or goes on with."""
        self._step = trainer.global_step
        if trainer.is_global_zero:
            model = self.model(pl_module)
            self.live.open(model)
            self.live(self._step, model)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure the weights the optimiser has just made; a batch whose gradients only add up has made none."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        if trainer.is_global_zero and self.live.due(self._step):
            self.live(self._step, self.model(pl_module))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the table and close the loggers; what fails is warned of."""
        if trainer.is_global_zero:
            self.live.end(self.table)


def decoder_in(module: nn.Module) -> nn.Module:
    """The one Hugging Face model in a module, which may be the module itself.

    Raises
    ------
    MeasureError
        None, or several.
    """
    found = list({id(model): model for model in _outermost(module)}.values())
    if len(found) != 1:
        names = ", ".join(type(model).__name__ for model in found) or "none"
        raise MeasureError(
            f"{type(module).__name__} holds {len(found)} Hugging Face models ({names})",
            "say which one to measure: LightningMeasurement(live, model=lambda module: module.student)",
        )
    return found[0]


def _outermost(module: nn.Module) -> Iterator[nn.Module]:
    inner = inside(module)
    if isinstance(inner, PreTrainedModel):
        yield inner
        return
    for child in inner.children():
        yield from _outermost(child)
