"""Checkpoints that are not what they claim, told from the hashes of their weights; nothing is downloaded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tqdm import tqdm

from massact.checkpoints.hub import HubSource
from massact.checkpoints.pythia import KNOWN_SUSPECTS
from massact.checkpoints.source import CheckpointSource, CheckpointStatus, Identity, RemoteSource, SourceError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "step",
    "revision_asked",
    "status",
    "suspect",
    "duplicate_of",
    "shared",
    "revision_loaded",
    "weights_sha256",
    "bytes",
)
# A first update whose learning rate is zero changes nothing: so in every Pythia (EleutherAI/pythia issue 83).
ALLOWED_TWINS = frozenset({0, 1})
_HASHED_AT_ONCE = 2  # one thread hashes more slowly than a fast disk reads
_SAID_AFTER_S = 2.0


@dataclass
class Audit:
    """What a source says of its checkpoints.

    Attributes
    ----------
    identities, errors
        By step: what each is, or why it cannot be had.
    revisions
        Step -> the revision asked for, of those that cannot be had.
    suspects
        Step -> why its weights are not its own.
    final
        What the repository offers as the finished model, where it says so.
    """

    identities: dict[int, Identity] = field(default_factory=dict)
    errors: dict[int, SourceError] = field(default_factory=dict)
    revisions: dict[int, str] = field(default_factory=dict)
    suspects: dict[int, str] = field(default_factory=dict)
    final: Identity | None = None

    def table(self) -> pd.DataFrame:
        """One row a step and one for the finished model: see COLUMNS.

        `duplicate_of` is the first other step with one of the same weight files (-1: none), `shared` those files;
        `suspect` says why a step should not be trusted.
        """
        import pandas as pd

        twins = _first_twins(self.identities.values())
        rows = [self._row(step, twins) for step in sorted({*self.identities, *self.errors})]
        if self.final is not None:
            last = max(self.identities, default=-1)
            same = last >= 0 and self.identities[last].weights_sha256 == self.final.weights_sha256
            rows.append(_ok(self.final, "" if same else f"is not step {last}", last if same else -1, ""))
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def _row(self, step: int, twins: Mapping[int, tuple[int, str]]) -> tuple[object, ...]:
        if step in self.errors:
            error = self.errors[step]
            return (step, self.revisions.get(step, f"step{step}"), str(error.status), error.what, -1, "", "", "", 0)
        return _ok(self.identities[step], self.suspects.get(step, ""), *twins.get(step, (-1, "")))


def audit(source: CheckpointSource, steps: Sequence[int] | None = None) -> Audit:
    """Identify checkpoints and tell which are not what they claim.

    Parameters
    ----------
    steps
        The steps that matter; None: all. Of a Hub that answers, all are compared either way, by what it states.

    Raises
    ------
    SourceError
        When not one step can be had, or the source as a whole cannot.
    """
    found = Audit()
    remote = isinstance(source, RemoteSource)
    wanted = sorted(steps) if steps is not None else source.steps()
    everything = sorted({*wanted, *source.steps()}) if remote and _answers(source) else wanted
    for step, answer in (source.identify_many(everything) if remote else _identities(source, everything)).items():
        if isinstance(answer, Identity):
            found.identities[step] = answer
        else:
            found.errors[step] = answer
            if isinstance(source, HubSource):
                found.revisions[step] = source.revision(step)
    _raise_if_hopeless(found, wanted)
    found.final = source.final() if remote and len(everything) == len(source.steps()) else None
    found.suspects = _suspects(found, source)
    return found


def audit_table(source: CheckpointSource) -> pd.DataFrame:
    """One row a step of a source, as `Audit.table` says; errors as in `audit`."""
    return audit(source).table()


def suspects(table: pd.DataFrame) -> list[str]:
    """One line per checkpoint of an `audit_table` that cannot be had or should not be trusted, in order of step."""
    lines = []
    for row in table.to_dict("records"):
        name = f"step {row['step']}" if int(row["step"]) >= 0 else str(row["revision_asked"])
        if row["status"] != CheckpointStatus.OK:
            lines.append(f"{name}: {row['status']}; {row['suspect']}")
        elif row["suspect"]:
            lines.append(f"{name}: {row['suspect']}")
    return lines


def _ok(identity: Identity, suspect: str, twin: int, shared: str) -> tuple[object, ...]:
    return (
        identity.step,
        identity.revision_asked,
        "ok",
        suspect,
        twin,
        shared,
        identity.revision_loaded,
        identity.weights_sha256,
        identity.bytes,
    )


def _answers(source: RemoteSource) -> bool:
    """Whether the server can be asked, so that comparing all steps costs no download."""
    from massact.checkpoints.reach import reachable

    return isinstance(source, HubSource) and not source.offline and reachable(source.endpoint)


def _identities(source: CheckpointSource, steps: Sequence[int]) -> dict[int, Identity | SourceError]:
    """What a source on this disk says of each step; a hash is a matter of minutes for a folder of large models."""

    def identity(step: int) -> Identity | SourceError:
        try:
            return source.identify(step)
        except SourceError as error:
            return error

    with ThreadPoolExecutor(_HASHED_AT_ONCE, thread_name_prefix="hash") as pool:
        answers = tqdm(
            pool.map(identity, steps),
            "hashing weights",
            len(steps),
            unit="checkpoint",
            delay=_SAID_AFTER_S,
            leave=False,
        )
        return dict(zip(steps, answers, strict=True))


def _raise_if_hopeless(found: Audit, wanted: Sequence[int]) -> None:
    fatal = next((error for error in found.errors.values() if error.fatal), None)
    if fatal is not None:
        raise fatal
    errors = [found.errors[step] for step in wanted if step in found.errors]
    if len(errors) == len(wanted) and all(e.status is CheckpointStatus.UNREACHABLE for e in errors) and errors:
        raise errors[-1]


def _suspects(found: Audit, source: CheckpointSource) -> dict[int, str]:
    """Why steps should not be trusted: they hold files of other steps, or are known to.

    A file of the finished model in an earlier step is wrong there; of the step before training in a later one, wrong
    there; of any two others nobody can say which has it wrongly, so both are suspect.
    """
    last = max(found.identities, default=-1)
    if not isinstance(source, RemoteSource):
        last = -1  # a folder may hold a training in progress
    reasons: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
    for (name, _), steps in _holders(found.identities.values()).items():
        for step in steps:
            others = [other for other in steps if other != step and not {step, other} <= ALLOWED_TWINS]
            if others and step != last and not (step in ALLOWED_TWINS and last not in others):
                reasons[step].append((name, last if last in others else others[0]))
    told = {step: _told(found, step, reasons[step]) for step in sorted(reasons)}
    for step, what in _known(source).items():
        if step in told:
            told[step] += f"; {what}"
        elif step in found.identities and last != source.steps()[-1]:  # what it is known to share was not compared
            told[step] = what
    return dict(sorted(told.items()))


def _told(found: Audit, step: int, reasons: Sequence[tuple[str, int]]) -> str:
    """One sentence for the files a step shares."""
    by_twin: defaultdict[int, list[str]] = defaultdict(list)
    for name, twin in reasons:
        by_twin[twin].append(name)
    parts = []
    for twin, names in sorted(by_twin.items()):
        whole = len(names) == len(found.identities[step].files)
        parts.append(f"has the weights of step {twin}" if whole else f"shares {', '.join(names)} with step {twin}")
    return "; ".join(parts)


def _holders(identities: Iterable[Identity]) -> dict[tuple[str, str], list[int]]:
    """(file name, sha256) -> the steps that have it, where there is more than one."""
    holders: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for identity in sorted(identities, key=lambda i: i.step):
        for name, sha in identity.files.items():
            holders[name, sha].append(identity.step)
    return {file: steps for file, steps in holders.items() if len(steps) > 1}


def _first_twins(identities: Iterable[Identity]) -> dict[int, tuple[int, str]]:
    """Step -> the first other step with one of its files, and the files in common with it."""
    common: defaultdict[int, defaultdict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for (name, _), steps in _holders(identities).items():
        for step in steps:
            common[step][next(other for other in steps if other != step)].append(name)
    return {step: (min(twins), ", ".join(twins[min(twins)])) for step, twins in common.items()}


def _known(source: CheckpointSource) -> Mapping[int, str]:
    if not isinstance(source, HubSource):
        return {}
    return {step: what for (repository, step), what in KNOWN_SUSPECTS.items() if repository == source.repo_id}
