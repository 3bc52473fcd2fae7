#!/bin/bash
# Trains: makes the environment on first use, then hands every argument to
# `python -m tfwd.train` (--help lists the flags).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

ensure_environment
# Not `cd`: relative paths among the arguments are the caller's.
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
exec "$python" -m tfwd.train "$@"
