"""Build the model that a config.json describes, with its own class in transformers and tensors read beforehand."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.checkpoints.files import folder_weights, read_config
from massact.checkpoints.foreign import check_native, forbid_kernels, runs_own_code
from massact.checkpoints.llamas import ORIGIN, as_known_tensors
from massact.checkpoints.source import CheckpointStatus, SourceError
from massact.checkpoints.tensors import check_formats, first_line, is_computed, is_unembedding, read_tensors, too_large
from massact.errors import ConfigError, MassactError
from massact.host import out_of_memory

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger("massact")
DTYPES = ("float32", "float16", "bfloat16", "float64")
# The smallest weights have one bit per value, packed into bytes; masks and rotary tables are added to that.
_PACKED, _TABLES = 16, 1 << 28
_LAYER_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")


def load_model(folder: Path, dtype: str, *, trusted: bool = False) -> nn.Module:
    """The model in a folder; errors as in `build_model` and `read_tensors`."""
    _check_dtype(dtype)
    weights = folder_weights(folder)
    config = read_config(folder)
    check_native(folder, config, trusted=trusted)
    return build_model(folder, dtype, as_known_tensors(config, read_tensors(folder, weights)), trusted=trusted)


def build_model(
    folder: Path, dtype: str, tensors: Mapping[str, Tensor], *, trusted: bool = False, unembedding: bool = False
) -> nn.Module:
    """The model that the folder's config.json describes, holding all of `tensors` and nothing else.

    Only the unembedding may be missing, since no hidden state depends on it. It is then filled with NaN, with a warning
    in the log. Only config.json is read from the folder, and nothing is fetched.

    Parameters
    ----------
    tensors
        The tensors of the weight files, under old or new names; transformers converts them. Of a class that massact
        translates, those of `llamas.as_known_tensors`.
    trusted
        Whether the checkpoint's own code may run.
    unembedding
        Whether the unembedding must be there too.

    Raises
    ------
    SourceError
        `load_failed` when the configuration asks for foreign code, when tensors are missing, unexpected, of another
        shape or of an undefined format, or when transformers cannot build the model.
    OutOfMemoryError
        When it does not fit into memory.
    ConfigError
        An unknown dtype.
    """
    _check_dtype(dtype)
    config = read_config(folder)
    check_native(folder, config, trusted=trusted)
    _check_layers(folder, config, len(tensors))
    with _failures(folder, _quantisation(config)):
        model, report = _made(folder, config, dtype, tensors, trusted=trusted and runs_own_code(config))
    _check_complete(folder, model, report, unembedding=unembedding)
    if getattr(model, "hf_quantizer", None) is not None:
        log.warning("%s is quantised: its outputs are those of the weights as transformers unpacks them", folder)
    else:
        whole = (name for name, value in model.state_dict().items() if not value.is_floating_point())
        check_formats(folder, tensors, whole)
    return model


def decoder_names(model: Any) -> set[str]:
    """Names of the model's parameters and buffers, without the unembedding."""
    inside = {id(tensor) for tensor in (*model.base_model.parameters(), *model.base_model.buffers())}
    return {name for name, tensor in (*model.named_parameters(), *model.named_buffers()) if id(tensor) in inside}


def _made(
    folder: Path, settings: Mapping[str, Any], dtype: str, tensors: Mapping[str, Tensor], *, trusted: bool
) -> tuple[Any, Mapping[str, Any]]:
    """The model, and transformers' report on the tensors."""
    forbid_kernels()
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.dynamic_module_utils import get_class_from_dynamic_module
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()
    logging.getLogger("transformers.modeling_utils").addFilter(_without_report)
    if ORIGIN in settings:
        config: Any = AutoConfig.for_model(**settings)
    else:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trusted, local_files_only=True)
    own = (getattr(config, "auto_map", None) or {}).get("AutoModelForCausalLM") if trusted else None
    if own is not None:
        kind: Any = get_class_from_dynamic_module(own, str(folder), local_files_only=True)
    else:
        with torch.device("meta"):
            skeleton: Any = AutoModelForCausalLM.from_config(copy.deepcopy(config), trust_remote_code=False)
        _check_size(folder, skeleton, tensors)
        kind = type(skeleton)
        if not isinstance(config, getattr(kind, "config_class", None) or type(config)):
            config = skeleton.config  # the text part of a composite model
    return kind.from_pretrained(
        None,
        config=config,
        state_dict=dict(tensors),
        dtype=getattr(torch, dtype),
        local_files_only=True,
        output_loading_info=True,
    )


