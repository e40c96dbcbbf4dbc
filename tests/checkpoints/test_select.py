import pytest
from hypothesis import given
from hypothesis import strategies as st

from massact.checkpoints.pythia import PYTHIA_STEPS, repo_id
from massact.checkpoints.select import select_steps
from massact.errors import ConfigError

grids = st.sets(st.integers(0, 10_000), min_size=2, max_size=60).map(sorted)


@given(grids, st.sampled_from(["all", "log", "spaced"]), st.integers(2, 40))
def test_every_rule_gives_available_steps_ascending_with_both_ends(available, rule, count):
    chosen = select_steps(available, rule=rule, count=count, model="m")
    assert chosen == sorted(set(chosen))
    assert set(chosen) <= set(available)
    assert chosen[0] == available[0]
    assert chosen[-1] == available[-1]
    assert len(chosen) == (len(available) if rule == "all" else min(count, len(available)))


def test_the_papers_kind_of_37_steps():
    chosen = select_steps(PYTHIA_STEPS, rule="spaced", count=37, model="pythia-70m")
    assert len(PYTHIA_STEPS) == 154
    assert len(chosen) == 37
    assert chosen[:11] == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    assert chosen[-1] == 143_000


@pytest.mark.parametrize(
    ("size", "options", "words"),
    [
        ("3b", {}, "2.8b"),
        ("14m", {"deduped": True}, "70m"),
        ("1b", {"seed": 1}, "410m"),
        ("70m", {"seed": 12}, "1 to 9"),
        ("70m", {"seed": 1, "deduped": True}, "deduplicated seeds"),
    ],
)
def test_repositories_that_do_not_exist_are_refused(size, options, words):
    with pytest.raises(ConfigError, match=words):
        repo_id(size, **options)


def test_repositories():
    assert repo_id("12b") == "EleutherAI/pythia-12b"
    assert repo_id("70m", deduped=True) == "EleutherAI/pythia-70m-deduped"
    assert repo_id("410m", seed=9) == "EleutherAI/pythia-410m-seed9"
