#!/bin/bash
# Trains on all GPUs of this machine: one replica per GPU.
set -euo pipefail

if [[ ${1:-} == --help ]]; then
  cat <<'EOF'
usage: launch/gpu.sh [FLAGS OF launch/train.sh]

Trains on all GPUs of this machine, which CUDA_VISIBLE_DEVICES may limit, as
  --strategy=mirrored --dtype_policy=mixed_bfloat16
and with --jit_compile where there is one GPU. Any of these flags that you
give, also in a --flagfile, wins. Where TensorFlow sees no GPU, a line says so
and launch/train.sh trains on the CPU with your flags alone.

PRECISION=float32|mixed_bfloat16|mixed_float16
               mixed_bfloat16 is fast from the A100 on, mixed_float16 from
               the V100 on
XLA=0|1        compile the training step

TensorFlow needs CUDA's libraries to see a GPU:
  .venv/bin/python -m pip install 'tensorflow[and-cuda]'
EOF
  exit
fi

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
ensure_environment

count_gpus='import tensorflow as tf
print(len(tf.config.list_physical_devices("GPU")))'
# Without TensorFlow's remarks on stderr.
gpus=$("$python" -c "$count_gpus" 2>/dev/null) ||
  fail "TensorFlow cannot be imported; $python -c 'import tensorflow' says why"
if ((gpus == 0)); then
  echo "gpu.sh: TensorFlow sees no GPU; training on the CPU" >&2
  exec "$root/launch/train.sh" "$@"
fi

xla=${XLA:-$((gpus == 1))}
[[ $xla == [01] ]] || fail "XLA must be 0 or 1. Received: XLA=$xla"
flags=(--strategy=mirrored "--dtype_policy=${PRECISION:-mixed_bfloat16}")
if ((xla)); then flags+=(--jit_compile); fi
# A first flagfile, so that the caller's files and flags win.
exec "$root/launch/train.sh" \
  "--flagfile="<(printf '%s\n' "${flags[@]}") "$@"
