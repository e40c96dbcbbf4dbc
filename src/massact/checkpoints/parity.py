"""Whether a bridge gives what Hugging Face's model gives, told on a few tokens before it is trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from massact.checkpoints.native import known
from massact.errors import MassactError, OutOfMemoryError
from massact.host import out_of_memory

if TYPE_CHECKING:
    from torch import Tensor, nn

# (model or bridge, token ids) -> what each block gives: `massact.extract.hooks.block_outputs`.
OutputsOf = Callable[[Any, Any], "Sequence[Tensor]"]
_SEQUENCES, _POSITIONS = 2, 8


class BridgeOrPlain:
    """Gives a loaded model as a bridge where that is the same to the last bit, else as it is.

    TransformerLens's adapters differ from some classes of Hugging Face's, know others not at all, and fail on hybrid
    stacks. So the first checkpoint of a configuration is run on a few tokens both ways, before and after it is wrapped.

    Parameters
    ----------
    outputs_of
        Runs a model and gives each block's output.
    """

    def __init__(self, outputs_of: OutputsOf) -> None:
        self._outputs_of = outputs_of
        self._found: list[tuple[Mapping[str, Any], str]] = []

    def given(
        self,
        model: nn.Module,
        config: Mapping[str, Any],
        *,
        wrap: Callable[[nn.Module], Any],
        again: Callable[[], nn.Module],
    ) -> tuple[Any, str]:
        """The model to measure, and why it is not a bridge; empty when it is one.

        Parameters
        ----------
        model
            On its device. It is rewritten when it becomes a bridge.
        config
            Its settings: what was found for them once is not tried again.
        wrap
            Makes a bridge of it.
        again
            Loads it once more, for a model that was wrapped in vain.

        Raises
        ------
        MeasureError
            When the class itself has no residual stream to compare with.
        """
        name = type(model).__name__
        found = next((reason for settings, reason in self._found if settings == config), None)
        if found is None and not known(name):
            found = self._keep(config, f"TransformerLens knows no {name}")
        if found:
            return model, found
        if found == "":
            return wrap(model), ""
        ids = _few_ids(model)
        plain = self._outputs_of(model, ids)
        try:
            bridge = wrap(model)
            reason = _difference(name, plain, self._outputs_of(bridge, ids))
        except OutOfMemoryError:
            raise
        except Exception as error:  # whatever an adapter raises, the plain way is there
            if out_of_memory(error):
                raise
            bridge, reason = None, _why(name, error)
        self._keep(config, reason)
        if not reason:
            return bridge, ""
        del bridge, model  # room for the next one: this one is rewritten
        return again(), reason

    def _keep(self, config: Mapping[str, Any], reason: str) -> str:
        self._found.append((config, reason))
        return reason


def _few_ids(model: Any) -> Any:
    """Ids spread over the vocabulary, no more than any model has positions for."""
    import torch

    vocabulary = int(model.config.get_text_config().vocab_size)
    ids = torch.arange(1, _SEQUENCES * _POSITIONS + 1) * max(1, vocabulary // (_SEQUENCES * _POSITIONS + 1))
    return (ids % vocabulary).reshape(_SEQUENCES, _POSITIONS)


def _difference(name: str, plain: Sequence[Tensor], bridged: Sequence[Tensor]) -> str:
    """Where two runs differ, in one phrase; empty when they are equal to the last bit, NaN being equal to NaN."""
    if len(plain) != len(bridged):
        return f"the bridge of {name} reaches {len(bridged)} of {len(plain)} layers"
    for layer, (one, other) in enumerate(zip(plain, bridged, strict=True)):
        if one.shape != other.shape:
            return f"the bridge of {name} gives shape {tuple(other.shape)} at layer {layer}"
        if not one.allclose(other, rtol=0, atol=0, equal_nan=True):
            return f"the bridge of {name} differs from Hugging Face's own layer {layer}"
    return ""


def _why(name: str, error: Exception) -> str:
    if isinstance(error, MassactError):
        return error.what
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"the bridge of {name} does not run ({type(error).__name__}: {first})"
