"""Edit the outputs of blocks while a model runs, and know under which edits a model is."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from massact.errors import MeasureError
from massact.extract.blocks import Decoder, calls_on
from massact.extract.conditions import measuring
from massact.extract.hooks import Stream, decoder_in, device_of

# (hidden state, layer) -> the hidden state that takes its place.
Edit = Callable[[Float[Tensor, "sequence position width"], int], Float[Tensor, "sequence position width"]]

# A class of model that was not run before is run on this many tokens, to find its blocks.
_FEW = 3
_numbers = itertools.count()


@contextmanager
def edited(model: Any, edits: Mapping[int, Edit], *, name: str = "") -> Generator[None, None, None]:
    """Replace the outputs of blocks during the context, in every forward pass of the model.

    The output of block l is what block l + 1 reads, and the final norm after the last block. Whatever comes later in
    the pass sees the edit: later blocks, logits, and gradients if the pass has them. `measure` within the context sees
    it too. At the edited layer itself, it measures the value after the edit.

    Contexts nest. At one layer, the edit of the inner context receives what that of the outer one returned. On exit,
    also by an exception, the hooks of the context are removed, and no others.

    Parameters
    ----------
    model
        A `TransformerBridge` or a Hugging Face decoder, as in `measure`. What torch.compile has compiled runs
        uncompiled during the context, because compiled code does not run hooks that were added later.
    edits
        Layer (0-based) -> `edit(hidden, layer)`. `hidden` is the block's output (sequence, position, width), a copy
        that the edit may change in place. The edit returns the replacement, of the same shape, dtype and device.
        `measure` may run the sequences in several passes: an edit that differs by sequence needs `sequences_at_once=1`,
        or all of them in one pass.
    name
        What the edits do, e.g. "zero (0, 507) after layer 11". A measurement states it. Only a measurement whose edits
        all have names can be stored, and only under a key that has the same names as its part `edits`.

    Raises
    ------
    MeasureError
        When the model has no such layer, an edit is not callable, or the blocks cannot be found. In a forward pass:
        when an edit returns anything but a tensor of the same shape, dtype and device.

    Examples
    --------
    >>> from massact import Architecture
    >>> from massact.extract import edited, measure
    >>> from massact.train import build_model
    >>> shape = Architecture(n_layers=2, d_model=16, n_heads=2, d_mlp=64, vocab_size=300, context=32)
    >>> model = build_model(shape, 0).eval()
    >>> def zero(hidden, layer):
    ...     hidden[:, 0, 5] = 0
    ...     return hidden
    >>> with edited(model, {1: zero}, name="zero (0, 5) after layer 1"):
    ...     measure(model, [[7, 8, 9]]).edits
    ('zero (0, 5) after layer 1',)
    """
    decoder = decoder_in(model)
    for layer, edit in edits.items():
        if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer < decoder.n_layers:
            raise MeasureError(
                f"{decoder.name} has no layer {layer!r} to edit", f"layers are 0 to {decoder.n_layers - 1}"
            )
        if not callable(edit):
            raise MeasureError(
                f"the edit of layer {layer} is {type(edit).__name__}, not callable", "give edit(hidden, layer)"
            )
    context = _Context(name)
    calls = {layer: _Replacement(decoder.name, edit, context) for layer, edit in edits.items()}
    with ExitStack() as stack:
        if calls:
            stack.enter_context(_stream(model, decoder).hooked(calls))
            if "torch._dynamo" in sys.modules:  # else nothing is compiled
                stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def edits_of(stream: Stream) -> tuple[str, ...]:
    """The names of the edits that a model is under, outermost first; empty strings for those without a name."""
    calls = [call for block in stream.blocks for call in calls_on(block)]
    contexts = {call.context.number: call.context for call in calls if isinstance(call, _Replacement)}
    return tuple(contexts[number].name for number in sorted(contexts))


@dataclass(frozen=True)
class _Context:
    """One use of `edited`; later ones have larger numbers."""

    name: str
    number: int = field(default_factory=_numbers.__next__)


@dataclass(frozen=True)
class _Replacement:
    """An edit whose result is checked."""

    decoder: str
    edit: Edit
    context: _Context

    def __call__(self, layer: int, hidden: Tensor) -> Tensor:
        given = _form(hidden)
        new: Any = self.edit(hidden.clone(), layer)
        if not isinstance(new, Tensor) or _form(new) != given:
            raise MeasureError(
                f"the edit of layer {layer} of {self.decoder} returned {_described(new)} in place of "
                f"{_described(hidden)}",
                "return a tensor of the same shape, dtype and device",
            )
        return new


def _stream(model: Any, decoder: Decoder) -> Stream:
    device = device_of(decoder)
    tokens = torch.arange(_FEW, device=device).clamp(max=decoder.vocabulary - 1)[None]
    with measuring(decoder.module, device):
        return Stream.of(model, decoder, tokens)


def _form(tensor: Tensor) -> tuple[torch.Size, torch.dtype, torch.device]:
    return tensor.shape, tensor.dtype, tensor.device


def _described(thing: Any) -> str:
    if not isinstance(thing, Tensor):
        return type(thing).__name__
    return f"{str(thing.dtype).removeprefix('torch.')} {tuple(thing.shape)} on {thing.device}"
