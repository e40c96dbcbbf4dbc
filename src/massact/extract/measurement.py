"""Measure a loaded model. Every statistic reduces each block's tensors as the model runs, and keeps nothing else."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray
from torch import Tensor

from massact.errors import MeasureError, NotFiniteError
from massact.extract.edits import edits_of
from massact.extract.hooks import Stream, Subject, no_room, sequences_per_pass
from massact.extract.magnitudes import Magnitudes
from massact.extract.protocol import TOP_K, Measurement, Reduced
from massact.extract.statistic import Block, HookPoint, Statistic
from massact.host import out_of_memory

log = logging.getLogger("massact")
_WHOLE = "measure the whole decoder, whose blocks run once each"


def measure(
    model: Any,
    tokens: Any,
    *,
    statistics: Sequence[Statistic] | None = None,
    top_k: int = TOP_K,
    sequences_at_once: int | None = None,
) -> Measurement:
    """Measure statistics of every block, by default the magnitudes |h| of its output. No hidden state is kept.

    The output of block l is the residual stream before any final norm (`massact.extract.blocks`). It is measured in the
    number format of the weights: autocast, TF32, another default dtype, torch.compile and training mode are suspended
    during the call. The model is not changed. Within `massact.extract.edited`, the edited model is measured, and the
    measurement names the edits.

    Parameters
    ----------
    model
        A `TransformerBridge` (read at `blocks.{l}.hook_resid_post`) or a Hugging Face decoder (read by forward hooks on
        its blocks). It may be wrapped by DataParallel, torch.compile, PEFT and the like, and Accelerate may have
        offloaded its weights. The first model of a class is run once more on three tokens, to find its blocks.
    tokens : int (sequence, position)
        Token ids, one row a sequence, all of one length: a tensor, an array, lists, or a tokenizer's encoding without
        padding.
    statistics
        What to measure, all in the same forward passes. None: `(Magnitudes(top_k),)`.
    top_k
        How many of the largest magnitudes to keep, at most positions x width. Ties go to the lowest position, then
        to the lowest dimension. Not used with `statistics`.
    sequences_at_once
        Sequences in one forward pass. None: as many as hold 2,048 tokens, at least one. When memory runs out, the
        number is halved, and the log says so. The results do not depend on it.

    Returns
    -------
    Measurement
        float32 magnitudes and int32 positions and dimensions, on the host. `arrays(name)` returns those of any other
        statistic.

    Raises
    ------
    NotFiniteError
        When hidden states are NaN or infinite. The message names the first such sequence and layer.
    OutOfMemoryError
        When a single sequence does not fit into memory.
    MeasureError
        When tokens are not ids of the model or exceed its table of positions, `top_k` or `sequences_at_once` is out of
        range, two statistics have one name, the model has no weights, or its blocks cannot be found, have no residual
        stream or lack a part that a statistic reads.
    """
    chosen = (Magnitudes(top_k),) if statistics is None else tuple(statistics)
    _require_names(chosen)
    subject = Subject.of(model, tokens)
    results = [_Results.of(statistic, subject) for statistic in chosen]
    _run(subject, results, sequences_per_pass(subject, sequences_at_once))
    dtype = str(next(subject.decoder.module.parameters()).dtype).removeprefix("torch.")
    edits = edits_of(Stream.of(model, subject.decoder, torch.as_tensor(subject.ids)))  # its blocks are known by now
    try:
        reduced = {one.statistic.name: one.reduced(dtype) for one in results}
    except NotFiniteError as error:
        error.edits = edits
        raise
    return Measurement(reduced, subject.attached, edits)


def _require_names(statistics: Sequence[Statistic]) -> None:
    names = [statistic.name for statistic in statistics]
    if not names:
        raise MeasureError("there is no statistic to measure", "name one, e.g. statistics=(Magnitudes(),)")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise MeasureError(f"two statistics are called {twice[0]}", "give each a name of its own")


def _run(subject: Subject, results: Sequence[_Results], at_once: int) -> None:
    """Run all sequences through the model. When memory runs out, run fewer at once."""
    decoder, (sequences, length) = subject.decoder, subject.ids.shape
    readers: dict[HookPoint, list[_Results]] = {}
    for one in results:
        for point in one.statistic.hooks:
            readers.setdefault(point, []).append(one)
    done = last = 0

    def receive(point: HookPoint, layer: int, tensor: Tensor) -> None:
        if tuple(tensor.shape[:2]) != (last - done, length):
            raise MeasureError(f"layer {layer} of {decoder.name} gives a tensor of shape {tuple(tensor.shape)}", _WHOLE)
        for one in readers[point]:
            if layer in one.layers:
                raise MeasureError(f"layer {layer} of {decoder.name} runs more than once in one pass", _WHOLE)
            one.take(point, layer, tensor, slice(done, last))

    with subject.observed(readers, receive) as ids:
        while done < sequences:
            for one in results:
                one.begin()
            last = min(done + at_once, sequences)
            if not _run_pass(subject, ids[done:last]):
                at_once = _fewer(at_once, length)
                continue
            for one in results:
                if len(one.layers) != decoder.n_layers:
                    raise MeasureError(f"only {len(one.layers)} of {decoder.n_layers} blocks were reached", _WHOLE)
            done = last


@dataclass
class _Results:
    """The results of one statistic for all sequences and layers, in arrays allocated before the first block runs.

    Small tensors allocated after each block, and kept, would pin the memory of the large ones freed around them.
    The arrays are on the model's device; on the host they are numpy arrays.
    """

    statistic: Statistic
    arrays: Mapping[str, Any]
    n_heads: int
    layers: set[int] = field(default_factory=set)
    waiting: dict[int, dict[HookPoint, Tensor]] = field(default_factory=dict)

    @classmethod
    def of(cls, statistic: Statistic, subject: Subject) -> _Results:
        n_heads = getattr(subject.decoder.config, "num_attention_heads", 0)
        n_heads = n_heads if isinstance(n_heads, int) else 0
        sizes = {"sequence": len(subject.ids), "layer": subject.decoder.n_layers, "head": n_heads}
        if not set(statistic.axes) <= set(sizes) or statistic.axes[:2] != ("sequence", "layer"):
            raise MeasureError(
                f"{statistic.name} has the axes {', '.join(statistic.axes)}", "give sequence, layer and perhaps head"
            )
        if "head" in statistic.axes and not n_heads:
            raise MeasureError(
                f"{subject.decoder.name} states no number of attention heads, which {statistic.name} needs",
                "leave this statistic out for this model",
            )
        arrays: dict[str, Any] = {}
        for name, array in statistic.arrays.items():
            shape = (*(sizes[axis] for axis in statistic.axes), *((array.ranks,) if array.ranks else ()))
            arrays[name] = (
                np.empty(shape, dtype=array.dtype)
                if subject.device.type == "cpu"
                else torch.empty(shape, dtype=getattr(torch, array.dtype), device=subject.device)
            )
        return cls(statistic, arrays, n_heads)

    def begin(self) -> None:
        """Forget the previous pass, which may have run out of memory."""
        self.layers.clear()
        self.waiting.clear()

    def take(self, point: HookPoint, layer: int, tensor: Tensor, sequences: slice) -> None:
        """Reduce a block once all of its tensors have been read. Does not wait for the device."""
        tensors = {point: tensor}
        if len(self.statistic.hooks) > 1:
            tensors = self.waiting.setdefault(layer, {}) | tensors
            if len(tensors) < len(self.statistic.hooks):
                self.waiting[layer][point] = (
                    tensor.detach().clone()
                )  # the model may overwrite it before the last one is read
                return
            del self.waiting[layer]
        reduced = self.statistic.reduce(Block(layer, tensors, self.n_heads))
        for name, array in self.arrays.items():
            value = reduced[name]
            array[sequences, layer] = value.numpy() if isinstance(array, ndarray) else value
        self.layers.add(layer)

    def reduced(self, dtype: str) -> Reduced:
        """All arrays, on the host. Waits for the device."""
        arrays = {name: a if isinstance(a, ndarray) else a.cpu().numpy() for name, a in self.arrays.items()}
        bad = [places[0] for array in arrays.values() if len(places := np.argwhere(~np.isfinite(array)))]
        if bad:
            sequence, layer = min((int(place[0]), int(place[1])) for place in bad)
            raise NotFiniteError(
                f"sequence {sequence}: layer {layer} holds NaN or infinite values in {dtype}",
                "the weights themselves overflow: leave this checkpoint out"
                if dtype == "float32"
                else "measure this checkpoint in float32",
            )
        return Reduced(self.statistic, arrays)


def _run_pass(subject: Subject, tokens: Int[Tensor, "sequence position"]) -> bool:
    """Run the block stack; False when memory ran out."""
    try:
        subject.decoder.run(tokens)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
    else:
        return True
    if tokens.device.type == "cuda":
        torch.cuda.empty_cache()
    return False


def _fewer(at_once: int, length: int) -> int:
    if at_once == 1:
        raise no_room(length)
    log.warning(
        "out of memory with %d sequences at once: trying %d, which gives the same numbers", at_once, at_once // 2
    )
    return at_once // 2
