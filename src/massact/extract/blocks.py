"""Find the blocks of a model, and check that their outputs are the residual stream.

Definition: the residual stream after block l is what block l passes to block l + 1, before any final norm. It is the
block's own output, even if the block ends in a norm (OPT-350m, OLMo 2). Hugging Face's `output_hidden_states` has the
same tensors for all blocks but the last, whose state it takes after the final norm. A class has no such output if its
blocks run more than once in a pass, keep several streams, or are split into separate lists (XLM).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from massact.errors import MeasureError
from massact.extract.wrappers import inside

_REMEDY = "pass a Hugging Face decoder whose blocks pass on a single residual stream, or a TransformerBridge"
# The trial run of a class has this many tokens, or a whole sequence if they do not suffice.
_FEW = 3

# (layer, output of its block (sequence, position, width)) -> its replacement, or None to leave it.
Call = Callable[[int, Tensor], Tensor | None]


@dataclass(frozen=True)
class Decoder:
    """The module that runs on token ids, without its unembedding, and its configuration."""

    module: nn.Module
    n_layers: int
    vocabulary: int
    config: Any

    @property
    def name(self) -> str:
        """The name of its class."""
        return type(self.module).__name__

    def run(self, tokens: Int[Tensor, "sequence position"], **options: Any) -> Any:
        """One forward pass without a key-value cache. Options that the class does not have are dropped."""
        known = _keywords(type(self.module))
        options["use_cache"] = False
        forward: Any = self.module.__dict__.get("_original_forward", self.module)  # without Accelerate's autocast
        return forward(tokens, **{name: value for name, value in options.items() if known is None or name in known})


@dataclass(frozen=True)
class Layout:
    """Which list of a decoder has its blocks, and whether they return (position, sequence, width), as XLNet's do."""

    path: str
    position_first: bool = False


def is_bridge(model: Any) -> bool:
    """Whether the model is a TransformerBridge. Does not import TransformerLens."""
    return hasattr(model, "original_model") and hasattr(model, "hooks")


def decoder_of(model: Any) -> Decoder:
    """The decoder in a plain model or a bridge.

    Raises
    ------
    MeasureError
        When its configuration does not state the number of blocks, or it is an encoder-decoder.
    """
    plain = model.original_model if is_bridge(model) else model
    config: Any = getattr(plain, "config", None)
    if hasattr(config, "get_text_config"):
        config = config.get_text_config()
    name = type(plain).__name__
    if getattr(config, "is_encoder_decoder", False):
        raise MeasureError(f"{name} is an encoder with a decoder: it has no single residual stream", _REMEDY)
    n_layers = getattr(config, "decoder_layers", None) or getattr(config, "num_hidden_layers", None)
    if not isinstance(n_layers, int) or not isinstance(plain, nn.Module):
        raise MeasureError(f"{name} has no configuration that states its number of blocks", _REMEDY)
    return Decoder(inside(getattr(plain, "base_model", plain)), n_layers, int(config.vocab_size), config)


_layouts: dict[tuple[type, int], Layout] = {}


def layout_of(decoder: Decoder, tokens: Int[Tensor, "sequence position"]) -> Layout:
    """Which list has the decoder's blocks. It is found once for each class, by a forward pass over a few tokens.

    In that pass each block must run once and return a hidden state (sequence, position, width). It must equal the
    hidden state that the class returns for the block. If the class returns none, it must be the next block's input.

    Raises
    ------
    MeasureError
        When no list of blocks meets these conditions.
    """
    key = (type(decoder.module), decoder.n_layers)
    if key not in _layouts:
        few = tokens[:1, :_FEW] if tokens.shape[1] > 1 else tokens[:2]
        try:
            _layouts[key] = _tried(decoder, few)
        except Exception:  # the user's hooks may need a whole sequence
            if few.shape[1] == tokens.shape[1]:
                raise
            _layouts[key] = _tried(decoder, tokens[:1])
    return _layouts[key]


