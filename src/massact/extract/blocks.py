"""Where a model keeps its blocks, and whether what they give is the residual stream.

Agreed: the residual stream after block l is what block l hands to block l + 1, before any final norm. It is the block's
own output, also where the block ends in a norm (OPT-350m, OLMo-2's kin). For all blocks but the last, Hugging Face's
`output_hidden_states` gives the same tensors; the last of those is taken after the final norm. A class whose blocks run
more than once in a pass, keep several streams, or are split into separate lists (XLM) has no such output.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from massact.errors import MeasureError
from massact.extract.wrappers import inside

_REMEDY = "pass a Hugging Face decoder whose blocks hand on one residual stream, or a TransformerBridge"
# A class is tried on so many tokens; on a whole sequence where those do not suffice.
_FEW = 3

Receiver = Callable[[int, Tensor], None]


@dataclass(frozen=True)
class Decoder:
    """What is run on token ids, without its unembedding, and what its configuration says."""

    module: nn.Module
    n_layers: int
    vocabulary: int
    config: Any

    @property
    def name(self) -> str:
        """Its class."""
        return type(self.module).__name__

    def run(self, tokens: Int[Tensor, "sequence position"], **asked: Any) -> Any:
        """One pass without a cache of keys and values; of what is asked, the class is told what it knows."""
        known = _keywords(type(self.module))
        asked["use_cache"] = False
        forward: Any = self.module.__dict__.get("_original_forward", self.module)  # without Accelerate's autocast
        return forward(tokens, **{name: value for name, value in asked.items() if known is None or name in known})


@dataclass(frozen=True)
class Layout:
    """Which list of a decoder holds its blocks, and whether they give (position, sequence, width), as XLNet's do."""

    path: str
    position_first: bool = False


def is_bridge(model: Any) -> bool:
    """Whether the model is a TransformerBridge, told without importing TransformerLens."""
    return hasattr(model, "original_model") and hasattr(model, "hooks")


def decoder_of(model: Any) -> Decoder:
    """The decoder in a plain model or a bridge.

    Raises
    ------
    MeasureError
        When there is no configuration that says how many blocks it has, or it is an encoder-decoder.
    """
    plain = model.original_model if is_bridge(model) else model
    config: Any = getattr(plain, "config", None)
    if hasattr(config, "get_text_config"):
        config = config.get_text_config()
    name = type(plain).__name__
    if getattr(config, "is_encoder_decoder", False):
        raise MeasureError(f"{name} is an encoder with a decoder: it has no one residual stream", _REMEDY)
    n_layers = getattr(config, "decoder_layers", None) or getattr(config, "num_hidden_layers", None)
    if not isinstance(n_layers, int) or not isinstance(plain, nn.Module):
        raise MeasureError(f"{name} has no configuration that says how many blocks it has", _REMEDY)
    return Decoder(inside(getattr(plain, "base_model", plain)), n_layers, int(config.vocab_size), config)


_layouts: dict[tuple[type, int], Layout] = {}


def layout_of(decoder: Decoder, tokens: Int[Tensor, "sequence position"]) -> Layout:
    """Where the decoder keeps its blocks: found once for a class, by a pass over a few of the tokens.

    In that pass each block must run once and give a hidden state of (sequence, position, width), equal to the one that
    the class itself states for it; of a class that states none, it must be what the next block takes.

    Raises
    ------
    MeasureError
        When no list of blocks is of that kind.
    """
    key = (type(decoder.module), decoder.n_layers)
    if key not in _layouts:
        few = tokens[:1, :_FEW] if tokens.shape[1] > 1 else tokens[:2]
        try:
            _layouts[key] = _tried(decoder, few)
        except Exception:  # hooks of the user's may need a whole sequence
            if few.shape[1] == tokens.shape[1]:
                raise
            _layouts[key] = _tried(decoder, tokens[:1])
    return _layouts[key]


