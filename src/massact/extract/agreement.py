"""Whether the checkpoints of one model are run alike, told from their config.json before anything is measured."""

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
# Settings on which no hidden state of a given text depends, once the weights fit.
_INDIFFERENT = re.compile(
    r"_?name_or_path|transformers_version|(torch_)?dtype|use_cache|return_dict|output_.*|.*_token_id|architectures"
    r"|initializer_range|.*(dropout|pdrop).*|tie_word_embeddings|auto_map|max_position_embeddings|n_positions|n_ctx"
    r"|id2label|label2id|problem_type|chunk_size_feed_forward|is_encoder_decoder|.*attn_implementation.*"
)


@dataclass
class Agreement:
    """The steps whose configuration is not that of most.

    Attributes
    ----------
    failures
        Step -> its number of layers, or its width, is another one: it is not a checkpoint of this model.
    suspects
        Step -> what it sets otherwise, as the end of a sentence about the step.
    """

    failures: dict[int, SourceError] = field(default_factory=dict)
    suspects: dict[int, str] = field(default_factory=dict)


def agreement(source: CheckpointSource, identities: Mapping[int, Identity]) -> Agreement:
    """Compare the configurations of steps; what is equally frequent is decided by the earliest step.

    One config.json is read for each `config_id`, so that a model whose steps share theirs costs nothing. One that
    cannot be read is passed over here: its checkpoint says so when it is read.
    """
    found = Agreement()
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for step in sorted(identities):
        groups[identities[step].config_id].append(step)
    if len(groups) < 2:
        return found
    configs = {steps[0]: _config(source, steps[0]) for steps in groups.values()}
    known = [(config, steps) for steps in groups.values() if (config := configs[steps[0]]) is not None]
    shapes = [(_shape(config), steps) for config, steps in known]
    model = _most([(shape, steps) for shape, steps in shapes if shape is not None])
    for shape, steps in shapes:
        for step in steps if shape not in (None, model) else ():
            found.failures[step] = _other_shape(step, shape or (0, 0), model or (0, 0))
    alike = [(config, steps) for config, steps in known if _shape(config) in (None, model)]
    found.suspects = _other_settings(alike)
    return found


def _other_shape(step: int, shape: tuple[int, int], model: tuple[int, int]) -> SourceError:
    return SourceError(
        CheckpointStatus.LOAD_FAILED,
        f"step {step} has {shape[0]} layers of width {shape[1]} (config.json), most steps {model[0]} of {model[1]}",
        "leave it out, or measure it as a model of its own",
    )


def _other_settings(known: list[tuple[Config, list[int]]]) -> dict[int, str]:
    """Step -> what its configuration sets otherwise than most."""
    if len({_text(_plain(config)) for config, _ in known}) < 2:
        return {}
    settings = [(said, steps) for config, steps in known if (said := _with_defaults(config)) is not None]
    most = _most([(_text(said), steps) for said, steps in settings])
    if most is None:
        return {}
    usual = json.loads(most)
    return {
        step: f"is run with other settings than most steps ({_differences(said, usual)})"
        for said, steps in settings
        for step in steps
        if _text(said) != most
    }


def _most(votes: list[tuple[Any, list[int]]]) -> Any:
    """What most steps have; of two that are equally frequent, what the earliest step has."""
    steps_of: defaultdict[Any, list[int]] = defaultdict(list)
    for what, steps in votes:
        steps_of[what] += steps
    return max(steps_of, key=lambda what: (len(steps_of[what]), -min(steps_of[what])), default=None)


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
    """Settings that the model's class knows, those left to their defaults included; None where there is no class."""
    from transformers import CONFIG_MAPPING

    try:
        kind = CONFIG_MAPPING[config["model_type"]]
        known = kind().to_dict()
        return {key: value for key, value in _plain(kind.from_dict(dict(config)).to_dict()).items() if key in known}
    except Exception:  # settings that the class refuses: loading the checkpoint says why
        return None


def _differences(said: Config, usual: Config) -> str:
    keys = sorted(key for key in {*said, *usual} if _text(said.get(key)) != _text(usual.get(key)))
    named = ", ".join(f"{key} {_text(said.get(key))}, not {_text(usual.get(key))}" for key in keys[:3])
    return named + (f", and {len(keys) - 3} more" if len(keys) > 3 else "")


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
