"""The checkpoints of a configuration: their source, and the selected steps."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from massact.checkpoints import CheckpointSource, FolderSource, HubSource
from massact.checkpoints.naming import Branch
from massact.checkpoints.parts import PartsSource
from massact.checkpoints.source import CheckpointStatus, Identity, SourceError
from massact.config import Config, ModelConfig
from massact.errors import CheckpointError, ConfigError
from massact.settings import available_steps, model_folder, repository_of, steps_among, steps_are_listed, steps_of
from massact.tracked import Recorded, recorded

log = logging.getLogger("massact")
_NAMED = 5  # branches named in a message
# Branches state billions of tokens, rounded up (OLMo 2) or down (OLMo).
ROUNDING_TOKENS, ROUNDING_SHARE = 1e9, 0.03


class TrackedFolder(FolderSource):
    """Checkpoints of a folder that DVC tracks. Each is checked against the recorded hashes of its files."""

    def __init__(self, recorded: Recorded, *, trust_remote_code: bool = False) -> None:
        super().__init__(recorded.path, trust_remote_code=trust_remote_code)
        self.recorded = recorded

    def identify(self, step: int) -> Identity:
        """Identify a step as in any folder, after checking its files against the recorded hashes.

        Raises
        ------
        SourceError
            `corrupt`: the content of a file of this step differs.
        """
        try:
            differing = self.recorded.differing(f"step{step}")
        except OSError:  # reading the folder reports the error
            differing = []
        if differing:
            raise SourceError(CheckpointStatus.CORRUPT, *self.recorded.refusal(differing[0]))
        return super().identify(step)


def source_of(config: Config) -> CheckpointSource:
    """The source of this model's checkpoints. Lists the branches of a suite.

    Raises
    ------
    CheckpointError
        When the folder does not exist, or the branches of the suite cannot be listed.
    ConfigError
        When the suite has no checkpoints, or not the configured variant.
    """
    model, repository = config.model, repository_of(config.model)
    if repository is None:
        folder = model_folder(model)
        if not folder.is_dir():
            raise CheckpointError(
                f"{folder} does not exist",
                f"fetch it with: dvc pull -R data; or train it: python run.py stage=train model={model.name} "
                f"model.seed={model.seed}",
            )
        stated = recorded(folder)
        if stated is not None:
            return TrackedFolder(stated, trust_remote_code=model.trust_remote_code)
        return FolderSource(
            folder, trust_remote_code=model.trust_remote_code, naming=model.naming, variant=model.variant
        )
    if model.source == "pythia":
        return HubSource(
            repository,
            steps=available_steps(model),
            ledger=_ledger(config, repository),
            trust_remote_code=model.trust_remote_code,
        )
    branches = _suite_branches(repository, config)
    homes = dict.fromkeys(branch.repository or repository for branch in branches.values())
    first = [name for name in (repository,) if name in homes]  # its main branch is the finished model
    parts = [_part(config, name, branches, repository) for name in dict.fromkeys([*first, *homes])]
    return parts[0] if len(parts) == 1 else PartsSource(parts)


def selected_steps(config: Config, source: CheckpointSource) -> list[int]:
    """The configured steps, among those that the source lists, or those that the model should have."""
    if not steps_are_listed(config.model):
        return steps_of(config)
    steps = source.steps()
    if not steps:
        raise CheckpointError(*no_checkpoints(config.model))
    return steps_among(steps, config)


def no_checkpoints(model: ModelConfig) -> tuple[str, str]:
    """What happened and the remedy, for a source that lists no checkpoints."""
    if model.source != "folder":
        return f"{model.repository} has no checkpoints", "choose another repository or model.variant"
    folder = model_folder(model)
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir() and FolderSource(path).steps()]
    if inner:
        return (
            f"{folder} holds no checkpoints itself",
            f"give a folder inside it: {', '.join(map(str, inner[:_NAMED]))}",
        )
    return (
        f"{folder} holds no checkpoints",
        "give a folder with step1000/, checkpoint-1000/ or the like, or one with config.json and weights",
    )


def _ledger(config: Config, repository: str) -> Path:
    return Path(config.paths.records) / "hub" / f"{repository.replace('/', '--')}.json"


def _part(config: Config, name: str, branches: Mapping[int, Branch], repository: str) -> HubSource:
    """The source of the checkpoints that one repository holds."""
    own = {step: branch for step, branch in branches.items() if (branch.repository or repository) == name}
    return HubSource(
        name,
        steps=list(own),
        revisions={step: branch.revision or branch.name for step, branch in own.items()},
        ledger=_ledger(config, name),
        trust_remote_code=config.model.trust_remote_code,
        tokens={step: branch.tokens for step, branch in own.items() if branch.tokens is not None},
        axis=config.model.naming.axis if config.model.naming is not None else "step",
    )


def _suite_branches(repository: str, config: Config) -> dict[int, Branch]:
    """Step -> checkpoint of a suite. Logs the variants and names that are left out."""
    from massact.checkpoints import list_branches
    from massact.checkpoints.reach import hub_is_offline

    variant = config.model.variant
    suite = list_branches(repository, offline=hub_is_offline(), naming=config.model.naming)
    revisions = suite.of(variant)
    chosen = next(iter(suite.variants())) if variant is None else variant
    others = [f"{name or 'no prefix'} ({count})" for name, count in suite.variants().items() if name != chosen]
    log.info("%s: %d checkpoints of %s", repository, len(revisions), f"variant {chosen}" if chosen else "no variant")
    if others:
        log.warning("%s has other variants, choose with model.variant: %s", repository, ", ".join(others))
    if suite.unread:
        named = "; ".join(f"{name} {why}" for name, why in list(suite.unread.items())[:_NAMED])
        more = f"; and {len(suite.unread) - _NAMED} more" if len(suite.unread) > _NAMED else ""
        log.warning("%s: %d branches are not checkpoints: %s%s", repository, len(suite.unread), named, more)
    if config.model.recipe is not None:
        _check_tokens(revisions.values(), config.model.recipe.tokens_per_step)
    return revisions


def _check_tokens(branches: Iterable[Branch], per_step: int) -> None:
    """Check the recipe against the training tokens in the names of branches, which are rounded up or down."""
    for branch in branches:
        expected = branch.step * per_step
        if branch.tokens is None:
            continue
        if abs(branch.tokens - expected) > max(ROUNDING_TOKENS, ROUNDING_SHARE * expected):
            raise ConfigError(
                f"branch {branch.name} has seen {branch.tokens / 1e9:g}B tokens, the recipe says {expected / 1e9:.3g}B",
                "set model.recipe.batch and .window to its tokens a step, or choose another model.variant",
            )
