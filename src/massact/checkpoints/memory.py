"""Weights in memory, such as those of a model in training."""

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
# Keys of a configuration that affect no hidden state: its origin, its author, training options.
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
        Hash of everything that hidden states are computed from: the parameters without the unembedding, and the
        decoder's buffers, including those that no file stores.
    foreign
        Why its hidden states do not follow from weights and settings, such as a custom forward; empty if they do. A
        foreign model gets a new `config_id` each time, so it is always measured and never read from the store.
    """

    decoder_sha256: str = ""
    foreign: str = ""


class MemorySource:
    """Hugging Face decoders in memory, by step. They are measured as they are, without wrapping or changes.

    Parameters
    ----------
    models
        Step -> model. For a model in training, pass its current step: `MemorySource({step: model})`.
    tokenizer_folder
        A folder with the model's tokenizer; needed only to make a probe from text.
    """

    def __init__(self, models: Mapping[int, nn.Module], tokenizer_folder: Path | None = None) -> None:
        self.models = dict(models)
        self.tokenizer_folder = tokenizer_folder

    def steps(self) -> list[int]:
        """The given steps, ascending."""
        return sorted(self.models)

    def identify(self, step: int) -> MemoryIdentity:
        """Hash the current parameters of the model, its decoder's buffers and its settings.

        Raises
        ------
        MeasureError
            When tensors have no values to hash (on the meta device).
        """
        model = self._model(step)
        decoder: Any = getattr(model, "base_model", model)
        inside = {id(parameter) for parameter in decoder.parameters()}
        whole, core, buffers = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
        _digest(decoder.named_buffers(), lambda buffer: (buffers, core))
        _digest(model.named_parameters(), lambda tensor: (whole, core) if id(tensor) in inside else (whole,))
        sha, foreign = whole.hexdigest(), foreign_part(decoder)
        size = sum(p.numel() * p.element_size() for p in model.parameters())
        settings = f"foreign {uuid.uuid4().hex}" if foreign else _settings(decoder, buffers.hexdigest())
        return MemoryIdentity(
            step, f"step{step}", MEMORY, sha, {MEMORY: sha}, size, settings,
            decoder_sha256=core.hexdigest(), foreign=foreign,
        )  # fmt: skip

    def resolve(self, step: int) -> Resolved:
        """The model itself, with the hash of its current parameters."""
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
        """Always refused: a bridge rewrites its model in place.

        Raises
        ------
        SourceError
            Always. `massact.extract.measure` accepts the model itself.
        """
        raise SourceError(
            CheckpointStatus.LOAD_FAILED,
            "a model in memory cannot be wrapped in a bridge",
            "pass it to massact.extract.measure",
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
    """Hash of the names, formats, shapes and bytes of a model's parameters, including the unembedding.

    Raises
    ------
    MeasureError
        When a parameter has no values to hash (on the meta device).
    """
    digest = hashlib.sha256()
    _digest(model.named_parameters(), lambda tensor: (digest,))
    return digest.hexdigest()


def foreign_part(decoder: nn.Module) -> str:
    """Why a decoder's hidden states do not follow from its tensors and settings; empty if they do.

    They do if every module is of a class from transformers, torch or massact, runs that class's own forward, and has no
    hook that could replace its inputs or outputs.
    """
    import torch

    anywhere = torch.nn.modules.module
    if anywhere._global_forward_hooks or anywhere._global_forward_pre_hooks:
        return "hooks on all modules"
    known: set[type] = set()
    for name, part in decoder.named_modules():
        where = f"{name or 'the model'} ({type(part).__qualname__})"
        if "forward" in vars(part) or "__call__" in vars(part):
            return f"{where} has its own forward"
        if part._forward_hooks or part._forward_pre_hooks:
            return f"{where} has forward hooks"
        if type(part) not in known:
            if not _of_library(type(part)):
                return f"{where} is not a class of {', '.join(_KNOWN)}"
            known.add(type(part))
    return ""


def _of_library(kind: type) -> bool:
    """Whether a class is the one that its module holds under its name, and its forward is also from a library."""
    entry: Any = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        entry = getattr(entry, name, None)
    forward: Any = getattr(kind, "forward", None)
    return entry is kind and all(
        str(of).partition(".")[0] in _KNOWN for of in (kind.__module__, getattr(forward, "__module__", ""))
    )


def _settings(decoder: Any, buffers: str) -> str:
    """Hash of the configuration, the class and the buffers, without keys that affect no hidden state."""
    config: Any = getattr(decoder, "config", None)
    values = config.to_dict() if hasattr(config, "to_dict") else str(config or "")
    content = {
        "config": _matters(values),
        "attention": str(getattr(config, "_attn_implementation", "")),
        "class": f"{type(decoder).__module__}.{type(decoder).__qualname__}",
        "buffers": buffers,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _matters(setting: Any) -> Any:
    if not isinstance(setting, dict):
        return setting
    return {str(name): _matters(value) for name, value in setting.items() if name not in _NO_MATTER}


def _digest(tensors: Iterable[tuple[str, Tensor]], into: Callable[[Tensor], Sequence[Any]]) -> None:
    """Add names, formats, shapes and bytes to the hashes of each tensor, in order of the names."""
    import torch

    for name, tensor in sorted(tensors, key=lambda named: named[0]):
        if tensor.is_meta:
            raise MeasureError(
                f"{name} is on the meta device: it has no values", "load the whole model before measuring it"
            )
        values = tensor.detach().cpu().contiguous()
        header = f"{name} {values.dtype} {tuple(values.shape)}\n".encode()
        content: Any = values.reshape(-1).view(torch.uint8).numpy()  # hashed in place
        for digest in into(tensor):
            digest.update(header)
            digest.update(content)
