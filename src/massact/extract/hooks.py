"""Measure a loaded model: the reducer attached to every block, by bridge hook points or by forward hooks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from numpy import ndarray
from torch import Tensor

from massact.errors import MeasureError, NotFiniteError, OutOfMemoryError
from massact.extract.blocks import Decoder, Layout, Receiver, decoder_of, hooked, is_bridge, layout_of
from massact.extract.conditions import measuring, running_device
from massact.extract.context import require_positions
from massact.extract.protocol import BRIDGE, PLAIN_HOOKS, TOP_K, Measurement
from massact.extract.reduce import BlockReduction, reduce_block
from massact.extract.token_ids import token_ids
from massact.extract.wrappers import inside
from massact.host import out_of_memory

log = logging.getLogger("massact")
_WHOLE = "measure the whole decoder, whose blocks run once each"

# Short sequences go through together, up to this many tokens: more gains nothing on two cores and takes memory.
TOKENS_AT_ONCE = 2048


def measure(model: Any, tokens: Any, *, top_k: int = TOP_K, sequences_at_once: int | None = None) -> Measurement:
    """Measure |h| after every block; no hidden state outlives its block.

    What is measured after block l is what block l hands on, the residual stream before any final norm
    (`massact.extract.blocks`). It is measured in the number format of the weights: autocast, TF32, a default dtype and
    torch.compile are put aside for the time of the call, and so is training mode. The model is otherwise untouched.

    Parameters
    ----------
    model
        A `TransformerBridge` (read at `blocks.{l}.hook_resid_post`) or a Hugging Face decoder (read by forward
        hooks on its blocks), also inside DataParallel, torch.compile, PEFT and their like, and with weights that
        Accelerate has offloaded. The first model of a class is run on three tokens more, to find its blocks.
    tokens : int (sequence, position)
        Token ids, one row a sequence, all of one length: a tensor, an array, lists, or a tokenizer's encoding without
        padding.
    top_k
        How many of the largest magnitudes to keep; at most positions x width. Ties go to the lowest position, then
        the lowest dimension.
    sequences_at_once
        How many go through the model together; None: as many as hold 2,048 tokens, at least one. When memory runs
        out, half as many are tried, and the log says so. Each sequence is measured by itself either way.

    Returns
    -------
    Measurement
        float32 magnitudes and int32 places, on the host.

    Raises
    ------
    NotFiniteError
        NaN or infinite hidden states: the first sequence and layer with one are named.
    OutOfMemoryError
        When even one sequence does not fit.
    MeasureError
        Tokens that are no ids of the model or longer than its table of positions, `top_k` or `sequences_at_once` out of
        range, a model without weights, or one whose blocks cannot be found or hand on no residual stream.
    """
    bridged = is_bridge(model)
    decoder = decoder_of(model if bridged else inside(model))
    ids, device, at_once = _asked(decoder, tokens, sequences_at_once)
    kept = _Kept.of(ids, device, decoder.n_layers, top_k)
    done = 0

    def keep(layer: int, hidden: Tensor) -> None:
        if layer in kept.layers:
            raise MeasureError(f"layer {layer} of {decoder.name} runs more than once in one pass", _WHOLE)
        if tuple(hidden.shape[:2]) != (last - done, ids.shape[1]):
            raise MeasureError(f"layer {layer} of {decoder.name} gives a tensor of shape {tuple(hidden.shape)}", _WHOLE)
        kept.put(layer, slice(done, last), reduce_block(hidden, top_k))

    with measuring(decoder.module, device):
        placed = torch.from_numpy(ids).to(device)
        layout = None if bridged else _layout(decoder, placed)
        with _attached(model, decoder, layout, keep):
            while done < len(ids):
                kept.layers.clear()
                last = min(done + at_once, len(ids))
                if not _ran(decoder, placed[done:last]):
                    at_once = _fewer(at_once, ids.shape[1])
                    continue
                if len(kept.layers) != decoder.n_layers:
                    raise MeasureError(f"only {len(kept.layers)} of {decoder.n_layers} blocks were reached", _WHOLE)
                done = last
    dtype = str(next(decoder.module.parameters()).dtype).removeprefix("torch.")
    return replace(kept.measurement(dtype), attached=BRIDGE if bridged else PLAIN_HOOKS)


def block_outputs(model: Any, tokens: Any) -> list[Float[Tensor, "sequence position width"]]:
    """What every block gives, whole: for a few tokens only.

    Parameters
    ----------
    model, tokens
        As in `measure`, and measured under the same conditions; all sequences go through together.

    Raises
    ------
    MeasureError
        As `measure`.
    """
    bridged = is_bridge(model)
    decoder = decoder_of(model if bridged else inside(model))
    ids, device, _ = _asked(decoder, tokens, None)
    outputs: dict[int, Tensor] = {}

    def keep(layer: int, hidden: Tensor) -> None:
        outputs[layer] = hidden.detach().clone()

    with measuring(decoder.module, device):
        placed = torch.from_numpy(ids).to(device)
        layout = None if bridged else _layout(decoder, placed)
        with _attached(model, decoder, layout, keep):
            decoder.run(placed)
    return [outputs[layer] for layer in sorted(outputs)]


def _asked(
    decoder: Decoder, tokens: Any, sequences_at_once: int | None
) -> tuple[Int64[ndarray, "sequence position"], torch.device, int]:
    """The ids, where they go, and how many sequences go at once, all held to the model before it is run."""
    ids = token_ids(tokens)
    if int(ids.max()) >= decoder.vocabulary:
        raise MeasureError(
            f"token {int(ids.max())} is not among the model's {decoder.vocabulary}", "take the model's own tokenizer"
        )
    require_positions(decoder.name, decoder.config, decoder.module, ids.shape[1])
    if sequences_at_once is not None and (
        not isinstance(sequences_at_once, int | np.integer) or sequences_at_once is True or sequences_at_once < 1
    ):
        raise MeasureError(f"sequences_at_once = {sequences_at_once!r}", "give a whole number from 1 on, or None")
    device = running_device(decoder.module)
    if device is None:
        raise MeasureError(f"{decoder.name} is on the meta device: its weights have no values", "load them")
    at_once = int(sequences_at_once or max(1, TOKENS_AT_ONCE // ids.shape[1]))
    return ids, device, min(at_once, len(ids))


def _layout(decoder: Decoder, tokens: Int[Tensor, "sequence position"]) -> Layout:
    try:
        return layout_of(decoder, tokens)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise _no_room(tokens.shape[1]) from None


@dataclass
class _Kept:
    """What is kept of all sequences and layers, in tensors made before the first block is run.

    Small things made after every block, and kept, would each hold on to the memory of the large ones freed around them.
    """

    top: Float[Tensor, "sequence layer k"]
    place: Int[Tensor, "sequence layer k"]
    median: Float[Tensor, "sequence layer"]
    layers: set[int] = field(default_factory=set)
    width: int = 0

    @classmethod
    def of(cls, ids: Int64[ndarray, "sequence position"], device: torch.device, n_layers: int, top_k: int) -> _Kept:
        if not isinstance(top_k, int | np.integer) or top_k is True or top_k < 1:
            raise MeasureError(f"top_k = {top_k!r}", "give a whole number from 1 on")
        shape = (len(ids), n_layers, int(top_k))
        return cls(
            torch.empty(shape, dtype=torch.float32, device=device),
            torch.empty(shape, dtype=torch.int64, device=device),
            torch.empty(shape[:2], dtype=torch.float32, device=device),
        )

    def put(self, layer: int, sequences: slice, reduced: BlockReduction) -> None:
        """Copy one block's reduction in; a device is not waited for."""
        self.top[sequences, layer] = reduced.top
        self.place[sequences, layer] = reduced.place
        self.median[sequences, layer] = reduced.median
        self.layers.add(layer)
        self.width = reduced.width

    def measurement(self, dtype: str) -> Measurement:
        """All of it on the host; the device is waited for here."""
        top, place, median = self.top.cpu().numpy(), self.place.cpu().numpy(), self.median.cpu().numpy()
        bad = np.argwhere(~np.isfinite(top[..., 0]))
        if len(bad):
            sequence, layer = (int(i) for i in bad[0])
            raise NotFiniteError(
                f"sequence {sequence}: layer {layer} holds NaN or infinite values in {dtype}",
                "the weights themselves overflow: leave this checkpoint out"
                if dtype == "float32"
                else "measure this checkpoint in float32",
            )
        token, dimension = np.divmod(place, self.width)
        return Measurement(top, token.astype(np.int32), dimension.astype(np.int32), median)


def _ran(decoder: Decoder, tokens: Int[Tensor, "sequence position"]) -> bool:
    """Run the block stack; False when memory ran out."""
    try:
        decoder.run(tokens)
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
        raise _no_room(length)
    log.warning(
        "out of memory with %d sequences at once: %d are tried, the numbers are the same", at_once, at_once // 2
    )
    return at_once // 2


def _no_room(length: int) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"one sequence of {length} tokens does not fit into memory",
        "take protocol.dtype=bfloat16, a shorter probe.length or another machine",
    )


@contextmanager
def _attached(model: Any, decoder: Decoder, layout: Layout | None, receive: Receiver) -> Iterator[None]:
    """Call `receive(layer, hidden)` with every block's output while the context is open; a bridge needs no layout."""
    if layout is not None:
        with hooked(decoder, layout, receive):
            yield
        return

    def hook(layer: int) -> Callable[..., None]:
        return lambda tensor, hook: receive(layer, tensor)

    points = [(f"blocks.{layer}.hook_resid_post", hook(layer)) for layer in range(decoder.n_layers)]
    with model.hooks(fwd_hooks=points):
        yield
