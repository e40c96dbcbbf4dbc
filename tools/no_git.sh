#!/bin/sh
# In a source archive, set DVC to work without Git. Otherwise every DVC command fails with "not a git repository".
# If the folder lies inside another repository, DVC must not use that one: its .gitignore may hide data/.
# The setting is local to this copy (.dvc/config.local), and Git ignores it.
set -eu
if [ ! -e .git ] && ! grep -qs no_scm .dvc/config.local; then
    echo "massact: this copy has no Git repository, so DVC is set to work without Git (core.no_scm)" >&2
    dvc config --local core.no_scm true
fi
