#!/bin/sh
# In a source archive, tell DVC to work without Git, else every command of DVC ends in "not a git repository".
# A repository that the folder happens to lie in is not its own, and its .gitignore may hide data/.
# The setting is this copy's own (.dvc/config.local), and Git ignores it.
set -eu
if [ ! -e .git ] && ! grep -qs no_scm .dvc/config.local; then
    echo "massact: this copy has no Git repository of its own; DVC is set to work without (core.no_scm)" >&2
    dvc config --local core.no_scm true
fi