@contextmanager
def hooked(decoder: Decoder, layout: Layout, calls: Mapping[int, Call]) -> Iterator[None]:
    """Call `calls[layer](layer, hidden)` with the outputs (sequence, position, width) of these blocks in the context.

    A tensor that the call returns replaces the output; None leaves it.
    """

    def hook(layer: int, call: Call) -> Callable[..., Any]:
        def forward_hook(module: nn.Module, args: Any, output: Any) -> Any:
            hidden = _hidden(decoder, layer, output)
            new = call(layer, hidden.transpose(0, 1) if layout.position_first else hidden)
            return None if new is None else _with_hidden(output, new.transpose(0, 1) if layout.position_first else new)

        return marked(forward_hook, call)

    blocks: Any = decoder.module.get_submodule(layout.path)
    handles = [blocks[layer].register_forward_hook(hook(layer, call)) for layer, call in calls.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def marked(hook: Callable[..., Any], call: Call) -> Callable[..., Any]:
    """A hook that states what it calls, for `calls_on`. It is a plain function, so that copies of a model share it."""
    vars(hook)["call"] = call
    return hook


def calls_on(block: nn.Module) -> list[Call]:
    """What the hooks on a block's output call that `hooked` or a bridge's hook point holds, in the order they run."""
    point = getattr(block, "hook_out", None)  # of a bridge's block
    bridged = [getattr(handle, "user_hook", None) for handle in getattr(point, "fwd_hooks", ())]
    hooks = [*bridged, *block._forward_hooks.values()]
    return [vars(hook)["call"] for hook in hooks if "call" in getattr(hook, "__dict__", ())]


@cache
def _keywords(kind: type[nn.Module]) -> frozenset[str] | None:
    """The keyword arguments of a class's `forward`; None if it accepts any."""
    parameters = inspect.signature(kind.forward).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return frozenset(parameter.name for parameter in parameters)


def _hidden(decoder: Decoder, layer: int, output: Any) -> Float[Tensor, "..."]:
    """The hidden state in a block's return value: the tensor itself, or the first element of a tuple or list."""
    hidden = output if isinstance(output, Tensor) else output[0] if isinstance(output, tuple | list) else None
    if not isinstance(hidden, Tensor) or hidden.ndim != 3 or not hidden.is_floating_point():
        kind = f"a tensor of shape {tuple(hidden.shape)}" if isinstance(hidden, Tensor) else type(output).__name__
        raise MeasureError(
            f"layer {layer} of {decoder.name} gives {kind}, not a hidden state (sequence, position, width)", _REMEDY
        )
    return hidden


def _with_hidden(output: Any, hidden: Tensor) -> Any:
    """A block's return value with another hidden state."""
    if isinstance(output, Tensor):
        return hidden
    if hasattr(output, "_replace"):  # a named tuple
        return output._replace(**{output._fields[0]: hidden})
    return type(output)([hidden, *output[1:]])


def _tried(decoder: Decoder, tokens: Int[Tensor, "sequence position"]) -> Layout:
    """The layout for which the blocks' outputs are the hidden states that the decoder returns."""
    lists = {path: [_Run() for _ in range(decoder.n_layers)] for path in _candidates(decoder)}
    handles = []
    for path, runs in lists.items():
        blocks: Any = decoder.module.get_submodule(path)
        for block, run in zip(blocks, runs, strict=True):
            handles += [
                block.register_forward_pre_hook(run.enter, with_kwargs=True),
                block.register_forward_hook(run.leave),
            ]
    try:
        with _hooks_kept(decoder.module):
            result = decoder.run(tokens, output_hidden_states=True, return_dict=True)
    except (TypeError, ValueError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MeasureError(f"{decoder.name} does not run on token ids alone ({first})", _REMEDY) from None
    finally:
        for handle in handles:
            handle.remove()
    stated = getattr(result, "hidden_states", None)
    refusals: list[MeasureError] = []
    for path, runs in lists.items():
        try:
            return Layout(path, _position_first(decoder, runs, stated, tokens))
        except MeasureError as error:
            refusals.append(error)
    raise refusals[0]


@contextmanager
def _hooks_kept(module: nn.Module) -> Iterator[None]:
    """Remove, after the context, the hooks by which transformers collects hidden states, and its mark for them."""
    mark = "_output_capturing_hooks_installed"
    before = {part: (set(part._forward_hooks), mark in vars(part)) for part in module.modules()}
    try:
        yield
    finally:
        for part, (hooks, marked) in before.items():
            for added in set(part._forward_hooks) - hooks:
                del part._forward_hooks[added]
            if not marked:
                vars(part).pop(mark, None)


class _Run:
    """The inputs and outputs of one block in a pass."""

    def __init__(self) -> None:
        self.taken: list[Tensor] = []
        self.given: list[Any] = []

    def enter(self, module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Keep the input tensors."""
        self.taken += [value.clone() for value in (*args, *named.values()) if isinstance(value, Tensor)]

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        """Keep the output."""
        self.given.append(output)


def _candidates(decoder: Decoder) -> list[str]:
    """Paths of the lists with as many modules as there are blocks, outermost lists first."""
    paths: list[str] = []
    level = list(decoder.module.named_children())
    while level:
        below: list[tuple[str, nn.Module]] = []
        for path, module in level:
            if isinstance(module, nn.ModuleList | nn.Sequential) and len(module) == decoder.n_layers:
                paths.append(path)
            else:
                below += [(f"{path}.{name}", child) for name, child in module.named_children()]
        level = below
    if not paths:
        raise MeasureError(f"no list of {decoder.n_layers} blocks was found in {decoder.name}", _REMEDY)
    return paths


def _position_first(decoder: Decoder, runs: list[_Run], stated: Any, tokens: Int[Tensor, "sequence position"]) -> bool:
    """Whether blocks return (position, sequence, width). Checks their outputs against the decoder's hidden states."""
    for layer, run in enumerate(runs):
        if len(run.given) != 1:
            raise MeasureError(f"layer {layer} of {decoder.name} runs {len(run.given)} times in one pass", _REMEDY)
    hidden = [_hidden(decoder, layer, run.given[0]) for layer, run in enumerate(runs)]
    sequences, positions = tokens.shape
    for layer, tensor in enumerate(hidden):
        if tensor.shape != hidden[0].shape or tuple(tensor.shape[:2]) not in (
            (sequences, positions),
            (positions, sequences),
        ):
            raise MeasureError(
                f"layer {layer} of {decoder.name} gives a tensor of shape {tuple(tensor.shape)} for {sequences} x "
                f"{positions} tokens, not a hidden state (sequence, position, width)",
                _REMEDY,
            )
    position_first = tuple(hidden[0].shape[:2]) != (sequences, positions)
    if stated is None:
        wrong = [layer for layer, run in enumerate(runs[1:]) if not any(same(hidden[layer], t) for t in run.taken)]
    else:
        wrong = _unlike(decoder, [tensor.transpose(0, 1) if position_first else tensor for tensor in hidden], stated)
    if wrong:
        raise MeasureError(
            f"the output of layer {wrong[0]} of {decoder.name} is not the residual stream: "
            + ("the next layer has a different input" if stated is None else "the class reports a different one"),
            _REMEDY,
        )
    return position_first


def _unlike(decoder: Decoder, hidden: list[Tensor], stated: Any) -> list[int]:
    """Layers whose outputs are not the hidden states that the class returns.

    Most classes return the embeddings, then the output of each block but the last, then the final norm's output.
    Mamba's and RWKV's return the output of each block, then the final norm's.
    """
    n = decoder.n_layers
    if len(stated) != n + 1:
        raise MeasureError(
            f"{decoder.name} returns {len(stated)} hidden states for {n} layers: its blocks cannot be identified",
            _REMEDY,
        )
    different = [layer for layer in range(n - 1) if not same(hidden[layer], stated[layer + 1])]
    return different if different and not all(same(hidden[layer], stated[layer]) for layer in range(n)) else []


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal to the last bit. NaN equals NaN."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return one is other or torch.allclose(one, other.to(one.device), rtol=0, atol=0, equal_nan=True)
