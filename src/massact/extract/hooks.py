"""Attach to a loaded model: pass on tensors of every block while it runs, by a bridge's hook points or forward hooks.

This module does not know what the tensors are used for. `massact.extract.measurement` reduces them, and
`massact.extract.edits` replaces them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from numpy import ndarray
from torch import Tensor, nn

from massact.errors import MeasureError, OutOfMemoryError
from massact.extract.blocks import Call, Decoder, Layout, decoder_of, hooked, is_bridge, layout_of, marked
from massact.extract.conditions import measuring, running_device
from massact.extract.context import require_positions
from massact.extract.protocol import BRIDGE, PLAIN_HOOKS
from massact.extract.statistic import BLOCK_OUTPUT, HookPoint
from massact.extract.token_ids import token_ids
from massact.extract.wrappers import inside
from massact.host import out_of_memory

# Short sequences are batched up to this many tokens. Larger batches are no faster on two cores and take memory.
TOKENS_AT_ONCE = 2048
# TransformerLens inserts this between the name of a module and the names of its parts.
_WRAPPED = "_original_component."

# (hook point, layer, tensor): a tensor is (sequence, position, width).
Receiver = Callable[[HookPoint, int, Tensor], None]


@dataclass(frozen=True)
class Subject:
    """A model and the token ids that it is run on, checked against each other.

    Attributes
    ----------
    ids : int64 (sequence, position)
    device
        The device that takes the model's input.
    """

    model: Any
    decoder: Decoder
    ids: Int64[ndarray, "sequence position"]
    device: torch.device

    @classmethod
    def of(cls, model: Any, tokens: Any) -> Subject:
        """Find the decoder in a model, and check the tokens against its vocabulary and its number of positions.

        Raises
        ------
        MeasureError
            When a token is not in the vocabulary, the sequences are too long, or the model has no weights or is not a
            decoder.
        """
        decoder = decoder_in(model)
        ids = token_ids(tokens)
        if int(ids.max()) >= decoder.vocabulary:
            raise MeasureError(
                f"token {int(ids.max())} is not in the model's vocabulary of {decoder.vocabulary}",
                "use the model's own tokenizer",
            )
        require_positions(decoder.name, decoder.config, decoder.module, ids.shape[1])
        return cls(model, decoder, ids, device_of(decoder))

    @property
    def attached(self) -> str:
        """How the blocks are read."""
        return BRIDGE if is_bridge(self.model) else PLAIN_HOOKS

    @contextmanager
    def observed(
        self, points: Collection[HookPoint], receive: Receiver
    ) -> Generator[Int[Tensor, "sequence position"], None, None]:
        """Call `receive` with every block's tensors at these points during the context. Yields the ids on the device.

        During the context the model is under the conditions of a measurement (`massact.extract.conditions`). Afterwards
        it is as it was before.

        Raises
        ------
        MeasureError
            When the blocks cannot be found, or a block lacks the part.
        OutOfMemoryError
            When one sequence does not fit into memory.
        """
        with measuring(self.decoder.module, self.device), ExitStack() as stack:
            placed = torch.as_tensor(self.ids).to(self.device)
            stream = Stream.of(self.model, self.decoder, placed)
            for point in points:
                if point == BLOCK_OUTPUT:
                    calls = {layer: partial(receive, point) for layer in range(self.decoder.n_layers)}
                    stack.enter_context(stream.hooked(calls))
                else:
                    stack.enter_context(_hooked_parts(self.decoder, stream.blocks, point, stream.layout, receive))
            yield placed


@dataclass(frozen=True)
class Stream:
    """Where the outputs of a model's blocks are read and replaced. `layout` is None for a bridge."""

    model: Any
    decoder: Decoder
    layout: Layout | None

    @classmethod
    def of(cls, model: Any, decoder: Decoder, tokens: Int[Tensor, "sequence position"]) -> Stream:
        """Find the blocks of a plain model, with these tokens where its class has not been run before.

        Raises
        ------
        MeasureError
            When the blocks cannot be found.
        """
        return cls(model, decoder, None if is_bridge(model) else _layout(decoder, tokens))

    @property
    def blocks(self) -> Any:
        """The blocks, in the order of their layers."""
        return self.model.blocks if self.layout is None else self.decoder.module.get_submodule(self.layout.path)

    @contextmanager
    def hooked(self, calls: Mapping[int, Call]) -> Generator[None, None, None]:
        """Call `calls[layer](layer, hidden)` with the outputs of these blocks during the context.

        A tensor that the call returns replaces the output; None leaves it. Calls of a later context come later, and see
        what earlier ones returned.
        """
        if self.layout is None:
            with _bridged(self.model, calls):
                yield
        else:
            with hooked(self.decoder, self.layout, calls):
                yield


def decoder_in(model: Any) -> Decoder:
    """The decoder in a bridge, or in a plain model inside any wrappers."""
    return decoder_of(model if is_bridge(model) else inside(model))


