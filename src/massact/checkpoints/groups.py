"""Groups of checkpoints that serve identical files, and which members of a group hold the wrong weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from massact.checkpoints.source import Identity
from massact.checkpoints.untrained import Look, State

MAIN = -1  # the step number of the finished model, on the main branch of the Hub
# A first update with a learning rate of zero changes nothing. This is so in every Pythia (EleutherAI/pythia issue 83).
FIRST_STEPS = frozenset({0, 1})
# An update that overflows in float16 is skipped, so step 2 may still hold the initialisation.
_STILL_EARLY = 2


@dataclass(frozen=True)
class Group:
    """Checkpoints with identical files.

    Attributes
    ----------
    name
        `g1`, `g2`, ... in order of their first steps.
    steps
        Ascending, without main.
    main
        Whether the finished model has the same files.
    files
        Names of the shared files.
    whole
        Whether these are all the weights of each member.
    sha256
        The hash of the first shared file.
    from_start
        Whether step 0 is the initialisation. On an axis of data chunks it is not.
    """

    name: str
    steps: tuple[int, ...]
    main: bool
    files: tuple[str, ...]
    whole: bool
    sha256: str
    from_start: bool = True

    @property
    def first(self) -> tuple[int, ...]:
        """The member steps before any training."""
        if not self.from_start:
            return ()
        return tuple(step for step in self.steps if step in FIRST_STEPS)

    def shares(self, with_whom: str) -> str:
        """How a member's files relate to those of another, in words."""
        return f"has the weights of {with_whom}" if self.whole else f"shares {', '.join(self.files)} with {with_whom}"


@dataclass(frozen=True)
class Judgement:
    """The meaning of a group: `why` in words, `wrong` the suspect steps, `remedy` where to find the true weights."""

    why: str
    wrong: tuple[int, ...]
    remedy: str = ""


def groups(identities: Iterable[Identity], final: Identity | None, *, from_start: bool = True) -> list[Group]:
    """Groups of two or more checkpoints with identical files, ordered by first step.

    Files that the same checkpoints share form one group. A sharded checkpoint can be in several groups.
    """
    known = {identity.step: identity for identity in identities}
    if final is not None:
        known[MAIN] = final
    holders: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for step in sorted(known):
        for file in known[step].files.items():
            holders[file].append(step)
    shared: defaultdict[tuple[int, ...], list[tuple[str, str]]] = defaultdict(list)
    for file, steps in holders.items():
        if len(steps) > 1:
            shared[tuple(steps)].append(file)
    result = []
    for steps, files in sorted(shared.items(), key=lambda item: (item[0][item[0][0] == MAIN :], item[0])):
        names = tuple(sorted(name for name, _ in files))
        whole = all(len(known[step].files) == len(names) for step in steps)
        own = tuple(step for step in steps if step != MAIN)
        result.append(Group(f"g{len(result) + 1}", own, MAIN in steps, names, whole, min(files)[1], from_start))
    return result


def judge(group: Group, look: Look, *, last: int | None, main_known: bool) -> Judgement:
    """Decide which steps of a group hold the wrong weights.

    Parameters
    ----------
    look
        What the shared weights look like.
    last
        The last step of the training; None if unknown, as in the folder of a training in progress.
    main_known
        Whether the finished model's weights are known.
    """
    steps, first = group.steps, group.first
    if len(first) == len(steps) and not group.main and look.state is not State.TRAINED:
        return Judgement("the first update changes nothing", ())
    if first:
        return _with_first(group, look, last)
    if last in steps and (group.main or not main_known):
        wrong = tuple(step for step in steps if step != last)
        return Judgement("the finished model is served for earlier steps" if wrong else "main is the last step", wrong)
    if group.main:
        return Judgement("main's weights are served for steps", steps)
    return Judgement("their owner is unknown", steps)


def _with_first(group: Group, look: Look, last: int | None) -> Judgement:
    """Judge a group that contains step 0 or 1, and others."""
    others = tuple(step for step in group.steps if step not in FIRST_STEPS)
    if look.state is State.UNTRAINED:
        return Judgement(f"they look untrained ({look.sign}), so later steps should not have them", others)
    if look.state is State.TRAINED:
        return Judgement(f"they look trained ({look.sign}), and step 0 or 1 cannot be", group.steps)
    if not group.main and last not in others and max(others, default=0) <= _STILL_EARLY:
        return Judgement("either no update had changed the weights, or step 2 should not have them", others)
    return Judgement("steps before and after training cannot be the same", group.steps)


def steps_named(steps: Sequence[int], among: Sequence[int]) -> str:
    """Steps in words. `0 to 512` means all of `among` from 0 to 512.

    >>> steps_named([0, 1, 2, 4, 1000], [0, 1, 2, 4, 512, 1000])
    '0 to 4, 1000'
    """
    place = {step: k for k, step in enumerate(sorted(among))}
    runs: list[list[int]] = []
    for step in sorted(steps):
        if runs and place[step] == place[runs[-1][-1]] + 1:
            runs[-1].append(step)
        else:
            runs.append([step])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(str(step) for step in run) for run in runs)
