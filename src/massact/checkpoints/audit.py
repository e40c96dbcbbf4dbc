"""Checkpoints that are not what they claim, told from the hashes of their weights and from some of their numbers."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tqdm import tqdm

from massact.checkpoints.appearance import Appearance
from massact.checkpoints.groups import MAIN, Group, Judgement, groups, judge, steps_named
from massact.checkpoints.hub import HubSource
from massact.checkpoints.known import REPORTED, REPORTED_BY_VALUE
from massact.checkpoints.source import CheckpointSource, CheckpointStatus, Identity, RemoteSource, SourceError
from massact.checkpoints.untrained import Look, State

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
    "group",
    "looks",
)
# Weights that look untrained at this step or later, where others of the same model look trained, are not its own.
_LATE = 1000
_BIN = re.compile(r"pytorch_model(-[0-9]{5}-of-[0-9]{5})?\.bin")
_STALE = (
    "each has a pytorch_model.bin of its own, so the safetensors are stale: fetch the .bin, config.json and tokenizer "
    "into step{N}/ of a folder and measure them with model.folder"
)
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
    final, final_suspect
        What the repository offers as the finished model, where it says so, and why it is not what it claims.
    groups
        Checkpoints that hold the same files, each with what that means.
    looks
        Step -> what its weights look like, of those that were looked at.
    """

    identities: dict[int, Identity] = field(default_factory=dict)
    errors: dict[int, SourceError] = field(default_factory=dict)
    revisions: dict[int, str] = field(default_factory=dict)
    suspects: dict[int, str] = field(default_factory=dict)
    final: Identity | None = None
    final_suspect: str = ""
    groups: list[tuple[Group, Judgement]] = field(default_factory=list)
    looks: dict[int, Look] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row a step and one for the finished model: see COLUMNS.

        `duplicate_of` is the first other step with one of the same weight files (-1: none), `shared` those files;
        `suspect` says why a step should not be trusted; `group` names the groups it is in (`g1`); `looks` is
        untrained, trained or empty.
        """
        import pandas as pd

        twins = _first_twins(self.identities.values())
        rows = [self._row(step, twins) for step in sorted({*self.identities, *self.errors})]
        if self.final is not None:
            last = max(self.identities, default=-1)
            same = last >= 0 and self.identities[last].weights_sha256 == self.final.weights_sha256
            rows.append(_ok(self.final, self.final_suspect, last if same else -1, "", *self._seen(MAIN)))
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def lines(self) -> list[str]:
        """The groups in words, one line each."""
        steps = sorted({*self.identities, *self.errors})
        return [_line(group, judgement, steps) for group, judgement in self.groups]

    def _row(self, step: int, twins: Mapping[int, tuple[int, str]]) -> tuple[object, ...]:
        if step in self.errors:
            error = self.errors[step]
            asked = self.revisions.get(step, f"step{step}")
            return (step, asked, str(error.status), error.what, -1, "", "", "", 0, "", "")
        twin = twins.get(step, (-1, ""))
        return _ok(self.identities[step], self.suspects.get(step, ""), *twin, *self._seen(step))

    def _seen(self, step: int) -> tuple[str, str]:
        """Names of the groups a step is in, and what its weights look like."""
        within = [group.name for group, _ in self.groups if step in group.steps or (step == MAIN and group.main)]
        return " ".join(within), str(self.looks[step].state) if step in self.looks else ""


def audit(source: CheckpointSource, steps: Sequence[int] | None = None, *, look_at_all: bool = False) -> Audit:
    """Identify checkpoints and tell which are not what they claim.

    Parameters
    ----------
    steps
        The steps that matter; None: all. Of a Hub that answers, all are compared either way, by what it states.
    look_at_all
        Whether to look at some numbers of every checkpoint, some hundred kilobytes of each; else of step 0 alone, and
        in a folder on this disk only where step 0 shares its weights with later steps.

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
    found.final = source.final() if remote else None
    appearance = Appearance(source)
    known = [*found.identities.values(), *([found.final] if found.final else [])]
    if look_at_all:
        found.looks = appearance.of_many(known)
    elif isinstance(source, HubSource) and 0 in wanted and 0 in found.identities:
        found.looks = {0: appearance.of(found.identities[0])}
    _judge_groups(found, source, appearance)
    found.suspects = _suspects(found, source)
    found.final_suspect = _final_suspect(found)
    return found


def audit_table(source: CheckpointSource) -> pd.DataFrame:
    """One row a step of a source, each looked at, as `Audit.table` says; errors as in `audit`."""
    return audit(source, look_at_all=True).table()


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


def _ok(identity: Identity, suspect: str, twin: int, shared: str, group: str, looks: str) -> tuple[object, ...]:
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
        group,
        looks,
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


def _judge_groups(found: Audit, source: CheckpointSource, appearance: Appearance) -> None:
    """Find the groups of equal files and say what each means."""
    last = _last(found, source)
    for group in groups(found.identities.values(), found.final):
        seen = Look()
        if group.first and (len(group.steps) > len(group.first) or group.main):
            seen = appearance.of(found.identities[group.first[0]], group.files[0])
        elif 0 in group.steps and 0 in found.looks:
            seen = found.looks[0]
        judgement = judge(group, seen, last=last, main_known=found.final is not None)
        if judgement.wrong and _stale(group, found, source, last):
            judgement = replace(judgement, remedy=_STALE)
        found.groups.append((group, judgement))


