#!/bin/sh
# Bring the shipped weights and trajectories (`dvc pull -R data`); where that fails, say what is missing or damaged.
set -eu
sh tools/no_git.sh
dvc pull -q -R data || python -m massact.stages.pulled --diagnose
