# Tests of the core with other versions, each in an environment of its own under
# .venvs, which holds one backend and none of the extras; sourced by test.sh.

# backend, Keras, NumPy; `-` is the newest that pip finds.
matrix=(
  "jax - -"
  "jax 3.10 -"
  "jax - 2.0"
  "tensorflow - -"
  "tensorflow 3.10 -"
  "torch - -"
  "torch 3.10 -"
)

# Where the library meets what Keras promises to nobody.
hooks=(
  tfwd_tests/{extras,loading,versions}_test.py
  tfwd_tests/optimizers/keras_hooks_test.py
)
graphs=(
  tfwd_tests/kfac/capture_keras_test.py
  tfwd_tests/diagnostics/{graph,keras_internals}_test.py
)

# use_versions BACKEND KERAS NUMPY: makes $python that of an environment with
# these, on first use; `-` is the newest.
use_versions() {
  local backend=$1 keras=${2#-} numpy=${3#-} install=(-e "$root")
  case $backend in
    jax) install=(-e "$root[jax]") ;;
    tensorflow) install+=(tensorflow) ;;
    # Newer ones may be builds for CUDA of several GB.
    torch) install+=(torch==2.13.0) ;;
    *) fail "\`--backend\` must be jax, tensorflow or torch. Received: $backend" ;;
  esac
  if [[ $keras ]]; then install+=("keras==$keras.*"); fi
  if [[ $numpy ]]; then install+=("numpy==$numpy.*"); fi
  python=$root/.venvs/$backend${keras:+-keras-$keras}${numpy:+-numpy-$numpy}
  python+=/bin/python
  install_once test "${install[@]}"
}

# run_core BACKEND: its tests of the core.
run_core() {
  case $1 in
    jax)
      run_tests jax "${jax[@]}" "${hooks[@]}" "${graphs[@]}" \
        tfwd_tests/diagnostics/import_test.py
      ;;
    torch)
      # Threads of several workers on the same cores wait for one another.
      OMP_NUM_THREADS=1 run_tests torch "${hooks[@]}" \
        tfwd_tests/optimizers/{fit,update_rules}_test.py \
        tfwd_tests/{hashing_test,models/dropout_test,kfac/torch_kfac_test}.py
      ;;
    tensorflow)
      run_tests tensorflow "${jax[@]}" "${hooks[@]}" "${graphs[@]}" \
        tfwd_tests/optimizers/tensorflow_{keras_fit,replicas,variables}_test.py \
        tfwd_tests/kfac/tensorflow_keras_test.py
      ;;
  esac
}

# Prints the versions of $python's environment, then what is in a log's last
# line: how many tests passed.
print_row() {
  "$python" - "$1" "$2" <<'PYTHON'
import importlib.metadata
import pathlib
import sys

backend, log = sys.argv[1:]
names = ("keras", "numpy", backend)
lines = pathlib.Path(log).read_text().splitlines()
result = lines[-1].strip(" =") if lines else "not installed"
versions = [importlib.metadata.version(name) for name in names]
print("| {} | {} | {} {} | {} |".format(*versions[:2], backend, versions[2], result))
PYTHON
}

# Runs one row of the matrix after the other, then prints the table of all.
run_matrix() {
  local row code=0 log table=() backend keras numpy
  for row in "${matrix[@]}"; do
    read -r backend keras numpy <<<"$row"
    use_versions "$backend" "$keras" "$numpy"
    log=${python%/bin/python}/test.log
    echo "== Keras $keras, NumPy $numpy"
    # What fails in a row must not keep the others from running.
    (run_core "$backend") | tee "$log" || code=1
    table+=("$(print_row "$backend" "$log")")
  done
  printf '%s\n' "| Keras | NumPy | backend | tests |" "|---|---|---|---|" \
    "${table[@]}"
  exit "$code"
}