@contextmanager
def hooked(decoder: Decoder, layout: Layout, receive: Receiver) -> Iterator[None]:
    """Call `receive(layer, hidden)` with every block's output, as (sequence, position, width), while it is open."""

    def hook(layer: int) -> Callable[..., None]:
        def forward_hook(module: nn.Module, args: Any, output: Any) -> None:
            hidden = _hidden(decoder, layer, output)
            receive(layer, hidden.transpose(0, 1) if layout.position_first else hidden)

        return forward_hook

    blocks: Any = decoder.module.get_submodule(layout.path)
    handles = [block.register_forward_hook(hook(layer)) for layer, block in enumerate(blocks)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@cache
def _keywords(kind: type[nn.Module]) -> frozenset[str] | None:
    """Names of the arguments that a class's forward takes; None: any."""
    parameters = inspect.signature(kind.forward).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return frozenset(parameter.name for parameter in parameters)


def _hidden(decoder: Decoder, layer: int, output: Any) -> Float[Tensor, "..."]:
    """The hidden state in what a block returns: the tensor itself, or the first of several things."""
    hidden = output if isinstance(output, Tensor) else output[0] if isinstance(output, tuple | list) else None
    if not isinstance(hidden, Tensor) or hidden.ndim != 3 or not hidden.is_floating_point():
        found = f"a tensor of shape {tuple(hidden.shape)}" if isinstance(hidden, Tensor) else type(output).__name__
        raise MeasureError(
            f"layer {layer} of {decoder.name} gives {found}, no hidden state (sequence, position, width)", _REMEDY
        )
    return hidden


def _tried(decoder: Decoder, tokens: Int[Tensor, "sequence position"]) -> Layout:
    """The layout by which the decoder gives what it states itself."""
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
    """Remove the hooks with which transformers collects hidden states, and its mark that they are there."""
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
    """What one block took and gave in a pass."""

    def __init__(self) -> None:
        self.taken: list[Tensor] = []
        self.given: list[Any] = []

    def enter(self, module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Keep the tensors it takes."""
        self.taken += [value.clone() for value in (*args, *named.values()) if isinstance(value, Tensor)]

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        """Keep what it gives."""
        self.given.append(output)


def _candidates(decoder: Decoder) -> list[str]:
    """Paths of the lists that hold as many modules as there are blocks, those nearest to the decoder first."""
    found: list[str] = []
    level = list(decoder.module.named_children())
    while level:
        below: list[tuple[str, nn.Module]] = []
        for path, module in level:
            if isinstance(module, nn.ModuleList | nn.Sequential) and len(module) == decoder.n_layers:
                found.append(path)
            else:
                below += [(f"{path}.{name}", child) for name, child in module.named_children()]
        level = below
    if not found:
        raise MeasureError(f"no list of {decoder.n_layers} blocks was found in {decoder.name}", _REMEDY)
    return found


def _position_first(decoder: Decoder, runs: list[_Run], stated: Any, tokens: Int[Tensor, "sequence position"]) -> bool:
    """Whether blocks give (position, sequence, width), having held their outputs to what the decoder states."""
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
                f"{positions} tokens, no hidden state (sequence, position, width)",
                _REMEDY,
            )
    position_first = tuple(hidden[0].shape[:2]) != (sequences, positions)
    if stated is None:
        wrong = [layer for layer, run in enumerate(runs[1:]) if not any(same(hidden[layer], t) for t in run.taken)]
    else:
        wrong = _unlike(decoder, [tensor.transpose(0, 1) if position_first else tensor for tensor in hidden], stated)
    if wrong:
        raise MeasureError(
            f"what layer {wrong[0]} of {decoder.name} gives is not the residual stream: "
            + ("the next takes another" if stated is None else "the class states another"),
            _REMEDY,
        )
    return position_first


def _unlike(decoder: Decoder, hidden: list[Tensor], stated: Any) -> list[int]:
    """Layers whose outputs are not the hidden states that the class states.

    Most classes state the embeddings, then what each block but the last gives, then the normed end; Mamba's and RWKV's
    state what each block gives, then the normed end.
    """
    n = decoder.n_layers
    if len(stated) != n + 1:
        raise MeasureError(
            f"{decoder.name} states {len(stated)} hidden states for {n} layers, so its blocks cannot be told", _REMEDY
        )
    different = [layer for layer in range(n - 1) if not same(hidden[layer], stated[layer + 1])]
    return different if different and not all(same(hidden[layer], stated[layer]) for layer in range(n)) else []


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal to the last bit, NaN being equal to NaN."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return one is other or torch.allclose(one, other.to(one.device), rtol=0, atol=0, equal_nan=True)
