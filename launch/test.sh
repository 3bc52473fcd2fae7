#!/bin/bash
# Lint and all tests: makes the environment on first use.
set -euo pipefail

if [[ ${1:-} == --help ]]; then
  cat <<'EOF'
usage: launch/test.sh [--full] [PYTEST OPTIONS]

Runs ruff, then pytest on the TensorFlow backend, then the core of optimizers,
K-FAC, diagnostics and models again on JAX and, where it is installed, the
optimizers and models on torch. Options such as `-x` or `-k stable` go to every
pytest run.

--full           also the tests that take minutes, and all of them on JAX

TEST_WORKERS=N   processes per pytest run (default 4, as some tests wait for
                 processes of their own; 1: no pytest-xdist)
PYTHON=PATH      the python3 that makes the environment
EOF
  exit
fi

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
ensure_environment test
cd "$root"

workers=${TEST_WORKERS:-4}
parallel=()
# The slow tests stand together: who is done takes over from the others.
if ((workers > 1)); then parallel=(-n "$workers" --dist worksteal); fi

# run_tests BACKEND ARGUMENTS...
run_tests() {
  local code=0
  echo "== pytest on $1"
  # TensorFlow's greetings, which pytest-xdist would print after the summary.
  KERAS_BACKEND=$1 "$python" -m pytest "${parallel[@]}" "${@:2}" \
    2> >(grep -v -e '^I0000 ' -e 'before absl::InitializeLog' >&2) || code=$?
  # 5: nothing collected, which only a selection by the caller may cause.
  ((code == 0 || (code == 5 && selected))) || exit "$code"
}
selected=$#
# Compiling for JAX takes as long again as all of TensorFlow's tests.
jax=(
  tfwd_tests/optimizers/{fit,update_rules}_test.py
  tfwd_tests/kfac/exactness_test.py
  tfwd_tests/diagnostics/{fisher,gauss_newton,jacobian}_test.py
  tfwd_tests/{hashing_test,models/dropout_test}.py
)
if [[ " $* " == *" --full "* ]]; then
  jax=(tfwd_tests/{optimizers,kfac,models,diagnostics,hashing_test.py})
  ((selected -= 1)) || true
fi

"$python" -m ruff check tfwd tfwd_tests
"$python" -m ruff format --check tfwd tfwd_tests
run_tests tensorflow "$@"
run_tests jax "${jax[@]}" "$@"
if "$python" -c 'import torch' 2>/dev/null; then
  run_tests torch tfwd_tests/optimizers tfwd_tests/models \
    tfwd_tests/kfac/torch_kfac_test.py "$@"
fi
