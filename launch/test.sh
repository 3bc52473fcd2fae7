#!/bin/bash
# Lint and tests: makes the environment on first use.
set -euo pipefail

if [[ ${1:-} == --help ]]; then
  cat <<'EOF'
usage: launch/test.sh [--full | --rest] [PYTEST OPTIONS] [PATH[::TEST] ...]
       launch/test.sh [--backend=NAME] [--keras=VERSION] [--numpy=VERSION] ...
       launch/test.sh --versions ...

Runs ruff and mypy, then pytest on the TensorFlow backend, then the core of
optimizers, K-FAC, diagnostics and models again on JAX and, where it is
installed, the optimizers and models on torch. Options such as `-x` or `-k
stable` go to every pytest run; of the files, folders or tests that are named
each backend runs its part. A selection that leaves nothing to run is an error,
and so is one all of which needs --full on some backend.

--full           also the tests that take more than ten seconds, and all of
                 them on JAX; a test that is named by `path::test` runs without

--rest           on TensorFlow what --full adds there, but for half an hour of
                 killed runs

--keras=VERSION, --numpy=VERSION, --backend=jax|tensorflow|torch
                 instead the core alone, with these (3.12: the newest 3.12.x;
                 without: the newest; without a backend: jax), in an
                 environment of its own in .venvs that holds this backend, what
                 the package itself needs, and pytest

--versions       the same for each line of the matrix in launch/versions.sh,
                 then a table of the results

TEST_WORKERS=N   processes per pytest run (default 4, as some tests wait for
                 processes of their own; 1: no pytest-xdist)
PYTHON=PATH      the python3 that makes the environment
EOF
  exit
fi

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
source "$(dirname "${BASH_SOURCE[0]}")/versions.sh"

# `-` is the newest.
backend= keras=- numpy=- versions= others=()
for argument in "$@"; do
  case $argument in
    --backend=*) backend=${argument#*=} versions=one ;;
    --keras=*) keras=${argument#*=} versions=one ;;
    --numpy=*) numpy=${argument#*=} versions=one ;;
    --versions) versions=all ;;
    *) others+=("$argument") ;;
  esac
done
set -- "${others[@]}"
case $versions in
  one) use_versions "${backend:=jax}" "$keras" "$numpy" ;;
  '') ensure_environment dev ;;
esac
cd "$root"

workers=${TEST_WORKERS:-4}
parallel=()
# The slow tests stand together: who is done takes over from the others.
if ((workers > 1)); then parallel=(-n "$workers" --dist worksteal); fi

# Paths and tests that the caller names, and all other arguments.
named=() options=() selects=0 previous=
for argument in "$@"; do
  path=${argument%%::*}
  case $previous in
    -[ckmnoprW] | --deselect | --ignore | --ignore-glob) path= ;;
  esac
  if [[ $argument != -* && -e $path ]]; then
    argument=${argument#"$root"/}
    named+=("${argument#./}")
    selects=1
  else
    options+=("$argument")
  fi
  case $argument in
    -k* | -m* | -[qsvx]*[km] | --deselect* | --ignore* | --lf | --last-failed)
      selects=1
      ;;
  esac
  previous=$argument
done

ran=0
# run_tests BACKEND PATH...: what is named of the paths, or all of them.
run_tests() {
  local backend=$1 code=0 name path paths=("${@:2}")
  if ((${#named[@]})); then paths=(); fi
  for name in "${named[@]}"; do
    for path in "${@:2}"; do
      if [[ ${name%%::*} == "$path" || $name == "$path"/* ]]; then
        paths+=("$name")
      elif [[ $path == "${name%/}"/* ]]; then
        paths+=("$path")
      fi
    done
  done
  ((${#paths[@]})) || return 0
  echo "== pytest on $backend"
  # TensorFlow's greetings, which pytest-xdist would print after the summary.
  KERAS_BACKEND=$backend "$python" -m pytest \
    "${parallel[@]}" "${options[@]}" "${paths[@]}" \
    2> >(grep -v -e '^I0000 ' -e 'before absl::InitializeLog' >&2) || code=$?
  # 5: nothing collected. Is nothing of the selection this backend's?
  if ((code == 5 && selects)); then
    code=0
    KERAS_BACKEND=$backend "$python" -m pytest --collect-only --full -qq \
      "${options[@]}" "${paths[@]}" >/dev/null 2>&1 || code=$?
    ((code != 5)) || return 0
    fail "all tests that are selected need --full on $backend. Received: $*"
  fi
  ((code == 0)) || exit "$code"
  ran=1
}

# Compiling for JAX takes as long again as all of TensorFlow's tests.
jax=(
  tfwd_tests/optimizers/{fit,update_rules}_test.py
  tfwd_tests/kfac/exactness_test.py
  tfwd_tests/diagnostics/{fisher,gauss_newton,jacobian}_test.py
  tfwd_tests/{hashing_test,models/dropout_test}.py
)
# The search needs an extra, and so is not of the core; the rest of it trains,
# which is TensorFlow's.
search=(tfwd_tests/tuning/{coordinates,keras_tuner,search_space}_test.py)
if [[ " $* " == *" --full "* ]]; then
  jax=(tfwd_tests/{optimizers,kfac,models,diagnostics,hashing_test.py})
fi

torch=(tfwd_tests/{optimizers,models,kfac/torch_kfac_test.py})

case $versions in
  all) run_matrix ;;
  one) run_core "$backend" ;;
esac
if [[ $versions ]]; then
  ((ran)) || fail "the arguments must select a test of the core. Received: $*"
  exit
fi

"$python" -m ruff check launch tfwd tfwd_tests
"$python" -m ruff format --check launch tfwd tfwd_tests
"$python" -m mypy
run_tests tensorflow tfwd_tests
if [[ " $* " == *" --rest "* ]]; then exit; fi
run_tests jax "${jax[@]}" "${search[@]}"
if "$python" -c 'import torch' 2>/dev/null; then
  run_tests torch "${torch[@]}"
fi
((ran)) || fail "the arguments must select a test of some backend. Received: $*"
