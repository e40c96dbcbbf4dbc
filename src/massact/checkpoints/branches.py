"""Suites whose checkpoints are branches with individual names, such as OLMo's `stage1-step1000-tokens3B`."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from massact.errors import ConfigError

_STEP = re.compile(r"(?:step|ckpt|checkpoint|iter)[-_]?(0*[0-9]{1,12})", re.IGNORECASE)
_TOKENS = re.compile(r"(?:tokens)?[-_]?([0-9]{1,12}(?:\.[0-9]{1,6})?)([KMBT])(?:-?tokens)?", re.IGNORECASE)
_UNITS = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_PART = re.compile(r"[-_/]")


@dataclass(frozen=True)
class Branch:
    """A branch that holds a checkpoint.

    Attributes
    ----------
    step
        Optimiser step.
    tokens
        Training tokens, rounded as in the name; None if the name does not state them.
    variant
        The rest of the name (`stage2-ingredient1`), empty for most.
    """

    name: str
    step: int
    tokens: int | None
    variant: str


@dataclass(frozen=True)
class Branches:
    """The branches of one repository: those that hold checkpoints, by (variant, step), and the names of the others.

    `unread` gives the reason for each branch that is not used.
    """

    repo_id: str
    branches: tuple[Branch, ...]
    unread: dict[str, str]

    def variants(self) -> dict[str, int]:
        """Number of checkpoints of each variant, largest first."""
        return dict(Counter(branch.variant for branch in self.branches).most_common())

    def revisions(self, variant: str | None = None) -> dict[int, str]:
        """Step -> branch of one variant, ascending. None selects the variant with the most checkpoints.

        Raises
        ------
        ConfigError
            No checkpoints, or none of that variant.
        """
        known = self.variants()
        if not known:
            raise ConfigError(
                f"no branch of {self.repo_id} is named like a checkpoint",
                "choose a repository whose branches are named like step1000",
            )
        chosen = next(iter(known)) if variant is None else variant
        if chosen not in known:
            names = ", ".join(repr(name) for name in known)
            raise ConfigError(f"{self.repo_id} has no variant {chosen!r}", f"model.variant is one of {names}")
        return {b.step: b.name for b in sorted(self.branches, key=lambda b: b.step) if b.variant == chosen}


def parse_branch(name: str) -> Branch | None:
    """What a branch's name says; None when it names no step, or more than one.

    >>> parse_branch("stage2-ingredient1-step12000-tokens51B")
    Branch(name='stage2-ingredient1-step12000-tokens51B', step=12000, tokens=51000000000, variant='stage2-ingredient1')
    >>> parse_branch("step556000-tokens2460B").tokens, parse_branch("step1000").tokens, parse_branch("main")
    (2460000000000, None, None)
    """
    steps, tokens, rest = [], [], []
    for part in _joined(_PART.split(name)):
        if match := _STEP.fullmatch(part):
            steps.append(int(match[1]))
        elif match := _TOKENS.fullmatch(part):
            tokens.append(round(float(match[1]) * _UNITS[match[2].upper()]))
        else:
            rest.append(part)
    if len(steps) != 1 or len(tokens) > 1:
        return None
    return Branch(name, steps[0], tokens[0] if tokens else None, "-".join(rest))


def read_branches(repo_id: str, names: Iterable[str]) -> Branches:
    """Sort the branches of a repository. If two name the same step of the same variant, neither is used."""
    by_step: defaultdict[tuple[str, int], list[Branch]] = defaultdict(list)
    unread: dict[str, str] = {}
    for name in sorted(names):
        branch = parse_branch(name)
        if branch is None:
            unread[name] = "names no step" if not _STEP.search(name) else "names more than one step or token count"
        else:
            by_step[branch.variant, branch.step].append(branch)
    branches = []
    for same in by_step.values():
        if len(same) == 1:
            branches += same
        else:
            unread |= {b.name: f"names step {b.step}, as {_others(b, same)} does" for b in same}
    return Branches(repo_id, tuple(sorted(branches, key=lambda b: (b.variant, b.step))), unread)


def list_branches(repo_id: str, *, endpoint: str | None = None, offline: bool, cache: Path | None = None) -> Branches:
    """The suite of a repository: from the Hub in one request, or from the cache when offline.

    Raises
    ------
    SourceError
        The Hub or the network reports an error; `unreachable` when offline and the cache holds nothing of it.
    """
    from massact.checkpoints.reach import endpoint_named, reachable
    from massact.checkpoints.refs import branch_commits, cached_branches
    from massact.checkpoints.source import CheckpointStatus, SourceError

    server = endpoint_named(endpoint)
    if not offline and reachable(server):
        return read_branches(repo_id, branch_commits(repo_id, server))
    names = cached_branches(repo_id, cache)
    if not names:
        why = "HF_HUB_OFFLINE forbids the request" if offline else f"no answer from {server}"
        raise SourceError(CheckpointStatus.UNREACHABLE, f"{repo_id}: its branches cannot be listed ({why})", fatal=True)
    return read_branches(repo_id, names)


def _joined(parts: list[str]) -> list[str]:
    """Join a word and the number after it: `step`, `1000` become one part."""
    out: list[str] = []
    for part in parts:
        if out and part.isdigit() and out[-1].lower() in ("step", "ckpt", "checkpoint", "iter"):
            out[-1] += part
        elif part:
            out.append(part)
    return out


def _others(branch: Branch, same: list[Branch]) -> str:
    return ", ".join(b.name for b in same if b is not branch)
