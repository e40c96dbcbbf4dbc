"""Load checkpoints of one model in turn: the first builds a model, the others are copied into it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from massact.checkpoints.files import combined_sha256, config_id, file_sha256, read_config
from massact.checkpoints.foreign import folder_code
from massact.checkpoints.llamas import as_known_tensors
from massact.checkpoints.parity import BridgeOrPlain, OutputsOf
from massact.checkpoints.source import CheckpointStatus, Resolved, SourceError
from massact.checkpoints.tensors import FLOATS, is_computed, is_unembedding, read_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger("massact")
# Keys of config.json about the software that wrote it, not about the model.
_SOFTWARE = ("transformers_version", "torch_dtype", "dtype", "_name_or_path")


@dataclass(frozen=True)
class Prepared:
    """A checkpoint read from disk: its tensors by name, or None if the model itself is in memory."""

    resolved: Resolved
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor] | None


class CheckpointLoader:
    """Models of checkpoints that share an architecture.

    Every checkpoint is read as tensors (`prepare`, which may run in another thread). Building a model takes longer than
    measuring a small one. So the first is made by its own class and checked; later ones of the same config.json are
    copied into its parameters (`load`). The unembedding, which no hidden state depends on, keeps its first weights,
    unless `unembedding` is asked for.

    Parameters
    ----------
    dtype, device
        Number format and device of weights and forward pass.
    outputs_of
        Runs a model on a few tokens and gives each block's output (`massact.extract.hooks.block_outputs`). Then models
        are given as bridges, wherever a bridge gives the same as Hugging Face's own to the last bit. None: as Hugging
        Face's own, with a third less of Python around a small model's forward pass.
    unembedding
        Whether every model has its own unembedding, as logits and losses need. A checkpoint without one is refused.

    Attributes
    ----------
    reason
        Why the last model is not a bridge; empty if it is one, or if no bridge was requested.
    """

    def __init__(
        self,
        dtype: str = "float32",
        device: str = "cpu",
        *,
        outputs_of: OutputsOf | None = None,
        unembedding: bool = False,
    ) -> None:
        self.dtype = dtype
        self.device = device
        self.unembedding = unembedding
        self.reason = ""
        self._bridging = BridgeOrPlain(outputs_of) if outputs_of is not None else None
        self._model: nn.Module | None = None
        self._made_of: tuple[Mapping[str, Any], bool] | None = None
        self._parameters: dict[str, Any] = {}
        self._heads: dict[str, Any] = {}

    def prepare(self, resolved: Resolved) -> Prepared:
        """Read a checkpoint's files into memory, unless the model is already there.

        Raises
        ------
        SourceError
            As `read_tensors`.
        """
        if resolved.model is not None:
            return Prepared(resolved, {}, None)
        config = {k: v for k, v in read_config(resolved.folder).items() if k not in _SOFTWARE}
        tensors = as_known_tensors(config, read_tensors(resolved.folder, resolved.files))
        return Prepared(resolved, config, tensors)

    def load(self, prepared: Prepared) -> Any:
        """The checkpoint's model. The previous model is refilled if the result is the same.

        A model in memory is returned unchanged, so that `massact.extract.measure` reads it without a bridge.

        Raises
        ------
        SourceError
            As `load_bridge`; `load_failed` when a model in memory has another number format or device.
        """
        if prepared.resolved.model is not None:
            return self._as_asked(prepared.resolved.model)
        model = self._filled(prepared)
        check_unchanged(prepared.resolved)
        return model

    def _filled(self, prepared: Prepared) -> Any:
        resolved, tensors = prepared.resolved, prepared.tensors or {}
        if self._model is not None and self._made_of == (prepared.config, resolved.trusted) and self._pour(tensors):
            if not self.unembedding and self._heads and not any(name in self._heads for name in tensors):
                log.warning("%s has no unembedding: hidden states do not need it", resolved.folder)
            return self._model
        from massact.checkpoints.bridge import placed, wrap_loaded
        from massact.checkpoints.build import build_model

        self._model, self._parameters = None, {}  # frees memory for the next one
        folder = resolved.folder
        whole = self.unembedding

        def build() -> nn.Module:
            return build_model(folder, self.dtype, tensors, trusted=resolved.trusted, unembedding=whole)

        model = build()
        parameters = _parameters(model, whole=whole)
        if self._bridging is None:
            self._model = placed(model, folder, self.device)
        else:
            self._model, self.reason = self._bridging.given(
                placed(model, folder, self.device),
                prepared.config,
                wrap=lambda plain: wrap_loaded(plain, folder, self.dtype, self.device),
                again=lambda: placed(build(), folder, self.device),
            )
            if self.reason:  # it may have been built again
                parameters = _parameters(self._model, whole=whole)
        self._made_of = (prepared.config, resolved.trusted)
        self._parameters = parameters if _still_used(parameters, self._model, whole=whole) else {}
        self._heads = {name: tensor.shape for name, tensor in tensors.items() if is_unembedding(name)}
        return self._model

    def _as_asked(self, model: nn.Module) -> nn.Module:
        parameter = next(model.parameters())
        dtype, device = str(parameter.dtype).removeprefix("torch."), parameter.device.type
        if (dtype, device) != (self.dtype, self.device):
            raise SourceError(
                CheckpointStatus.LOAD_FAILED,
                f"the model in memory is in {dtype} on {device}, but {self.dtype} on {self.device} was requested",
                "request its own format and device",
            )
        return model

    def _pour(self, tensors: Mapping[str, Tensor]) -> bool:
        """Copy tensors into the model's parameters. Returns False, without a change, if the sets of names differ."""
        import torch

        if not self._parameters:
            return False
        if self.unembedding:
            tensors = _with_one_unembedding(tensors, self._parameters)
        formats = {getattr(torch, name) for name in FLOATS}
        for name, tensor in tensors.items():
            parameter = self._parameters.get(name)
            ignored = None if self.unembedding else self._heads.get(name)
            expected = ignored if parameter is None else parameter.shape
            if (expected != tensor.shape or tensor.dtype not in formats) and not is_computed(name):
                return False
        if not tensors.keys() >= self._parameters.keys():
            return False
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(tensors[name])
        return True


