"""Measure a loaded model: the reducer attached to every block, by bridge hook points or by forward hooks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from massact.errors import MeasureError, NotFiniteError, OutOfMemoryError
from massact.extract.blocks import block_stack, blocks_of, is_bridge
from massact.extract.protocol import TOP_K, Measurement
from massact.extract.reduce import BlockReduction, reduce_block
from massact.host import out_of_memory

log = logging.getLogger("massact")
Reducer = Callable[[int, Tensor], None]

# Short sequences go through together, up to this many tokens: more gains nothing on two cores and takes memory.
TOKENS_AT_ONCE = 2048


def measure(
    model: Any,
    tokens: Int[Tensor, "sequence position"],
    *,
    top_k: int = TOP_K,
    sequences_at_once: int | None = None,
) -> Measurement:
    """Measure |h| after every block; no hidden state outlives its block.

    Parameters
    ----------
    model
        A `TransformerBridge` (read at `blocks.{l}.hook_resid_post`) or a Hugging Face decoder (read by forward
        hooks on its blocks). It is put in evaluation mode for the time of the call and is otherwise untouched.
    tokens
        Token ids, one row a sequence, all of one length.
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
        Tokens of another shape, `top_k` too large, or a model in which the blocks cannot be found.
    """
    if tokens.ndim != 2 or tokens.shape[0] < 1 or tokens.shape[1] < 1:
        raise MeasureError(
            f"tokens have shape {tuple(tokens.shape)}", "give ids of shape (sequence, position), at least 1 x 1"
        )
    decoder, n_layers, vocabulary = block_stack(model)
    outside = tokens[(tokens < 0) | (tokens >= vocabulary)]
    if outside.numel():
        raise MeasureError(
            f"token {int(outside[0])} is not among the model's {vocabulary}", "take the model's own tokenizer"
        )
    tokens = tokens.to(next(decoder.parameters()).device)
    at_once = min(sequences_at_once or max(1, TOKENS_AT_ONCE // tokens.shape[1]), tokens.shape[0])
    kept = _Kept.of(tokens, n_layers, top_k)
    done = 0

    def keep(layer: int, hidden: Tensor) -> None:
        kept.put(layer, slice(done, done + hidden.shape[0]), reduce_block(hidden, top_k))

    with torch.no_grad(), _evaluation(decoder), _attached(model, decoder, n_layers, keep):
        while done < tokens.shape[0]:
            kept.layers.clear()
            if not _ran(decoder, tokens[done : done + at_once]):
                at_once = _fewer(at_once, tokens.shape[1])
                continue
            if len(kept.layers) != n_layers:
                raise MeasureError(
                    f"only {len(kept.layers)} of {n_layers} blocks were reached", "measure the whole decoder"
                )
            done += at_once
    return kept.measurement(str(next(decoder.parameters()).dtype).removeprefix("torch."))


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
    def of(cls, tokens: Int[Tensor, "sequence position"], n_layers: int, top_k: int) -> _Kept:
        shape = (tokens.shape[0], n_layers, top_k)
        return cls(
            torch.empty(shape, device=tokens.device),
            torch.empty(shape, dtype=torch.int64, device=tokens.device),
            torch.empty(shape[:2], device=tokens.device),
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


def _ran(decoder: nn.Module, tokens: Int[Tensor, "sequence position"]) -> bool:
    """Run the block stack; False when memory ran out."""
    try:
        decoder(tokens, use_cache=False)
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
        raise OutOfMemoryError(
            f"one sequence of {length} tokens does not fit into memory",
            "take protocol.dtype=bfloat16, a shorter probe.length or another machine",
        )
    log.warning(
        "out of memory with %d sequences at once: %d are tried, the numbers are the same", at_once, at_once // 2
    )
    return at_once // 2


@contextmanager
def _evaluation(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, and each part's own mode again afterwards; a bridge has hundreds of parts, mostly in it."""
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


@contextmanager
def _attached(model: Any, decoder: nn.Module, n_layers: int, reduce: Reducer) -> Iterator[None]:
    """Call `reduce(layer, hidden)` with every block's output while the context is open."""
    if is_bridge(model):

        def hook(layer: int) -> Callable[..., None]:
            return lambda tensor, hook: reduce(layer, tensor)

        with model.hooks(fwd_hooks=[(f"blocks.{layer}.hook_resid_post", hook(layer)) for layer in range(n_layers)]):
            yield
        return

    def forward_hook(layer: int) -> Callable[..., None]:
        return lambda module, args, output: reduce(layer, output[0] if isinstance(output, tuple) else output)

    handles = [
        block.register_forward_hook(forward_hook(layer)) for layer, block in enumerate(blocks_of(decoder, n_layers))
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
