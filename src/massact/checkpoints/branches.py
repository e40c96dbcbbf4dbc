"""The checkpoints of a suite: what its repositories name, read by the suite's pattern or by what names usually say."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from massact.checkpoints.naming import UNITS, Branch, Naming
from massact.errors import ConfigError

if TYPE_CHECKING:
    from massact.checkpoints.refs import Ref

_STEP = re.compile(r"(?:step|ckpt|checkpoint|iter)[-_]?(0*[0-9]{1,12})", re.IGNORECASE)
_TOKENS = re.compile(r"(?:tokens)?[-_]?([0-9]{1,12}(?:\.[0-9]{1,6})?)([KMBT])(?:-?tokens)?", re.IGNORECASE)
_PART = re.compile(r"[-_/]")


@dataclass(frozen=True)
class Branches:
    """The names in a suite's repositories: those that are checkpoints, by (variant, step), and the others.

    `unread` gives the reason for each name that is not used.
    """

    repo_id: str
    branches: tuple[Branch, ...]
    unread: dict[str, str]

    def variants(self) -> dict[str, int]:
        """Number of checkpoints of each variant, largest first."""
        return dict(Counter(branch.variant for branch in self.branches).most_common())

    def of(self, variant: str | None = None) -> dict[int, Branch]:
        """Step -> checkpoint of one variant, ascending. None selects the variant with the most checkpoints.

        Raises
        ------
        ConfigError
            No checkpoints, or none of that variant.
        """
        known = self.variants()
        if not known:
            raise ConfigError(
                f"no branch of {self.repo_id} is named like a checkpoint",
                "choose a repository whose branches are named like step1000, or state model.naming",
            )
        chosen = next(iter(known)) if variant is None else variant
        if chosen not in known:
            names = ", ".join(repr(name) for name in known)
            raise ConfigError(f"{self.repo_id} has no variant {chosen!r}", f"model.variant is one of {names}")
        return {b.step: b for b in sorted(self.branches, key=lambda b: b.step) if b.variant == chosen}

    def revisions(self, variant: str | None = None) -> dict[int, str]:
        """Step -> name of one variant; as `of`."""
        return {step: branch.name for step, branch in self.of(variant).items()}


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
            tokens.append(round(float(match[1]) * UNITS[match[2].upper()]))
        else:
            rest.append(part)
    if len(steps) != 1 or len(tokens) > 1:
        return None
    return Branch(name, steps[0], tokens[0] if tokens else None, "-".join(rest))


def read_branches(repo_id: str, names: Iterable[str], naming: Naming | None = None) -> Branches:
    """Sort the names of a repository, as `read_refs`."""
    from massact.checkpoints.refs import Ref

    return read_refs(repo_id, [[Ref(name) for name in sorted(names)]], naming)


def read_refs(repo_id: str, parts: Sequence[Iterable[Ref]], naming: Naming | None = None) -> Branches:
    """Sort the names of a suite's repositories.

    If two names of one repository are the same step of the same variant, neither is used. If two repositories hold it,
    the first counts.

    Parameters
    ----------
    parts
        The names in each repository.
    naming
        The suite's own; None: as `parse_branch`.
    """
    branches: dict[tuple[str, int], Branch] = {}
    unread: dict[str, str] = {}
    for refs in parts:
        by_step: defaultdict[tuple[str, int], list[Branch]] = defaultdict(list)
        for ref in refs:
            branch = parse_branch(ref.name) if naming is None else naming.read(ref.name)
            if branch is None:
                unread[ref.name] = _why_unread(ref.name, naming)
            else:
                found = replace(branch, repository=ref.repository, revision=ref.revision)
                by_step[branch.variant, branch.step].append(found)
        axis = "step" if naming is None else naming.axis
        for key, same in by_step.items():
            if len(same) > 1:
                unread |= {b.name: f"names {axis} {b.step}, as {_others(b, same)} does" for b in same}
            elif key in branches:
                unread[f"{same[0].repository} {same[0].name}"] = (
                    f"names {axis} {same[0].step}, which {branches[key].repository or repo_id} has"
                )
            else:
                branches[key] = same[0]
    return Branches(repo_id, tuple(sorted(branches.values(), key=lambda b: (b.variant, b.step))), unread)


def list_branches(
    repo_id: str,
    *,
    endpoint: str | None = None,
    offline: bool,
    cache: Path | None = None,
    naming: Naming | None = None,
) -> Branches:
    """The suite of a repository and its parts: from the Hub in one request each, or from the cache when offline.

    Raises
    ------
    SourceError
        The Hub or the network reports an error; `unreachable` when offline and the cache holds nothing of it.
    """
    from massact.checkpoints.reach import endpoint_named
    from massact.checkpoints.refs import refs_of

    server = endpoint_named(endpoint)
    repositories = [repo_id, *(naming.parts if naming else ())]
    kind, branch = (naming.refs, naming.branch) if naming else ("branches", "main")
    parts = [refs_of(name, kind, server, offline=offline, cache=cache, branch=branch) for name in repositories]
    return read_refs(repo_id, parts if kind != "repos" else [itertools.chain.from_iterable(parts)], naming)


def _why_unread(name: str, naming: Naming | None) -> str:
    if naming is not None:
        return "does not match model.naming.pattern"
    return "names no step" if not _STEP.search(name) else "names more than one step or token count"


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
