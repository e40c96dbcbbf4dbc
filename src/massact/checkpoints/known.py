"""Faults of published checkpoints that users have reported, for use without the Hub.

If the Hub answers, the hashes it states decide, so a fault that has been fixed is no longer reported.
"""

from __future__ import annotations

from massact.checkpoints.pythia import KNOWN_SUSPECTS

# EleutherAI/pythia issue 205 (and 195, which reports the first steps of the same fault): 76 branches of pythia-2.8b
# serve main's model.safetensors, ten more share a second file, whose embeddings equal main's. The report compares the
# safetensors alone; whether the .bin files beside them are right is not known here.
PYTHIA_2_8B_AS_MAIN = (
    *(0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
    *range(1000, 54000, 1000),
    *(55000, 60000, 65000, 70000, 80000, 90000, 100000, 103000, 110000, 120000, 130000, 140000),
)
PYTHIA_2_8B_SECOND = (54000, *range(56000, 60000, 1000), *range(61000, 65000, 1000), 143000)
# allenai/OLMo issue 915. The report looked at about 25 branches, so there may be more.
OLMO_2_7B_SHARED = (101000, 175000, 300000)

_AS_MAIN = "serves the weights of main (EleutherAI/pythia issue 205)"
_SECOND = "shares its weights with nine other steps (EleutherAI/pythia issue 205)"
_ONE_FILE = "steps 101000, 175000 and 300000 serve the same weights (allenai/OLMo issue 915)"
_OTHER_START = "is not what later steps continue from (EleutherAI/pythia issue 203)"

# (repository, step) -> fault. The stated hashes show these, so they are reported only if hashes were not compared.
# Not listed: EleutherAI/pythia issue 198 (steps 0 and 2 the same in all models), one sentence without hashes; and
# BLOOM-7b1's steps 100000 and 200000, of which no public report was found. If true, both show in the hashes.
REPORTED = {
    **KNOWN_SUSPECTS,
    **{("EleutherAI/pythia-2.8b", step): _AS_MAIN for step in PYTHIA_2_8B_AS_MAIN},
    **{("EleutherAI/pythia-2.8b", step): _SECOND for step in PYTHIA_2_8B_SECOND},
    **{("allenai/OLMo-2-1124-7B", step): _ONE_FILE for step in OLMO_2_7B_SHARED},
}
# No hash shows these, so they are always reported. In the two weight seeds, all steps but 0 descend from the
# initialisation that the data seeds share, within 5e-5 at step 4; only step 0 is another.
REPORTED_BY_VALUE = {(f"EleutherAI/pythia-160m-weight-seed{seed}", 0): _OTHER_START for seed in (1, 2)}
