"""Names and commits of a repository's branches, in one request."""

from __future__ import annotations

from massact.checkpoints.hub_errors import ask


def branch_commits(repo_id: str, endpoint: str) -> dict[str, str]:
    """Branch -> commit.

    Raises
    ------
    SourceError
        As the Hub or the network tells it.
    """
    from huggingface_hub import HfApi

    refs = ask(lambda: HfApi(endpoint=endpoint).list_repo_refs(repo_id), repo_id, "branches", endpoint)
    return {branch.name: branch.target_commit for branch in refs.branches}