def device_of(decoder: Decoder) -> torch.device:
    """The device that takes the model's input.

    Raises
    ------
    MeasureError
        When the model has no weights.
    """
    device = running_device(decoder.module)
    if device is None:
        raise MeasureError(f"{decoder.name} is on the meta device: its weights have no values", "load them")
    return device


def block_outputs(model: Any, tokens: Any) -> list[Float[Tensor, "sequence position width"]]:
    """The full output of every block. Keeps all of it in memory, so use it on a few tokens only.

    Parameters
    ----------
    model, tokens
        As in `massact.extract.measure`, and under the same conditions. All sequences are one batch.

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


def sequences_per_pass(subject: Subject, asked: Any) -> int:
    """How many sequences go through the model together.

    Parameters
    ----------
    asked : int or None
        The user's number; None: as many sequences as hold 2,048 tokens, at least one.

    Raises
    ------
    MeasureError
        When the user's number is not a positive integer.
    """
    if asked is not None and not _is_positive(asked):
        raise MeasureError(f"sequences_at_once = {asked!r}", "give a whole number from 1 on, or None")
    sequences, length = subject.ids.shape
    return min(int(asked or max(1, TOKENS_AT_ONCE // length)), sequences)


def _is_positive(number: Any) -> bool:
    return isinstance(number, int | np.integer) and number is not True and bool(number >= 1)


def no_room(length: int) -> OutOfMemoryError:
    """The error for a sequence that does not fit."""
    return OutOfMemoryError(
        f"one sequence of {length} tokens does not fit into memory",
        "use protocol.dtype=bfloat16, a shorter probe.length or another machine",
    )


def _layout(decoder: Decoder, tokens: Int[Tensor, "sequence position"]) -> Layout:
    try:
        return layout_of(decoder, tokens)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise no_room(tokens.shape[1]) from None


@contextmanager
def _bridged(model: Any, calls: Mapping[int, Call]) -> Generator[None, None, None]:
    """Hook the outputs of blocks by the bridge's own hook points."""

    def forward_hook(layer: int, call: Call) -> Callable[..., Tensor | None]:
        def hook_output(tensor: Tensor, hook: Any) -> Tensor | None:
            return call(layer, tensor)

        return marked(hook_output, call)

    points = [(f"blocks.{layer}.hook_resid_post", forward_hook(layer, call)) for layer, call in calls.items()]
    with model.hooks(fwd_hooks=points):
        yield


@contextmanager
def _hooked_parts(
    decoder: Decoder, blocks: Any, point: HookPoint, layout: Layout | None, receive: Receiver
) -> Generator[None, None, None]:
    """Receive the input or output of a part of every block, by forward hooks. A bridge contains the model's parts."""

    def hand_on(layer: int, values: Iterable[Any]) -> None:
        tensor = next((value for value in values if isinstance(value, Tensor)), None)
        if tensor is None or tensor.ndim != 3 or not tensor.is_floating_point():
            kind = type(values).__name__ if tensor is None else f"a tensor of shape {tuple(tensor.shape)}"
            raise MeasureError(
                f"layer {layer} of {decoder.name}: {point} is {kind}, not (sequence, position, width)",
                "leave this statistic out for this model",
            )
        receive(point, layer, tensor.transpose(0, 1) if layout is not None and layout.position_first else tensor)

    def input_hook(layer: int) -> Callable[..., None]:
        def call(module: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            hand_on(layer, (*args, *keywords.values()))

        return call

    def output_hook(layer: int) -> Callable[..., None]:
        def call(module: nn.Module, args: Any, output: Any) -> None:
            values = cast("Iterable[Any]", output) if isinstance(output, tuple | list) else (output,)
            hand_on(layer, values)

        return call

    with ExitStack() as stack:
        for layer, block in enumerate(blocks):
            part = _part(decoder, layer, block, point)
            if point.side == "input":
                handle = part.register_forward_pre_hook(input_hook(layer), with_kwargs=True)
            else:
                handle = part.register_forward_hook(output_hook(layer))
            stack.callback(handle.remove)
        yield


def _part(decoder: Decoder, layer: int, block: nn.Module, point: HookPoint) -> nn.Module:
    if not point.parts:
        return block
    parts: dict[str, nn.Module] = {}
    untyped: Any = block  # torch's annotations of `named_modules` are incomplete
    for name, module in untyped.named_modules():  # of a part that a bridge wraps, the wrapper comes first
        parts.setdefault(f"{name}.".replace(_WRAPPED, "").removesuffix("."), module)
    for name in point.parts:
        if name in parts:
            return parts[name]
    raise MeasureError(
        f"layer {layer} of {decoder.name} has no {' or '.join(point.parts)}",
        "name the part as this class does, in the statistic's hook points",
    )
