"""Weights held in memory, such as those of a model in training."""

from __future__ import annotations

import hashlib
import json
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.checkpoints.source import CheckpointStatus, Identity, Resolved, SourceError
from massact.errors import MeasureError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerFast

MEMORY = "memory"
# What a configuration says and no hidden state depends on: where it is from, who wrote it, what training sets.
_NO_MATTER = (
    "_name_or_path", "name_or_path", "_commit_hash", "transformers_version", "architectures", "dtype", "torch_dtype",
    "use_cache", "gradient_checkpointing",
)  # fmt: skip
_KNOWN = ("transformers", "torch", "massact")


@dataclass(frozen=True)
class MemoryIdentity(Identity):
    """The identity of a model in memory.

    Attributes
    ----------
    decoder_sha256
        Hash of what hidden states are computed with: the parameters without the unembedding, and the decoder's
        buffers, those that no file keeps among them.
    foreign
        Why its hidden states do not follow from weights and settings, such as a forward of its own; empty where they
        do. A foreign model has another `config_id` at each look: it is measured, and never taken from the store.
    """

    decoder_sha256: str = ""
    foreign: str = ""


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

    def identify(self, step: int) -> MemoryIdentity:
        """Hash the model's parameters, its decoder's buffers and what it is run with, as they are now.

        Raises
        ------
        MeasureError
            When tensors are not there to be hashed (on the meta device).
        """
        model = self._model(step)
        decoder: Any = getattr(model, "base_model", model)
        inside = {id(parameter) for parameter in decoder.parameters()}
        whole, core, buffers = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
        _digest(decoder.named_buffers(), lambda buffer: (buffers, core))
        _digest(model.named_parameters(), lambda held: (whole, core) if id(held) in inside else (whole,))
        sha, foreign = whole.hexdigest(), foreign_part(decoder)
        size = sum(p.numel() * p.element_size() for p in model.parameters())
        settings = f"foreign {uuid.uuid4().hex}" if foreign else _settings(decoder, buffers.hexdigest())
        return MemoryIdentity(
            step, f"step{step}", MEMORY, sha, {MEMORY: sha}, size, settings,
            decoder_sha256=core.hexdigest(), foreign=foreign,
        )  # fmt: skip

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
    """Hash of the names, formats, shapes and bytes of a model's parameters, its unembedding included.

    Raises
    ------
    MeasureError
        When a parameter is not there to be hashed (on the meta device).
    """
    digest = hashlib.sha256()
    _digest(model.named_parameters(), lambda held: (digest,))
    return digest.hexdigest()


def foreign_part(decoder: nn.Module) -> str:
    """Why a decoder's hidden states do not follow from its tensors and settings; empty where they do.

    They do when every module is of a class that transformers, torch or massact defines, with that class's own forward,
    and no hook is there that could replace what a module is given or gives.
    """
    import torch

    anywhere = torch.nn.modules.module
    if anywhere._global_forward_hooks or anywhere._global_forward_pre_hooks:
        return "hooks on all modules"
    known: set[type] = set()
    for name, part in decoder.named_modules():
        where = f"{name or 'the model'} ({type(part).__qualname__})"
        if "forward" in vars(part) or "__call__" in vars(part):
            return f"{where} has a forward of its own"
        if part._forward_hooks or part._forward_pre_hooks:
            return f"{where} has forward hooks"
        if type(part) not in known:
            if not _of_library(type(part)):
                return f"{where} is of no class of {', '.join(_KNOWN)}"
            known.add(type(part))
    return ""


def _of_library(kind: type) -> bool:
    """Whether a class is what its module calls by its name, and its forward is from a library too."""
    found: Any = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        found = getattr(found, name, None)
    forward: Any = getattr(kind, "forward", None)
    return found is kind and all(
        str(of).partition(".")[0] in _KNOWN for of in (kind.__module__, getattr(forward, "__module__", ""))
    )


def _settings(decoder: Any, buffers: str) -> str:
    """Hash of the configuration, the class and the buffers, without what changes no hidden state."""
    config: Any = getattr(decoder, "config", None)
    said = config.to_dict() if hasattr(config, "to_dict") else str(config or "")
    content = {
        "config": _matters(said),
        "attention": str(getattr(config, "_attn_implementation", "")),
        "class": f"{type(decoder).__module__}.{type(decoder).__qualname__}",
        "buffers": buffers,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _matters(said: Any) -> Any:
    if not isinstance(said, dict):
        return said
    return {str(name): _matters(value) for name, value in said.items() if name not in _NO_MATTER}


def _digest(tensors: Iterable[tuple[str, Tensor]], into: Callable[[Tensor], Sequence[Any]]) -> None:
    """Add names, formats, shapes and bytes, in the order of the names, to the hashes that each tensor belongs to."""
    import torch

    for name, tensor in sorted(tensors, key=lambda named: named[0]):
        if tensor.is_meta:
            raise MeasureError(
                f"{name} is on the meta device: it has no values here", "load the whole model before it is measured"
            )
        held = tensor.detach().cpu().contiguous()
        header = f"{name} {held.dtype} {tuple(held.shape)}\n".encode()
        content: Any = held.reshape(-1).view(torch.uint8).numpy()  # hashed where it lies
        for digest in into(tensor):
            digest.update(header)
            digest.update(content)
