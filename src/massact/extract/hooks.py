"""Measure a loaded model: the reducer attached to every block, by bridge hook points or by forward hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from massact.errors import MeasureError
from massact.extract.protocol import TOP_K, Measurement
from massact.extract.reduce import LayerReduction, reduce_layer

Reducer = Callable[[int, Tensor], None]


def measure(model: Any, tokens: Int[Tensor, "sequence position"], *, top_k: int = TOP_K) -> Measurement:
    """Measure |h| after every block, one sequence at a time; no hidden state outlives its block.

    Parameters
    ----------
    model
        A `TransformerBridge` (read at `blocks.{l}.hook_resid_post`) or a Hugging Face decoder (read by forward
        hooks on its blocks). It is put in evaluation mode for the time of the call and is otherwise untouched.
    tokens
        Token ids, one row a sequence, all of one length.
    top_k
        How many of the largest magnitudes to keep; at most positions x width.

    Returns
    -------
    Measurement
        float32 magnitudes and int32 places, on the host.

    Raises
    ------
    MeasureError
        NaN or infinite hidden states (first such sequence and layer named), tokens of another shape, or a model
        in which the blocks cannot be found.
    """
    if tokens.ndim != 2 or tokens.shape[0] < 1 or tokens.shape[1] < 1:
        raise MeasureError(
            f"tokens have shape {tuple(tokens.shape)}", "give ids of shape (sequence, position), at least 1 x 1"
        )
    rows: list[list[LayerReduction]] = []
    decoder, n_layers = _block_stack(model)
    device = next(decoder.parameters()).device
    for index, sequence in enumerate(tokens.to(device)):
        row: dict[int, LayerReduction] = {}

        def keep(layer: int, hidden: Tensor, row: dict[int, LayerReduction] = row, index: int = index) -> None:
            try:
                row[layer] = reduce_layer(hidden[0], top_k, layer=layer)
            except MeasureError as error:
                raise MeasureError(f"sequence {index}: {error.what}", error.remedy) from None

        with torch.no_grad(), _evaluation(decoder), _attached(model, decoder, n_layers, keep):
            decoder(sequence[None], use_cache=False)
        if len(row) != n_layers:
            raise MeasureError(f"only {len(row)} of {n_layers} blocks were reached", "measure the whole decoder")
        rows.append([row[layer] for layer in range(n_layers)])
    return Measurement(
        top=np.stack([[r.top for r in row] for row in rows]).astype(np.float32),
        token=np.stack([[r.token for r in row] for row in rows]).astype(np.int32),
        dimension=np.stack([[r.dimension for r in row] for row in rows]).astype(np.int32),
        median=np.array([[r.median for r in row] for row in rows], dtype=np.float32),
    )


def is_bridge(model: Any) -> bool:
    """Whether the model is a TransformerBridge, told without importing TransformerLens."""
    return hasattr(model, "original_model") and hasattr(model, "hooks")


def _block_stack(model: Any) -> tuple[nn.Module, int]:
    """The decoder without its unembedding, and how many blocks it has."""
    plain = model.original_model if is_bridge(model) else model
    decoder = getattr(plain, "base_model", plain)
    return decoder, int(plain.config.num_hidden_layers)


def _blocks(decoder: nn.Module, n_layers: int) -> nn.ModuleList:
    for module in decoder.children():
        if isinstance(module, nn.ModuleList) and len(module) == n_layers:
            return module
    raise MeasureError(
        f"no list of {n_layers} blocks was found in {type(decoder).__name__}",
        "pass a Hugging Face decoder-only model or a TransformerBridge",
    )


@contextmanager
def _evaluation(module: nn.Module) -> Iterator[None]:
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


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
        block.register_forward_hook(forward_hook(layer)) for layer, block in enumerate(_blocks(decoder, n_layers))
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
