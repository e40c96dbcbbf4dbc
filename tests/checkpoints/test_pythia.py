import pytest

from massact.checkpoints.pythia import KNOWN_SUSPECTS, PYTHIA_STEPS, SEEDS, SIZES, repo_id
from massact.errors import ConfigError


def test_there_are_154_steps():
    assert len(PYTHIA_STEPS) == len(set(PYTHIA_STEPS)) == 154
    assert PYTHIA_STEPS[:5] == (0, 1, 2, 4, 8)
    assert PYTHIA_STEPS[10:13] == (512, 1000, 2000)
    assert PYTHIA_STEPS[-1] == 143000
    assert list(PYTHIA_STEPS) == sorted(PYTHIA_STEPS)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_has_a_standard_release(size):
    assert repo_id(size) == f"EleutherAI/pythia-{size}"


def test_variants():
    assert repo_id("12b", deduped=True) == "EleutherAI/pythia-12b-deduped"
    assert [repo_id("14m", seed=s)[-6:] for s in SEEDS] == [f"-seed{s}" for s in range(1, 10)]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"size": "71m"}, "70m"),
        ({"size": "14m", "deduped": True}, "70m"),
        ({"size": "31m", "deduped": True}, "160m"),
        ({"size": "1b", "seed": 1}, "410m"),
        ({"size": "70m", "seed": 0}, "1 to 9"),
        ({"size": "70m", "seed": 10}, "1 to 9"),
        ({"size": "70m", "seed": True}, "1 to 9"),
        ({"size": "70m", "seed": 1, "deduped": True}, "drop"),
    ],
)
def test_what_was_never_published_is_refused_with_what_was(arguments, named):
    with pytest.raises(ConfigError) as caught:
        repo_id(**arguments)
    assert named in caught.value.remedy


def test_known_suspects_are_published_checkpoints():
    for (repository, step), reason in KNOWN_SUSPECTS.items():
        assert step in PYTHIA_STEPS
        assert repository.startswith("EleutherAI/pythia-")
        assert "issue" in reason
    assert len(KNOWN_SUSPECTS) == 5
