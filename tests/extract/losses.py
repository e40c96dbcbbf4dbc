"""A work other than a measurement: the loss of each sequence, which depends on the unembedding."""

from __future__ import annotations

import numpy as np
import torch

from massact.errors import NotFiniteError
from massact.extract import Work
from massact.extract.protocol import Measurement, Reduced
from massact.extract.provenance import key_parts
from massact.extract.store import RecordKey
from tests.extract.sweeping import PROBE


class LossRecord:
    """float32 (sequence,): nats per token."""

    name = "loss"

    def check(self, arrays, parts) -> None:
        if set(arrays) != {"loss"} or arrays["loss"].shape != (parts["sequences"],):
            raise ValueError("it holds no losses")


class Loss(Work):
    unembedding = True
    kind = LossRecord()

    def keys(self, identity):
        parts = key_parts(identity, PROBE, self.dtype, self.device)
        return [RecordKey.of({**parts, "work": "loss", "version": 1}, self.kind)]

    def run(self, model, keys):
        loss = loss_of(model)
        if not np.isfinite(loss).all():
            return [NotFiniteError("the loss is not finite", "leave this checkpoint out")]
        return [Measurement({"loss": Reduced(self.kind, {"loss": loss})})]


class CarelessLoss(Loss):
    """The same, without a word about the unembedding."""

    unembedding = False


def loss_of(model) -> np.ndarray:
    ids = torch.from_numpy(PROBE.tokens)
    with torch.no_grad():
        logits = model(ids).logits[:, :-1].float()
    each = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return each.reshape(len(ids), -1).mean(1).numpy()
