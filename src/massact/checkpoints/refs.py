"""Names and commits of a repository's branches: from the Hub in one request, or from the cache."""

from __future__ import annotations

from pathlib import Path

from massact.checkpoints.hub_cache import cache_root
from massact.checkpoints.hub_errors import ask


def branch_commits(repo_id: str, endpoint: str) -> dict[str, str]:
    """Branch -> commit.

    Raises
    ------
    SourceError
        The Hub or the network reports an error.
    """
    from huggingface_hub import HfApi

    refs = ask(lambda: HfApi(endpoint=endpoint).list_repo_refs(repo_id), repo_id, "branches", endpoint)
    return {branch.name: branch.target_commit for branch in refs.branches}


def cached_branches(repo_id: str, cache: Path | None) -> list[str]:
    """Branches of which the local cache holds files."""
    refs = cache_root(cache) / f"models--{repo_id.replace('/', '--')}" / "refs"
    return sorted(path.relative_to(refs).as_posix() for path in refs.rglob("*") if path.is_file())
