#!/bin/sh
# Fetch the shipped weights and trajectories (`dvc pull -R data`). If that fails, report what is missing or damaged.
set -eu
sh tools/no_git.sh
dvc pull -q -R data || python -m massact.stages.pulled --diagnose
