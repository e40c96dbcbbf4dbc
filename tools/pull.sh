#!/bin/sh
# Bring the shipped weights and trajectories (`dvc pull -R data`); where that fails, say what is missing or damaged.
set -eu
if [ ! -e .git ] && ! grep -qs no_scm .dvc/config.local; then
    # A source archive. DVC works without Git when it is told so; a repository that the folder happens to lie in is not
    # its own, and its .gitignore may hide data/. The setting is this copy's own and is ignored by Git.
    echo "massact: this copy has no Git repository of its own; DVC is set to work without (core.no_scm)" >&2
    dvc config --local core.no_scm true
fi
dvc pull -q -R data || python -m massact.stages.pulled --diagnose
