"""The longest sequence for which a model has positions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from massact.errors import MeasureError

_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len")
# Model types with a table of positions of that length. Rotary and ALiBi models accept longer sequences.
_TABLES = frozenset(
    ("bert", "biogpt", "codegen", "ctrl", "gpt2", "gpt_bigcode", "gpt_neo", "gptj", "gpt-sw3", "openai-gpt", "opt",
     "rembert", "roberta", "xlm", "xlm-roberta")
)  # fmt: skip


def require_context(folder: Path, length: int) -> None:
    """Check the length of a probe against a folder's config.json, before any weights are fetched or loaded.

    An unreadable config.json is ignored here, because loading it reports the error.

    Raises
    ------
    MeasureError
        When the model has a table of positions that is shorter than the probe.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind, context = config.get("model_type"), next((config[name] for name in _NAMES if config.get(name)), None)
    except (OSError, ValueError, AttributeError):
        return
    if isinstance(kind, str) and kind in _TABLES and isinstance(context, int) and length > context:
        raise too_long(kind, context, length)


def require_positions(name: str, config: Any, module: Any, length: int) -> None:
    """Check the length of a probe against the tables of positions in a model, before the model runs.

    Parameters
    ----------
    name
        The model's name in the error message.
    config
        The model's configuration.
    module : torch.nn.Module
        Its decoder.

    Raises
    ------
    MeasureError
        When the model has a table of positions that is shorter than the probe.
    """
    stated = [value for key in _NAMES if isinstance(value := getattr(config, key, None), int)]
    if not stated or length <= min(stated) // 2:  # padding takes some rows of a table, but never half of them
        return
    if getattr(config, "model_type", "") in _TABLES and length > min(stated):
        raise too_long(name, min(stated), length)
    tables = _table_paths.get(type(module))
    if tables is None:
        tables = _table_paths[type(module)] = _tables(module)
    for path in tables:
        rows, padding = _rows(module, path)
        if min(stated) <= rows <= min(stated) + padding and length > rows - padding:
            raise too_long(name, rows - padding, length)


_table_paths: dict[type, list[str]] = {}


def _tables(module: Any) -> list[str]:
    """Paths of a class's tables of positions: embeddings, or buffers in classes like GPT-J."""
    embeddings = [
        path
        for path, part in module.named_modules()
        if hasattr(part, "num_embeddings") and ("pos" in path or "wpe" in path) and "rel" not in path
    ]
    return embeddings + [path for path, table in module.named_buffers() if "embed_pos" in path and table.ndim == 2]


def _rows(module: Any, path: str) -> tuple[int, int]:
    """Number of rows of a table, and how many of them are reserved for padding."""
    holder, _, last = path.rpartition(".")
    part = getattr(module.get_submodule(holder), last)
    if not hasattr(part, "num_embeddings"):
        return part.shape[0], 0
    padding = getattr(part, "padding_idx", None)
    return part.weight.shape[0], getattr(part, "offset", 0) or (0 if padding is None else padding + 1)


def too_long(name: str, context: int, length: int) -> MeasureError:
    """The error for a probe that is longer than a model's context."""
    return MeasureError(
        f"the probe has {length} tokens in a sequence, {name} has positions for {context}",
        f"set probe.length to {context} or less",
    )
