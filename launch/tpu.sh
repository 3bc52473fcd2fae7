#!/bin/bash
# Trains on a TPU.
set -euo pipefail

if [[ ${1:-} == --help ]]; then
  cat <<'EOF'
usage: launch/tpu.sh [--tpu=NAME] [FLAGS OF launch/train.sh]

Trains with --strategy=tpu, one replica per core. NAME is the name of a TPU of
your Google Cloud project or its address, grpc://HOST:PORT; without it the TPU
of this machine (a TPU VM) is used. TensorFlow must be built for TPUs there
(the package tensorflow-tpu). --dtype_policy=mixed_bfloat16 is the precision
that a TPU multiplies in.
EOF
  exit
fi

exec "$(dirname "${BASH_SOURCE[0]}")/train.sh" --strategy=tpu "$@"
