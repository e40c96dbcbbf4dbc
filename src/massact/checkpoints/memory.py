"""Weights held in memory, such as those of a model in training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from massact.checkpoints.source import CheckpointStatus, Identity, Resolved, SourceError

if TYPE_CHECKING:
    from torch import nn
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerFast

MEMORY = "memory"


class MemorySource:
    """Hugging Face decoders in memory, by step; they are measured as they are, never wrapped and never changed.

    Parameters
    ----------
    models
        Step -> model. While a model trains, give it at the step it has reached: `MemorySource({step: model})`.
    tokenizer_folder
        A folder with the model's tokenizer; needed only where a probe is made from text.
    """

    def __init__(self, models: Mapping[int, nn.Module], tokenizer_folder: Path | None = None) -> None:
        self.models = dict(models)
        self.tokenizer_folder = tokenizer_folder

    def steps(self) -> list[int]:
        """Steps given, ascending."""
        return sorted(self.models)

    def identify(self, step: int) -> Identity:
        """Hash the decoder's parameters as they are now."""
        model = self._model(step)
        sha = parameters_sha256(model)
        size = sum(p.numel() * p.element_size() for p in model.parameters())
        settings = hashlib.sha256(str(getattr(model, "config", "")).encode()).hexdigest()
        return Identity(step, f"step{step}", MEMORY, sha, {MEMORY: sha}, size, settings)

    def resolve(self, step: int) -> Resolved:
        """The model itself, with the hash of its parameters as they are now."""
        model = self._model(step)
        return Resolved(step, f"step{step}", MEMORY, Path(), parameters_sha256(model), model=model)

    def small_files(self, step: int) -> Path:
        """The tokenizer's folder.

        Raises
        ------
        SourceError
            When none was given.
        """
        if self.tokenizer_folder is None:
            raise SourceError(
                CheckpointStatus.LOAD_FAILED, "weights in memory have no tokenizer", "give tokenizer_folder"
            )
        return self.tokenizer_folder

    def load(self, resolved: Resolved, dtype: str = "float32", device: str = "cpu") -> TransformerBridge:
        """Refused: a bridge rewrites the model it is made of.

        Raises
        ------
        SourceError
            Always; `massact.extract.measure` takes the model as it is.
        """
        raise SourceError(
            CheckpointStatus.LOAD_FAILED, "a model in memory is not made a bridge", "pass it to massact.extract.measure"
        )

    def tokenizer(self, step: int) -> PreTrainedTokenizerFast:
        """The tokenizer in `tokenizer_folder`."""
        from massact.checkpoints.bridge import load_tokenizer

        return load_tokenizer(self.small_files(step))

    def _model(self, step: int) -> nn.Module:
        if step not in self.models:
            raise SourceError(CheckpointStatus.REVISION_MISSING, f"no model was given for step {step}")
        return self.models[step]


def parameters_sha256(model: nn.Module) -> str:
    """Hash of the names, formats, shapes and bytes of a model's parameters, its unembedding included."""
    import torch

    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        held = parameter.detach().cpu().contiguous()
        digest.update(f"{name} {held.dtype} {tuple(held.shape)}\n".encode())
        digest.update(held.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