def _last(found: Audit, source: CheckpointSource) -> int | None:
    """The step that ends training, its weights being known; a folder may hold a training in progress."""
    if not isinstance(source, RemoteSource):
        return None
    last = source.steps()[-1] if source.steps() else None
    return last if last in found.identities else None


def _stale(group: Group, found: Audit, source: CheckpointSource, last: int | None) -> bool:
    """Whether each of a group has a .bin of its own beside the safetensors it shares, by what the Hub states."""
    if not isinstance(source, HubSource) or not group.files[0].endswith(".safetensors"):
        return False
    members = [step for step in group.steps if not (step == 1 and 0 in group.steps)]
    if group.main and last not in group.steps:
        members.append(MAIN)
    if len(members) < 2:
        return False
    sets = []
    for step in members:
        identity = found.final if step == MAIN else found.identities[step]
        listed = source.listed(identity.revision_loaded) if identity is not None else {}
        sets.append(tuple(sorted((n, f.sha256) for n, f in listed.items() if _BIN.fullmatch(n) and f.sha256)))
    return all(sets) and len(set(sets)) == len(sets)


def _suspects(found: Audit, source: CheckpointSource) -> dict[int, str]:
    """Why steps should not be trusted: their group says so, their numbers do, or somebody has reported them."""
    last = _last(found, source)
    reasons: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
    notes: defaultdict[int, list[str]] = defaultdict(list)
    for group, judgement in found.groups:
        for step in judgement.wrong:
            others = [other for other in group.steps if other != step]
            twin = last if last in others else MAIN if group.main else others[0]
            reasons[step] += [(name, twin) for name in group.files]
            if group.first:
                notes[step].append(judgement.why)
    for step, what in _by_appearance(found).items():
        notes[step].append(what)
    told = {}
    for step in sorted({*reasons, *notes}):
        told[step] = "; ".join(part for part in (_told(found, step, reasons[step]), *notes[step]) if part)
    compared = bool(source.steps()) and last == source.steps()[-1]
    for step, what in _reported(source, REPORTED).items():
        if step in told:
            told[step] += f"; {what}"
        elif step in found.identities and not compared:
            told[step] = what
    for step, what in _reported(source, REPORTED_BY_VALUE).items():
        if step in found.identities:
            told[step] = f"{told[step]}; {what}" if step in told else what
    return dict(sorted(told.items()))


def _by_appearance(found: Audit) -> dict[int, str]:
    """Steps that look like what they cannot be, and whose group does not say so already."""
    said = {step for group, judgement in found.groups if group.first for step in judgement.wrong}
    trained = any(seen.state is State.TRAINED for seen in found.looks.values())
    out = {}
    for step, seen in found.looks.items():
        if step == 0 and seen.state is State.TRAINED and step not in said:
            out[step] = f"looks trained ({seen.sign})"
        elif step >= _LATE and seen.state is State.UNTRAINED and trained and step not in said:
            out[step] = f"looks untrained ({seen.sign})"
    return out


def _final_suspect(found: Audit) -> str:
    """Why the finished model is not what it claims."""
    if found.final is None:
        return ""
    last, parts = max(found.identities, default=-1), []
    if last < 0 or found.identities[last].weights_sha256 != found.final.weights_sha256:
        parts.append(f"is not step {last}")
    steps = sorted(found.identities)
    for group, _ in found.groups:
        if group.main and group.first:
            parts.append(group.shares(f"steps {steps_named(group.steps, steps)}"))
    seen = found.looks.get(MAIN, Look())
    if seen.state is State.UNTRAINED and any(other.state is State.TRAINED for other in found.looks.values()):
        parts.append(f"looks untrained ({seen.sign})")
    return "; ".join(parts)


def _told(found: Audit, step: int, reasons: Sequence[tuple[str, int]]) -> str:
    """One sentence for the files a step shares."""
    by_twin: defaultdict[int, list[str]] = defaultdict(list)
    for name, twin in reasons:
        by_twin[twin].append(name)
    parts = []
    for twin, names in sorted(by_twin.items()):
        whole = len(names) == len(found.identities[step].files)
        whom = "main" if twin == MAIN else f"step {twin}"
        parts.append(f"has the weights of {whom}" if whole else f"shares {', '.join(names)} with {whom}")
    return "; ".join(parts)


def _line(group: Group, judgement: Judgement, steps: Sequence[int]) -> str:
    """A group in words."""
    many = "step" if len(group.steps) == 1 else "steps"
    who = f"{many} {steps_named(group.steps, steps)}{' and main' if group.main else ''}"
    what = "the same weights" if group.whole else ", ".join(group.files)
    verdict = f"{len(judgement.wrong)} suspect" if judgement.wrong else "as it should be"
    why = "; ".join(part for part in (judgement.why, judgement.remedy) if part)
    return f"{group.name} ({group.sha256[:12]}): {who} hold {what}: {verdict}, {why}"


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


def _reported(source: CheckpointSource, reports: Mapping[tuple[str, int], str]) -> dict[int, str]:
    if not isinstance(source, HubSource):
        return {}
    return {step: what for (repository, step), what in reports.items() if repository == source.repo_id}
