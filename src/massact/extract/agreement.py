"""Compare the config.json of a model's checkpoints before anything is measured."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from massact.architecture import numbers_in
from massact.checkpoints.files import read_config
from massact.checkpoints.source import CheckpointStatus, Identity, SourceError

if TYPE_CHECKING:
    from massact.checkpoints import CheckpointSource

Config = Mapping[str, Any]
# Settings that change no hidden state of a given text, provided that the weights fit.
_INDIFFERENT = re.compile(
    r"_?name_or_path|transformers_version|(torch_)?dtype|use_cache|return_dict|output_.*|.*_token_id|architectures"
    r"|initializer_range|.*(dropout|pdrop).*|tie_word_embeddings|auto_map|max_position_embeddings|n_positions|n_ctx"
    r"|id2label|label2id|problem_type|chunk_size_feed_forward|is_encoder_decoder|.*attn_implementation.*"
)


@dataclass
class Agreement:
    """The steps whose configuration differs from that of most steps.

    Attributes
    ----------
    failures
        Step -> error. Its number of layers or its width differs, so it is not a checkpoint of this model.
    suspects
        Step -> the settings that differ, as the end of a sentence about the step.
    """

    failures: dict[int, SourceError] = field(default_factory=dict)
    suspects: dict[int, str] = field(default_factory=dict)


def agreement(source: CheckpointSource, identities: Mapping[int, Identity]) -> Agreement:
    """Compare the configurations of steps. The most frequent one counts as the model's, the earliest one in a tie.

    One config.json is read for each `config_id`: a model whose steps share one costs nothing. A file that cannot be
    read is skipped here, because loading its checkpoint reports the error.
    """
    result = Agreement()
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for step in sorted(identities):
        groups[identities[step].config_id].append(step)
    if len(groups) < 2:
        return result
    configs = {steps[0]: _config(source, steps[0]) for steps in groups.values()}
    known = [(config, steps) for steps in groups.values() if (config := configs[steps[0]]) is not None]
    shapes = [(_shape(config), steps) for config, steps in known]
    model = _most([(shape, steps) for shape, steps in shapes if shape is not None])
    for shape, steps in shapes:
        for step in steps if shape not in (None, model) else ():
            result.failures[step] = _other_shape(step, shape or (0, 0), model or (0, 0))
    alike = [(config, steps) for config, steps in known if _shape(config) in (None, model)]
    result.suspects = _other_settings(alike)
    return result


def _other_shape(step: int, shape: tuple[int, int], model: tuple[int, int]) -> SourceError:
    return SourceError(
        CheckpointStatus.LOAD_FAILED,
        f"step {step} has {shape[0]} layers of width {shape[1]} (config.json), most steps {model[0]} of {model[1]}",
        "leave it out, or measure it as a separate model",
    )


def _other_settings(known: list[tuple[Config, list[int]]]) -> dict[int, str]:
    """Step -> the settings that differ from those of most steps."""
    if len({_text(_plain(config)) for config, _ in known}) < 2:
        return {}
    settings = [(values, steps) for config, steps in known if (values := _with_defaults(config)) is not None]
    most = _most([(_text(values), steps) for values, steps in settings])
    if most is None:
        return {}
    usual = json.loads(most)
    return {
        step: f"is run with other settings than most steps ({_differences(values, usual)})"
        for values, steps in settings
        for step in steps
        if _text(values) != most
    }


def _most(votes: list[tuple[Any, list[int]]]) -> Any:
    """The value that most steps have; in a tie, that of the earliest step."""
    steps_of: defaultdict[Any, list[int]] = defaultdict(list)
    for value, steps in votes:
        steps_of[value] += steps
    return max(steps_of, key=lambda value: (len(steps_of[value]), -min(steps_of[value])), default=None)


def _config(source: CheckpointSource, step: int) -> Config | None:
    try:
        return read_config(source.small_files(step))
    except SourceError:
        return None


def _shape(config: Config) -> tuple[int, int] | None:
    numbers = numbers_in(config)
    return (numbers["n_layers"], numbers["d_model"]) if {"n_layers", "d_model"} <= numbers.keys() else None


def _plain(config: Config) -> dict[str, Any]:
    return {key: value for key, value in config.items() if not _INDIFFERENT.fullmatch(key)}


def _with_defaults(config: Config) -> dict[str, Any] | None:
    """The settings that the model's class knows, including defaults; None if the class is unknown."""
    from transformers import CONFIG_MAPPING

    try:
        kind = CONFIG_MAPPING[config["model_type"]]
        known = kind().to_dict()
        return {key: value for key, value in _plain(kind.from_dict(dict(config)).to_dict()).items() if key in known}
    except Exception:  # the class rejects the settings: loading the checkpoint reports why
        return None


def _differences(values: Config, usual: Config) -> str:
    keys = sorted(key for key in {*values, *usual} if _text(values.get(key)) != _text(usual.get(key)))
    named = ", ".join(f"{key} {_text(values.get(key))}, not {_text(usual.get(key))}" for key in keys[:3])
    return named + (f", and {len(keys) - 3} more" if len(keys) > 3 else "")


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
