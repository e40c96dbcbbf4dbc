"""A run whose checkpoints are spread over several repositories."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from massact.checkpoints.hub import HubSource
from massact.checkpoints.ledger import Listed
from massact.checkpoints.source import Identity, Resolved, SourceError


class PartsSource(HubSource):
    """One run in several repositories.

    Parameters
    ----------
    parts
        A source for each repository, with the steps that it holds. The first one's main branch is the finished model.
    """

    def __init__(self, parts: Sequence[HubSource]) -> None:
        first = parts[0]
        self.parts = tuple(parts)
        self._homes = {step: part for part in reversed(self.parts) for step in part.steps()}
        super().__init__(
            first.repo_id,
            steps=sorted(self._homes),
            offline=first.offline,
            endpoint=first.endpoint,
            cache=first.cache,
            trust_remote_code=first.trust_remote_code,
            tokens={step: count for part in self.parts for step, count in part.tokens.items()},
            axis=first.axis,
        )

    def part(self, step: int) -> HubSource:
        """The repository of a step; the first for steps that none has, such as the finished model."""
        return self._homes.get(step, self.parts[0])

    def revision(self, step: int) -> str:
        """Name of a step's revision."""
        return self.part(step).revision(step)

    def identify(self, step: int) -> Identity:
        """As `HubSource.identify`."""
        return self.part(step).identify(step)

    def identify_many(self, steps: Sequence[int]) -> dict[int, Identity | SourceError]:
        """As `HubSource.identify_many`, one repository after the other."""
        by_part: defaultdict[HubSource, list[int]] = defaultdict(list)
        for step in steps:
            by_part[self.part(step)].append(step)
        answers = {step: a for part, own in by_part.items() for step, a in part.identify_many(own).items()}
        return {step: answers[step] for step in steps}

    def final(self) -> Identity | None:
        """The main branch of the first repository."""
        return self.parts[0].final()

    def listed(self, commit: str) -> Mapping[str, Listed]:
        """Files of a commit by name."""
        return next((files for part in self.parts if (files := part.listed(commit))), {})

    def resolve(self, step: int) -> Resolved:
        """As `HubSource.resolve`."""
        return self.part(step).resolve(step)

    def cached(self, step: int) -> bool:
        """As `HubSource.cached`."""
        return self.part(step).cached(step)

    def release(self, identity: Identity, *, keep: bool = False) -> None:
        """As `HubSource.release`."""
        self.part(identity.step).release(identity, keep=keep)

    def small_files(self, step: int) -> Path:
        """As `HubSource.small_files`."""
        return self.part(step).small_files(step)
