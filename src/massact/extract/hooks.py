"""Attach to a loaded model: tensors of every block handed on while it runs, by a bridge's hook points or forward hooks.

Nothing here knows what becomes of a tensor; `massact.extract.measurement` reduces them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from numpy import ndarray
from torch import Tensor, nn

from massact.errors import MeasureError, OutOfMemoryError
from massact.extract.blocks import Decoder, Layout, decoder_of, hooked, is_bridge, layout_of
from massact.extract.conditions import measuring, running_device
from massact.extract.context import require_positions
from massact.extract.protocol import BRIDGE, PLAIN_HOOKS
from massact.extract.statistic import BLOCK_OUTPUT, HookPoint
from massact.extract.token_ids import token_ids
from massact.extract.wrappers import inside
from massact.host import out_of_memory

# Short sequences go through together, up to this many tokens: more gains nothing on two cores and takes memory.
TOKENS_AT_ONCE = 2048
# What TransformerLens puts between a module's name and those of its parts.
_WRAPPED = "_original_component."

# (hook point, layer, tensor): a tensor is (sequence, position, width).
Receiver = Callable[[HookPoint, int, Tensor], None]


@dataclass(frozen=True)
class Subject:
    """A model, and ids that it can take, held to each other.

    Attributes
    ----------
    ids : int64 (sequence, position)
    device
        Where its input goes.
    """

    model: Any
    decoder: Decoder
    ids: Int64[ndarray, "sequence position"]
    device: torch.device

    @classmethod
    def of(cls, model: Any, tokens: Any) -> Subject:
        """Find the decoder in a model, and see that the tokens are ids of its own and fit its positions.

        Raises
        ------
        MeasureError
            When they are not or do not, or when the model has no weights or is no decoder.
        """
        decoder = decoder_of(model if is_bridge(model) else inside(model))
        ids = token_ids(tokens)
        if int(ids.max()) >= decoder.vocabulary:
            raise MeasureError(
                f"token {int(ids.max())} is not among the model's {decoder.vocabulary}",
                "take the model's own tokenizer",
            )
        require_positions(decoder.name, decoder.config, decoder.module, ids.shape[1])
        device = running_device(decoder.module)
        if device is None:
            raise MeasureError(f"{decoder.name} is on the meta device: its weights have no values", "load them")
        return cls(model, decoder, ids, device)

    @property
    def attached(self) -> str:
        """How its blocks are read."""
        return BRIDGE if is_bridge(self.model) else PLAIN_HOOKS

    @contextmanager
    def observed(self, points: Collection[HookPoint], receive: Receiver) -> Iterator[Int[Tensor, "sequence position"]]:
        """Call `receive` with every block's tensors at these points while the context is open; the ids, on the device.

        The model is in the conditions of a measurement meanwhile (`massact.extract.conditions`), and as it was
        afterwards.

        Raises
        ------
        MeasureError
            When the blocks cannot be found, or one has no such part.
        OutOfMemoryError
            When one sequence does not fit.
        """
        with measuring(self.decoder.module, self.device), ExitStack() as stack:
            placed = torch.from_numpy(self.ids).to(self.device)
            layout = None if is_bridge(self.model) else _layout(self.decoder, placed)
            blocks: Any = self.model.blocks if layout is None else self.decoder.module.get_submodule(layout.path)
            for point in points:
                if point != BLOCK_OUTPUT:
                    stack.enter_context(_hooked_parts(self.decoder, blocks, point, layout, receive))
                elif layout is None:
                    stack.enter_context(_bridged(self.model, self.decoder, receive))
                else:
                    stack.enter_context(hooked(self.decoder, layout, partial(receive, BLOCK_OUTPUT)))
            yield placed


def block_outputs(model: Any, tokens: Any) -> list[Float[Tensor, "sequence position width"]]:
    """What every block gives, whole: for a few tokens only.

    Parameters
    ----------
    model, tokens
        As in `massact.extract.measure`, and run under the same conditions; all sequences go through together.

    Raises
    ------
    MeasureError
        As `massact.extract.measure`.
    """
    outputs: dict[int, Tensor] = {}

    def keep(point: HookPoint, layer: int, hidden: Tensor) -> None:
        outputs[layer] = hidden.detach().clone()

    subject = Subject.of(model, tokens)
    with subject.observed([BLOCK_OUTPUT], keep) as ids:
        subject.decoder.run(ids)
    return [outputs[layer] for layer in sorted(outputs)]


def sequences_per_pass(subject: Subject, asked: int | None) -> int:
    """How many sequences go through the model together: as many as hold 2,048 tokens, at least one, unless asked for.

    Raises
    ------
    MeasureError
        When what is asked for is no whole number from 1 on.
    """
    if asked is not None and (not isinstance(asked, int | np.integer) or asked is True or asked < 1):
        raise MeasureError(f"sequences_at_once = {asked!r}", "give a whole number from 1 on, or None")
    sequences, length = subject.ids.shape
    return min(int(asked or max(1, TOKENS_AT_ONCE // length)), sequences)


def no_room(length: int) -> OutOfMemoryError:
    """The error for a sequence that does not fit."""
    return OutOfMemoryError(
        f"one sequence of {length} tokens does not fit into memory",
        "take protocol.dtype=bfloat16, a shorter probe.length or another machine",
    )


def _layout(decoder: Decoder, tokens: Int[Tensor, "sequence position"]) -> Layout:
    try:
        return layout_of(decoder, tokens)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise no_room(tokens.shape[1]) from None


@contextmanager
def _bridged(model: Any, decoder: Decoder, receive: Receiver) -> Iterator[None]:
    """Every block's output by the bridge's own hook points."""

    def hook(layer: int) -> Callable[..., None]:
        return lambda tensor, hook: receive(BLOCK_OUTPUT, layer, tensor)

    points = [(f"blocks.{layer}.hook_resid_post", hook(layer)) for layer in range(decoder.n_layers)]
    with model.hooks(fwd_hooks=points):
        yield


@contextmanager
def _hooked_parts(
    decoder: Decoder, blocks: Any, point: HookPoint, layout: Layout | None, receive: Receiver
) -> Iterator[None]:
    """What a part of every block takes or gives, by forward hooks; a bridge keeps the model's own parts inside."""

    def hand_on(layer: int, values: Any) -> None:
        tensor = next((value for value in values if isinstance(value, Tensor)), None)
        if tensor is None or tensor.ndim != 3 or not tensor.is_floating_point():
            given = type(values).__name__ if tensor is None else f"a tensor of shape {tuple(tensor.shape)}"
            raise MeasureError(
                f"layer {layer} of {decoder.name}: {point} is {given}, not (sequence, position, width)",
                "leave this statistic out for this model",
            )
        receive(point, layer, tensor.transpose(0, 1) if layout is not None and layout.position_first else tensor)

    def taken(layer: int) -> Callable[..., None]:
        return lambda module, args, named: hand_on(layer, (*args, *named.values()))

    def given(layer: int) -> Callable[..., None]:
        return lambda module, args, output: hand_on(layer, output if isinstance(output, tuple | list) else (output,))

    with ExitStack() as stack:
        for layer, block in enumerate(blocks):
            part = _part(decoder, layer, block, point)
            if point.side == "input":
                handle = part.register_forward_pre_hook(taken(layer), with_kwargs=True)
            else:
                handle = part.register_forward_hook(given(layer))
            stack.callback(handle.remove)
        yield


def _part(decoder: Decoder, layer: int, block: nn.Module, point: HookPoint) -> nn.Module:
    if not point.parts:
        return block
    parts: dict[str, nn.Module] = {}
    for name, module in block.named_modules():  # the outermost of what a bridge wraps comes first
        parts.setdefault(f"{name}.".replace(_WRAPPED, "").removesuffix("."), module)
    for name in point.parts:
        if name in parts:
            return parts[name]
    raise MeasureError(
        f"layer {layer} of {decoder.name} has no {' or '.join(point.parts)}",
        "name the part as this class does, in the statistic's hook points",
    )