def _quantisation(config: Mapping[str, Any]) -> str:
    """The method that a checkpoint was quantised by; empty if it was not."""
    settings = config.get("quantization_config")
    return str(settings.get("quant_method") or "a method it does not name") if isinstance(settings, dict) else ""


@contextmanager
def _failures(folder: Path, quantised: str) -> Iterator[None]:
    """Turn any error of transformers, or of a library it calls, into a failure of this checkpoint."""
    try:
        yield
    except MassactError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise too_large(folder) from None
        reason = f"{type(error).__name__}: {first_line(error)}"
        if quantised:
            raise SourceError(
                CheckpointStatus.LOAD_FAILED,
                f"{folder} is quantised ({quantised}): it is measured only where transformers unpacks it ({reason})",
                "measure the model that it was made from, in float32, float16 or bfloat16",
            ) from None
        raise SourceError(CheckpointStatus.LOAD_FAILED, f"{folder} does not load ({reason})") from None


def _check_complete(folder: Path, model: Any, report: Mapping[str, Any], *, unembedding: bool) -> None:
    missing = sorted({*map(str, report["missing_keys"])})
    decoder = decoder_names(model)
    absent = [name for name in missing if name in decoder] + sorted(map(str, report["mismatched_keys"]))
    if absent:
        raise SourceError(
            CheckpointStatus.LOAD_FAILED,
            f"{folder} lacks {len(absent)} tensors of the model its config.json describes, e.g. {absent[0]}",
        )
    unexpected = sorted(n for n in map(str, report["unexpected_keys"]) if not (is_computed(n) or is_unembedding(n)))
    if unexpected:
        raise SourceError(
            CheckpointStatus.LOAD_FAILED,
            f"{folder} holds {len(unexpected)} tensors that are not in its config.json's model, e.g. {unexpected[0]}",
        )
    if report.get("error_msgs"):
        raise SourceError(CheckpointStatus.LOAD_FAILED, f"{folder} does not load ({report['error_msgs'][0]})")
    if missing and unembedding:
        raise SourceError(
            CheckpointStatus.LOAD_FAILED,
            f"{folder} has no unembedding ({missing[0]}), on which logits and losses depend",
            "leave this checkpoint out",
        )
    if missing:
        log.warning("%s has no unembedding (%s): hidden states do not need it", folder, missing[0])
        for name in missing:
            model.get_parameter(name).data.fill_(float("nan"))


def _check_layers(folder: Path, config: Mapping[str, Any], tensors: int) -> None:
    """Refuse an impossible number of layers: each layer has at least one tensor."""
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key in _LAYER_KEYS:
            number = part.get(key)
            if isinstance(number, int) and number > tensors:
                raise SourceError(
                    CheckpointStatus.LOAD_FAILED,
                    f"{folder}/config.json: {key} = {number}, the weights are {tensors} tensors",
                )


def _check_size(folder: Path, skeleton: Any, tensors: Mapping[str, Tensor]) -> None:
    """Refuse a model that is many times larger than the weights, before allocating memory."""
    described = sum(tensor.numel() for tensor in (*skeleton.parameters(), *skeleton.buffers()))
    stored = sum(tensor.numel() for tensor in tensors.values())
    if described > _PACKED * stored + _TABLES:
        raise SourceError(
            CheckpointStatus.LOAD_FAILED,
            f"{folder}/config.json describes a model of {described} numbers, the weights hold {stored}",
        )


def _without_report(record: logging.LogRecord) -> bool:
    """Drop transformers' table of mismatched tensors: massact checks them and reports one line."""
    return "LOAD REPORT" not in record.getMessage()


def _check_dtype(dtype: str) -> None:
    if dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype} is not known", f"choose one of {', '.join(DTYPES)}")
