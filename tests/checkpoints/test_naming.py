"""How names of checkpoints are read by a suite's own pattern, and what a pattern may be."""

from __future__ import annotations

import pytest

from massact.checkpoints import FolderSource, HubSource, list_branches
from massact.checkpoints.branches import read_branches
from massact.checkpoints.naming import Naming
from massact.checkpoints.parts import PartsSource
from massact.errors import ConfigError
from tests.hub import commit_of, serving
from tests.suites import commit


@pytest.mark.parametrize(
    ("naming", "name", "step", "tokens"),
    [
        (Naming(pattern=r"step-(?P<step>\d+)k", multiplier={"step": 1000.0}), "step-480k", 480000, None),
        (Naming(pattern=r"step-(?P<step>\d+k)"), "step-480k", 480000, None),
        (Naming(pattern=r"s(?P<step>\d+)-t(?P<tokens>\d+[BT])"), "s5-t15T", 5, 15 * 10**12),
        (Naming(pattern=r"chck_(?P<words>\d+M)", axis="words"), "chck_1M", 10**6, None),
        (Naming(pattern=r"ckpt_(?P<chunk>\d+)", axis="chunk"), "ckpt_007", 7, None),
        (Naming(pattern="(?P<phase>[a-z]+)", axis="tokens", phases={"end": 2.7}, multiplier={"tokens": 1e12}),
         "end", 27 * 10**11, 27 * 10**11),
    ],
)  # fmt: skip
def test_numbers_are_read_in_their_units(naming, name, step, tokens):
    naming.check()
    branch = naming.read(name)
    assert (branch.step, branch.tokens) == (step, tokens)
    assert naming.read("main") is None


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"pattern": "step(?P<step>\\d+"}, "is no regular expression"),
        ({"pattern": "step\\d+"}, "has no group step"),
        ({"pattern": "(?P<step>\\d+)", "axis": "words"}, "has no group words"),
        ({"pattern": "(?P<step>\\d+)", "axis": "word"}, "words"),
        ({"pattern": "(?P<step>\\d+)(?P<token>.*)"}, "tokens"),
        ({"pattern": "(?P<step>\\d+)", "refs": "branch"}, "branches"),
        ({"pattern": "(?P<step>\\d+)", "phases": {"end": 1.0}}, "need each other"),
        ({"pattern": "(?P<phase>.*)"}, "need each other"),
        ({"pattern": "(?P<step>\\d+)", "multiplier": {"tokens": 1e9}}, "multiplier.tokens is of no number"),
        ({"pattern": "(?P<step>\\d+)", "multiplier": {"step": 0.0}}, "more than 0"),
        ({"pattern": "(?P<step>\\d+)", "refs": "folders", "parts": ["a/b"]}, "parts"),
    ],
)
def test_a_naming_that_reads_nothing_is_refused(values, match):
    with pytest.raises(ConfigError, match=match) as caught:
        Naming(**values).check()
    assert "\n" not in str(caught.value)


def test_names_of_one_step_conflict_unless_a_variant_tells_them_apart():
    names = ["a-step1", "b-step1", "main"]
    alike = read_branches("owner/name", names, Naming(pattern=r"[ab]-step(?P<step>\d+)"))
    assert alike.branches == ()
    assert alike.unread["a-step1"] == "names step 1, as b-step1 does"
    apart = read_branches("owner/name", names, Naming(pattern=r"(?P<variant>[ab])-step(?P<step>\d+)"))
    assert apart.revisions("b") == {1: "b-step1"}
    assert apart.unread == {"main": "does not match model.naming.pattern"}


def test_folders_are_read_by_a_pattern(weights, tmp_path):
    for name in ("epoch-1", "epoch-2", "notes"):
        (tmp_path / name).symlink_to(weights["step2"])
    source = FolderSource(tmp_path, naming=Naming(refs="folders", pattern=r"epoch-(?P<step>\d+)"))
    assert source.steps() == [1, 2]
    assert source.identify(2).weights_sha256 == FolderSource(weights["step2"]).identify(2).weights_sha256


@pytest.mark.usefixtures("online")
def test_tags_commits_and_repositories_are_listed(weights):
    titles = {commit(title): title for title in ("Step 1", "Step 2", "a note")}
    served = {
        "o/tags": {"global_step4": weights["step4"], "main": weights["step4"]},
        "o/commits": dict.fromkeys(titles, weights["step2"]),
        "o/run-step7": {"main": weights["step2"]},
        "o/run-step9": {"main": weights["step4"]},
    }
    with serving(served, tags=frozenset({"global_step4"}), titles=titles) as hub:

        def listed(repository: str, **values):
            naming = Naming(**values)
            return list_branches(repository, endpoint=hub.url, offline=False, naming=naming)

        assert listed("o/tags", refs="tags", pattern=r"global_step(?P<step>\d+)").revisions() == {4: "global_step4"}
        commits = listed("o/commits", refs="commits", pattern=r"Step (?P<step>\d+)")
        assert {step: b.revision for step, b in commits.of().items()} == {1: commit("Step 1"), 2: commit("Step 2")}
        assert list(commits.unread) == ["a note"]
        repos = listed("o/run-step7", refs="repos", pattern=r"run-step(?P<step>\d+)", parts=["o/run-step9"])
        assert {step: b.repository for step, b in repos.of().items()} == {7: "o/run-step7", 9: "o/run-step9"}


@pytest.mark.usefixtures("online")
def test_a_run_in_two_repositories_is_one_source(weights, tmp_path):
    served = {"o/a": {"step1": weights["step2"], "main": weights["step4"]}, "o/b": {"step0": weights["step0"]}}
    with serving(served) as hub:
        parts = [
            HubSource(name, steps=steps, offline=False, endpoint=hub.url, cache=tmp_path)
            for name, steps in (("o/a", [1]), ("o/b", [0]))
        ]
        source = PartsSource(parts)
        assert source.steps() == [0, 1]
        found = source.identify_many([0, 1])
        assert [found[step].revision_loaded for step in (0, 1)] == [
            commit_of("o/b", "step0"),
            commit_of("o/a", "step1"),
        ]
        assert source.final().weights_sha256 != found[1].weights_sha256
        assert source.resolve(0).weights_sha256 == found[0].weights_sha256
        assert source.cached(0)
        source.release(found[0])
        assert not source.cached(0)
        assert source.listed(found[0].revision_loaded)
