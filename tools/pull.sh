#!/bin/sh
# Bring the shipped weights and trajectories (`dvc pull -R data`); where that fails, say what is missing or damaged.
set -eu
if ! git rev-parse --git-dir >/dev/null 2>&1 && [ -z "$(dvc config core.no_scm 2>/dev/null || true)" ]; then
    # A source archive: DVC works without Git when it is told so. The setting is this copy's own and is ignored by Git.
    echo "massact: this copy has no Git repository; DVC is set to work without one (core.no_scm)" >&2
    dvc config --local core.no_scm true
fi
dvc pull -q -R data || python -m massact.stages.pulled --diagnose
