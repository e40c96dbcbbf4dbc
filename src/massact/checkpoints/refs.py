"""What a repository's branches, tags and commits are called: from the Hub in one request, or from the cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from massact.checkpoints.hub_cache import cache_root
from massact.checkpoints.hub_errors import ask
from massact.checkpoints.source import CheckpointStatus, SourceError


@dataclass(frozen=True)
class Ref:
    """A name in a repository; `revision` is what to ask the Hub for, if not the name."""

    name: str
    repository: str = ""
    revision: str = ""


def ref_commits(repo_id: str, endpoint: str) -> dict[str, str]:
    """Branch or tag -> commit. A branch counts if both have one name.

    Raises
    ------
    SourceError
        The Hub or the network reports an error.
    """
    branches, tags = _branches_and_tags(repo_id, endpoint)
    return {**tags, **branches}


def refs_of(
    repo_id: str, kind: str, endpoint: str, *, offline: bool, cache: Path | None = None, branch: str = "main"
) -> list[Ref]:
    """The names of one kind (`naming.REFS`) in a repository, in order; commits by their titles.

    Raises
    ------
    SourceError
        The Hub or the network reports an error; `unreachable` when nobody can be asked and the cache does not say.
    """
    if kind == "repos":
        return [Ref(repo_id.rpartition("/")[2], repo_id, "main")]
    from massact.checkpoints.reach import reachable

    if not offline and reachable(endpoint):
        if kind == "commits":
            return _commits(repo_id, endpoint, branch)
        branches, tags = _branches_and_tags(repo_id, endpoint)
        return [Ref(name, repo_id) for name in sorted(tags if kind == "tags" else branches)]
    names = [] if kind == "commits" else cached_branches(repo_id, cache)
    if not names:
        why = "HF_HUB_OFFLINE forbids asking" if offline else f"no answer from {endpoint}"
        what = "titles of its commits" if kind == "commits" else kind
        raise SourceError(CheckpointStatus.UNREACHABLE, f"{repo_id}: its {what} are not known ({why})", fatal=True)
    return [Ref(name, repo_id) for name in names]


def cached_branches(repo_id: str, cache: Path | None) -> list[str]:
    """Branches and tags of which the local cache holds files."""
    refs = cache_root(cache) / f"models--{repo_id.replace('/', '--')}" / "refs"
    return sorted(path.relative_to(refs).as_posix() for path in refs.rglob("*") if path.is_file())


def _branches_and_tags(repo_id: str, endpoint: str) -> tuple[dict[str, str], dict[str, str]]:
    from huggingface_hub import HfApi

    refs = ask(lambda: HfApi(endpoint=endpoint).list_repo_refs(repo_id), repo_id, "branches", endpoint)
    return ({b.name: b.target_commit for b in refs.branches}, {t.name: t.target_commit for t in refs.tags})


def _commits(repo_id: str, endpoint: str, branch: str) -> list[Ref]:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint)
    commits = ask(lambda: api.list_repo_commits(repo_id, revision=branch), repo_id, branch, endpoint)
    return [Ref(commit.title, repo_id, commit.commit_id) for commit in reversed(commits)]
