"""Compare a bridge with Hugging Face's own model on a few tokens before using it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from massact.checkpoints.native import known
from massact.errors import MassactError, OutOfMemoryError
from massact.extras import installed
from massact.host import out_of_memory

if TYPE_CHECKING:
    from torch import Tensor, nn

# (model or bridge, token ids) -> the output of each block: `massact.extract.hooks.block_outputs`.
OutputsOf = Callable[[Any, Any], "Sequence[Tensor]"]
_SEQUENCES, _POSITIONS = 2, 8


class BridgeOrPlain:
    """Returns a loaded model as a bridge if the bridge is bit-identical, else the model itself.

    TransformerLens's adapters give other numbers for some classes of Hugging Face's, do not exist for others, and fail
    on hybrid stacks. So the first checkpoint of a configuration runs on a few tokens before and after wrapping.

    Parameters
    ----------
    outputs_of
        Runs a model and returns each block's output.
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
        """The model to measure, and the reason why it is not a bridge (empty if it is one).

        Parameters
        ----------
        model
            On its device. Wrapping rewrites it in place.
        config
            Its settings. The result for the same settings is reused.
        wrap
            Makes a bridge from it.
        again
            Loads it again, after a bridge that cannot be used.

        Raises
        ------
        MeasureError
            When the class has no residual stream to compare with.
        """
        name = type(model).__name__
        verdict = next((reason for settings, reason in self._found if settings == config), None)
        if verdict is None and not installed("transformer_lens"):
            verdict = self._keep(config, "TransformerLens is not installed (pip install 'massact[bridge]')")
        if verdict is None and not known(name):
            verdict = self._keep(config, f"TransformerLens knows no {name}")
        if verdict:
            return model, verdict
        if verdict == "":
            return wrap(model), ""
        ids = _few_ids(model)
        plain = self._outputs_of(model, ids)
        try:
            bridge = wrap(model)
            reason = _difference(name, plain, self._outputs_of(bridge, ids))
        except OutOfMemoryError:
            raise
        except Exception as error:  # whatever an adapter raises, the plain model still works
            if out_of_memory(error):
                raise
            bridge, reason = None, _why(name, error)
        self._keep(config, reason)
        if not reason:
            return bridge, ""
        del bridge, model  # frees memory; this one was rewritten
        return again(), reason

    def _keep(self, config: Mapping[str, Any], reason: str) -> str:
        self._found.append((config, reason))
        return reason


def _few_ids(model: Any) -> Any:
    """Token ids spread over the vocabulary, few enough for the context of any model."""
    import torch

    vocabulary = int(model.config.get_text_config().vocab_size)
    ids = torch.arange(1, _SEQUENCES * _POSITIONS + 1) * max(1, vocabulary // (_SEQUENCES * _POSITIONS + 1))
    return (ids % vocabulary).reshape(_SEQUENCES, _POSITIONS)


def _difference(name: str, plain: Sequence[Tensor], bridged: Sequence[Tensor]) -> str:
    """Where two runs differ, in one phrase; empty if they are bit-identical. NaN equals NaN."""
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
