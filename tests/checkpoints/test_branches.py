"""Branches of suites with irregular names: read, chosen by variant, and the rest reported."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from massact.checkpoints import HubSource, SourceError, list_branches
from massact.checkpoints.branches import parse_branch, read_branches
from massact.errors import ConfigError
from tests.hub import serving, write_cache

# Names as OLMo, OLMo 2, OLMoE and others have them.
OLMO2 = [
    "main",
    "step150-tokens1B",
    "step600-tokens3B",
    "stage1-step1000-tokens5B",
    "stage1-step2000-tokens9B",
    "stage1-step3000-tokens13B",
    "stage2-ingredient1-step1000-tokens5B",
    "stage2-ingredient1-step2000-tokens9B",
    "non-annealed",
]


@pytest.mark.parametrize(
    ("name", "step", "tokens", "variant"),
    [
        ("step0-tokens0B", 0, 0, ""),
        ("step556000-tokens2460B", 556000, 2460 * 10**9, ""),
        ("stage2-ingredient3-step12000-tokens51B", 12000, 51 * 10**9, "stage2-ingredient3"),
        ("step143000", 143000, None, ""),
        ("checkpoint-500", 500, None, ""),
        ("ckpt_0010", 10, None, ""),
        ("seed-2/step-64", 64, None, "seed-2"),
        ("step20-tokens1.5T", 20, 15 * 10**11, ""),
    ],
)
def test_names_say_step_tokens_and_variant(name, step, tokens, variant):
    branch = parse_branch(name)
    assert branch is not None
    assert (branch.step, branch.tokens, branch.variant) == (step, tokens, variant)


@pytest.mark.parametrize("name", ["main", "fp32", "non-annealed", "step", "step1-step2", "step1-tokens2B-tokens3B", ""])
def test_other_names_are_not_checkpoints(name):
    assert parse_branch(name) is None


@given(st.integers(0, 10**9), st.none() | st.integers(0, 10**5), st.sampled_from(["", "stage1", "stage2-ingredient1"]))
def test_what_is_written_is_read(step, billions, variant):
    name = "-".join(filter(None, [variant, f"step{step}", "" if billions is None else f"tokens{billions}B"]))
    branch = parse_branch(name)
    assert branch is not None
    tokens = None if billions is None else billions * 10**9
    assert (branch.name, branch.step, branch.tokens, branch.variant) == (name, step, tokens, variant)


@given(st.lists(st.text("step0123456789-_tokensBM/", max_size=30), unique=True))
def test_every_branch_is_read_or_reported_and_no_step_is_taken_twice(names):
    suite = read_branches("owner/name", names)
    assert sorted([b.name for b in suite.branches] + list(suite.unread)) == sorted(names)
    assert len({(b.variant, b.step) for b in suite.branches}) == len(suite.branches)


def test_the_variant_with_most_checkpoints_is_taken_unless_one_is_named():
    suite = read_branches("allenai/OLMo-2-1124-7B", OLMO2)
    assert suite.variants() == {"stage1": 3, "": 2, "stage2-ingredient1": 2}
    assert list(suite.revisions()) == [1000, 2000, 3000]
    assert suite.revisions("") == {150: "step150-tokens1B", 600: "step600-tokens3B"}
    assert suite.unread == {"main": "names no step", "non-annealed": "names no step"}
    with pytest.raises(ConfigError, match=r"model\.variant is one of 'stage1', '', 'stage2-ingredient1'"):
        suite.revisions("stage3")


def test_two_branches_of_one_step_are_both_reported():
    suite = read_branches("owner/name", ["step1000-tokens4B", "step1000-tokens5B", "step2000-tokens8B"])
    assert suite.revisions() == {2000: "step2000-tokens8B"}
    assert suite.unread["step1000-tokens4B"] == "names step 1000, as step1000-tokens5B does"


def test_a_repository_without_checkpoints_is_refused():
    with pytest.raises(ConfigError, match="no branch of owner/name"):
        read_branches("owner/name", ["main"]).revisions()


@pytest.mark.usefixtures("online")
def test_a_suite_is_listed_in_one_request_and_from_the_cache_offline(weights, tmp_path):
    repository = "allenai/OLMo-1B-hf"
    served = {"step0-tokens0B": weights["step0"], "step1000-tokens4B": weights["step2"], "main": weights["step4"]}
    with serving({repository: served}) as hub:
        suite = list_branches(repository, endpoint=hub.url, offline=False)
        assert len([path for _, path in hub.asked if path.startswith("/api/")]) == 1
        revisions = suite.revisions()
        assert revisions == {0: "step0-tokens0B", 1000: "step1000-tokens4B"}
        source = HubSource(
            repository,
            steps=list(revisions),
            revisions=revisions,
            offline=False,
            endpoint=hub.url,
            cache=tmp_path / "a",
        )
        assert source.resolve(1000).revision_asked == "step1000-tokens4B"
    write_cache(tmp_path / "b", {repository: served})
    assert list_branches(repository, offline=True, cache=tmp_path / "b").revisions() == revisions
    with pytest.raises(SourceError, match="HF_HUB_OFFLINE"):
        list_branches(repository, offline=True, cache=tmp_path / "none")
    with pytest.raises(SourceError, match="no answer"):
        list_branches(repository, endpoint="http://127.0.0.1:9", offline=False, cache=tmp_path / "none")
