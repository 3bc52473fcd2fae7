#!/bin/bash
# Searches hyperparameters: makes the environment on first use, then hands the
# arguments to `python -m tfwd.tune`, in one process or as chief and workers.
set -euo pipefail

if [[ " ${*:-} " == *" --help "* && ! ${TUNE_FLAGS_HELP:-} ]]; then
  cat <<'EOF'
usage: launch/tune.sh [--workers=N] [FLAGS OF python -m tfwd.tune]

Without arguments it makes the small search of configs/search/default.flags.

--workers=N      N processes on this machine train trials at the same time, a
                 further one, the chief, hands them out; needs --output_dir.
                 GPUs are shared out among the workers. One that fails is
                 started again and goes on with its trial
--restarts=R     how often one of them is (default 3)
--log_dir=DIR    of worker-0.log, ... (default: logs in the search's folder)

On several machines, start one process each with these variables set, as
KerasTuner documents them, and the same flags and shared --output_dir:
  KERASTUNER_TUNER_ID       chief, tuner0, tuner1, ...
  KERASTUNER_ORACLE_IP      the chief's address
  KERASTUNER_ORACLE_PORT    its port
so does launch/slurm.sbatch with SEARCH=1.

EOF
fi

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

exec {stderr}>&2
say() {
  echo "tune.sh: $1" >&"$stderr"
}

refuse() {
  say "\`--$1\` $2. Received: --$1=$3"
  exit 2
}

workers='' restarts=3 output_dir='' log_dir='' flags=()
for each in "$@"; do
  case $each in
    --workers=* | --restarts=* | --log_dir=*)
      name=${each%%=*}
      declare "${name#--}=${each#*=}"
      ;;
    *)
      if [[ $each == --output_dir=* ]]; then output_dir=${each#*=}; fi
      flags+=("$each")
      ;;
  esac
done
(($#)) || flags=("--flagfile=$root/configs/search/default.flags")

ensure_environment
# Not `cd`: relative paths among the arguments are the caller's.
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
command=("$python" -m tfwd.tune "${flags[@]}")
[[ $workers ]] || exec "${command[@]}"

[[ $workers =~ ^[1-9][0-9]*$ ]] ||
  refuse workers 'must be a whole number above 0' "$workers"
[[ $restarts =~ ^[0-9]+$ ]] ||
  refuse restarts 'must be a whole number' "$restarts"
[[ $output_dir ]] ||
  refuse output_dir 'must be given, as --output_dir=DIR' "$output_dir"
log_dir=${log_dir:-$output_dir/logs}

# The GPUs that the workers share out.
gpus=()
if [[ -v CUDA_VISIBLE_DEVICES ]]; then
  IFS=, read -ra gpus <<<"$CUDA_VISIBLE_DEVICES"
elif command -v nvidia-smi >/dev/null; then
  # Without its lines about a driver or GPUs that it does not find.
  mapfile -t gpus < <(
    nvidia-smi --query-gpu=index --format=csv,noheader | grep -x '[0-9]*'
  )
fi
# CUDA's word for none.
if [[ ${gpus[0]:-} == -1 ]]; then gpus=(); fi
((${#gpus[@]} % workers == 0)) ||
  refuse workers "must share ${#gpus[@]} GPUs out equally" "$workers"

export KERASTUNER_ORACLE_IP=127.0.0.1
KERASTUNER_ORACLE_PORT=$(
  "$python" -c 'import socket
with socket.socket() as each:
    each.bind(("127.0.0.1", 0))
    print(each.getsockname()[1])'
)
export KERASTUNER_ORACLE_PORT

# start NAME: the chief, which prints what the search has found, or a worker.
start() {
  local share=$((${#gpus[@]} / workers)) index=${1#tuner} visible=
  export KERASTUNER_TUNER_ID=$1
  if [[ $1 == chief ]]; then
    CUDA_VISIBLE_DEVICES=-1 "${command[@]}" </dev/null 2>&"$stderr" &
  else
    if ((share)); then
      visible=$(
        IFS=,
        echo "${gpus[*]:index * share:share}"
      )
    fi
    mkdir -p "$log_dir"
    echo "tune.sh: start of $1, $(date)" >>"$log_dir/$1.log"
    CUDA_VISIBLE_DEVICES=${visible:-${CUDA_VISIBLE_DEVICES:-}} \
      "${command[@]}" </dev/null >>"$log_dir/$1.log" 2>&1 &
  fi
  pids[$1]=$!
}

signal_all() {
  local pid
  for pid in "${pids[@]}"; do kill -s "$1" "$pid" 2>/dev/null || true; done
}

on_signal() {
  signal=$1
  # They know no HUP; a second signal is theirs to understand.
  signal_all "${1/HUP/TERM}"
}

# Each in a process group of its own: Ctrl-C reaches this script alone.
set -m
declare -A pids=() restarted=()
signal='' code=0
trap 'signal_all KILL' EXIT
for each in TERM INT HUP; do trap "on_signal $each" "$each"; done

names=(chief)
for ((index = 0; index < workers; index++)); do names+=("tuner$index"); done
start chief
# What the chief refuses no worker need tell again.
while [[ ! -e $output_dir/oracle.json ]] && kill -0 "${pids[chief]}" 2>/dev/null
do sleep 0.2; done
for name in "${names[@]:1}"; do start "$name"; done

while ((${#pids[@]})); do
  running=" $(jobs -rp | tr '\n' ' ')"
  for name in "${!pids[@]}"; do
    [[ $running == *" ${pids[$name]} "* ]] && continue
    status=0
    wait "${pids[$name]}" || status=$?
    unset "pids[$name]"
    ((status)) || continue
    count=${restarted[$name]:-0}
    if [[ ! $signal ]] && ((status != 2 && count < restarts)); then
      restarted[$name]=$((count + 1))
      say "$name ended with exit code $status; restart $((count + 1)) of \
$restarts"
      start "$name"
      continue
    fi
    if ((!code)); then
      code=$status
      [[ $signal ]] || say "$name failed with exit code $status; stopping all"
      signal_all TERM
    fi
  done
  # Unlike `sleep`, `wait` ends at a signal.
  sleep 0.3 &
  wait $! || true
done 2>/dev/null
[[ ! $signal ]] || exit $((128 + $(kill -l "$signal")))
exit "$code"
