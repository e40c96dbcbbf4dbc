"""Load one model's checkpoints one after the other: the first builds a model, the others are poured into it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.checkpoints.bridge import too_large
from massact.checkpoints.files import read_config
from massact.checkpoints.parity import BridgeOrPlain, OutputsOf
from massact.checkpoints.source import CheckpointStatus, Resolved, SourceError
from massact.host import out_of_memory

if TYPE_CHECKING:
    from torch import Tensor, nn

# What old files hold besides parameters; every class computes these from its configuration.
_COMPUTED = re.compile(
    r".*\.(attention\.bias|attention\.masked_bias|attn\.bias|attn\.masked_bias|rotary_emb\.inv_freq)"
)
# What config.json says of the software that wrote it, not of the model.
_SOFTWARE = ("transformers_version", "torch_dtype", "dtype", "_name_or_path")


@dataclass(frozen=True)
class Prepared:
    """A checkpoint read from disk: its tensors by name, or None where they must be loaded by the model's class."""

    resolved: Resolved
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor] | None


class CheckpointLoader:
    """Models of checkpoints that share an architecture.

    Building a model takes longer than measuring a small one. So the first checkpoint is loaded by its own class and
    checked; later ones of the same config.json are read as tensors (`prepare`, which may run in another thread) and
    copied into its parameters (`load`). The unembedding, which no hidden state depends on, keeps its first weights.

    Parameters
    ----------
    dtype, device
        Number format and device of weights and forward pass.
    outputs_of
        Runs a model on a few tokens and gives each block's output (`massact.extract.hooks.block_outputs`). Then models
        are given as bridges, wherever a bridge gives the same as Hugging Face's own to the last bit. None: as Hugging
        Face's own, with a third less of Python around a small model's forward pass.

    Attributes
    ----------
    reason
        Why the model given last is no bridge; empty when it is one, or none was asked for.
    """

    def __init__(self, dtype: str = "float32", device: str = "cpu", *, outputs_of: OutputsOf | None = None) -> None:
        self.dtype = dtype
        self.device = device
        self.reason = ""
        self._bridging = BridgeOrPlain(outputs_of) if outputs_of is not None else None
        self._model: nn.Module | None = None
        self._config: Mapping[str, Any] | None = None
        self._parameters: dict[str, Any] = {}

    def prepare(self, resolved: Resolved) -> Prepared:
        """Read a checkpoint's files into memory, unless it is there already.

        Raises
        ------
        SourceError
            `corrupt` when a file cannot be read.
        """
        if resolved.model is not None:
            return Prepared(resolved, {}, None)
        config = {k: v for k, v in read_config(resolved.folder).items() if k not in _SOFTWARE}
        fits = self._config == config and bool(self._parameters)
        return Prepared(resolved, config, read_tensors(resolved.folder, resolved.files) if fits else None)

    def load(self, prepared: Prepared) -> Any:
        """The checkpoint's model: the one given before, refilled, wherever that gives the same.

        A model that was in memory is given as it is, so that `massact.extract.measure` reads it without a bridge.

        Raises
        ------
        SourceError
            As `load_bridge`; `load_failed` when a model in memory has another number format or device.
        """
        if prepared.resolved.model is not None:
            return self._as_asked(prepared.resolved.model)
        if prepared.tensors is not None and self._model is not None and self._pour(prepared.tensors):
            return self._model
        from massact.checkpoints.bridge import load_model, placed, wrap_loaded

        self._model, self._parameters = None, {}  # room for the next one
        folder = prepared.resolved.folder
        model = load_model(folder, self.dtype)
        parameters = _decoder_parameters(model)
        if self._bridging is None:
            self._model = placed(model, folder, self.device)
        else:
            self._model, self.reason = self._bridging.given(
                placed(model, folder, self.device),
                prepared.config,
                wrap=lambda plain: wrap_loaded(plain, folder, self.dtype, self.device),
                again=lambda: placed(load_model(folder, self.dtype), folder, self.device),
            )
            if self.reason:  # it may have been loaded again
                parameters = _decoder_parameters(self._model)
        self._config = prepared.config
        self._parameters = parameters if _still_used(parameters, self._model) else {}
        return self._model

    def _as_asked(self, model: nn.Module) -> nn.Module:
        held = next(model.parameters())
        dtype, device = str(held.dtype).removeprefix("torch."), held.device.type
        if (dtype, device) != (self.dtype, self.device):
            raise SourceError(
                CheckpointStatus.LOAD_FAILED,
                f"the model in memory is in {dtype} on {device}, asked for {self.dtype} on {self.device}",
                "ask for what it is in",
            )
        return model

    def _pour(self, tensors: Mapping[str, Tensor]) -> bool:
        """Copy tensors into the model's parameters; False, and nothing changed, when they are not the same set."""
        import torch

        mine = {name: tensor for name, tensor in tensors.items() if name in self._parameters}
        unknown = [name for name in tensors if name not in mine and not _COMPUTED.fullmatch(name) and not _head(name)]
        if unknown or any(
            name not in mine or mine[name].shape != parameter.shape for name, parameter in self._parameters.items()
        ):
            return False
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(mine[name])
        return True


def read_tensors(folder: Path, files: tuple[str, ...]) -> dict[str, Tensor]:
    """All tensors of weight files, on the host, in the files' own format.

    Raises
    ------
    SourceError
        `corrupt` when a file is neither safetensors nor a PyTorch archive of tensors alone.
    """
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    tensors: dict[str, Tensor] = {}
    for name in files:
        path = folder / name
        try:
            if name.endswith(".safetensors"):
                tensors |= load_file(path)
            else:
                tensors |= torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        except (SafetensorError, pickle.UnpicklingError, EOFError, OSError, RuntimeError, MemoryError) as error:
            if out_of_memory(error):
                raise too_large(folder) from None
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise SourceError(CheckpointStatus.CORRUPT, f"{path} cannot be read ({first})") from None
    return tensors


def _head(name: str) -> bool:
    """Whether a tensor belongs to the unembedding, under its old or its new name."""
    return name in ("embed_out.weight", "lm_head.weight", "lm_head.bias")


def _decoder_parameters(model: Any) -> dict[str, Any]:
    """Parameters of the model without its unembedding, by the names that files give them."""
    inside = {id(parameter) for parameter in model.base_model.parameters()}
    persistent = set(model.base_model.state_dict()) - {name for name, _ in model.base_model.named_parameters()}
    if persistent:  # a state that is not a parameter would not be refilled
        return {}
    return {name: parameter for name, parameter in model.named_parameters() if id(parameter) in inside}


def _still_used(parameters: Mapping[str, Any], given: Any) -> bool:
    """Whether wrapping left every parameter in its place, and added none to the decoder."""
    model = getattr(given, "original_model", given)
    held = {id(parameter) for parameter in model.base_model.parameters()}
    return held == {id(parameter) for parameter in parameters.values()}