def check_unchanged(resolved: Resolved) -> None:
    """After reading a checkpoint, check that its files still have the hashes from when it was resolved.

    Files whose state on disk is unchanged are not hashed again. Files deleted since then were intact when they were
    read.

    Raises
    ------
    SourceError
        `corrupt` when one of them has changed in the meantime.
    """
    folder = resolved.folder
    try:
        weights = combined_sha256({name: file_sha256(folder / name) for name in resolved.files})
        settings = config_id(folder, resolved.files, folder_code(folder) if resolved.trusted else "")
    except (FileNotFoundError, SourceError):
        return
    if weights != resolved.weights_sha256 or resolved.config_id not in ("", settings):
        raise SourceError(CheckpointStatus.CORRUPT, f"{folder} changed while it was read", "run it again")


def _parameters(model: Any, *, whole: bool) -> dict[str, Any]:
    """Parameters of the model, without its unembedding unless it is to be whole, by the names that files give them."""
    part = model if whole else model.base_model
    inside = {id(parameter) for parameter in part.parameters()}
    persistent = set(part.state_dict()) - {name for name, _ in part.named_parameters(remove_duplicate=False)}
    if persistent:  # a state that is not a parameter would not be refilled
        return {}
    return {name: parameter for name, parameter in model.named_parameters() if id(parameter) in inside}


def _still_used(parameters: Mapping[str, Any], given: Any, *, whole: bool) -> bool:
    """Whether wrapping left every parameter in its place, and added none."""
    model = getattr(given, "original_model", given)
    own_ids = {id(parameter) for parameter in (model if whole else model.base_model).parameters()}
    return own_ids == {id(parameter) for parameter in parameters.values()}


def _with_one_unembedding(tensors: Mapping[str, Tensor], parameters: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors with the unembedding under the name that the model has it by.

    A tied unembedding is not a separate parameter: the file's copy is omitted if it equals the embedding. In any other
    case the tensor keeps its name, which no parameter has, so that the checkpoint is built by its own class.
    """
    named = dict(tensors)
    weights = [name for name in tensors if is_unembedding(name) and name not in parameters]
    own = [name for name in parameters if is_unembedding(name)]
    for name in weights:
        alias = next((other for other in own if other.rpartition(".")[2] == name.rpartition(".")[2]), None)
        if alias is not None and alias not in tensors and len(weights) == 1:
            named[alias] = named.pop(name)
        elif not own and any(tensor is not named[name] and _equal(tensor, named[name]) for tensor in tensors.values()):
            del named[name]
    return named


def _equal(one: Tensor, other: Tensor) -> bool:
    import torch

    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
