#!/bin/bash
# Trains with several processes: starts them, stops all when one fails, and
# starts them again from their last checkpoint.
set -euo pipefail

if [[ ${1:-} == --help ]]; then
  cat <<'EOF'
usage: launch/multi_worker.sh --workers=N | --hosts=HOST:PORT,HOST:PORT,...
         --output_dir=DIR [OPTIONS] [FLAGS OF launch/train.sh]

Trains with --strategy=multi_worker. Worker 0, the chief, writes to stdout.

--workers=N      N processes on this machine, which share its GPUs out
--hosts=...      one process per HOST through ssh, which must need no password;
                 each has this repository, the current folder and DIR at the
                 same path, DIR on a shared file system
--output_dir=DIR the run's folder, where a restart goes on
--restarts=R     how often to start again after a worker failed (default 3);
                 exit code 2, bad input, is final
--grace=SECONDS  from TERM to KILL (default 60)
--log_dir=DIR    of worker-0.log, worker-1.log, ... (default: logs in the
                 run's folder)
SSH=COMMAND      in place of ssh, e.g. SSH='ssh -p 2222'

TERM, INT and HUP are passed on (HUP as TERM) to the workers, which save a
checkpoint; a second one kills them. The exit code is 0, 128 + the signal's
number, or that of the worker that failed first.
EOF
  exit
fi

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

exec {stderr}>&2
say() {
  echo "multi_worker.sh: $1" >&"$stderr"
}

refuse() {
  say "\`--$1\` $2. Received: --$1=$3"
  exit 2
}

workers='' hosts='' output_dir='' log_dir='' restarts=3 grace=60 flags=()
for each in "$@"; do
  case $each in
    --workers=* | --hosts=* | --restarts=* | --grace=* | --log_dir=*)
      name=${each%%=*}
      declare "${name#--}=${each#*=}"
      ;;
    *)
      if [[ $each == --output_dir=* ]]; then output_dir=${each#*=}; fi
      flags+=("$each")
      ;;
  esac
done
for name in restarts grace; do
  [[ ${!name} =~ ^[0-9]+$ ]] ||
    refuse "$name" 'must be a whole number' "${!name}"
done
[[ $output_dir ]] ||
  refuse output_dir 'must be given, as --output_dir=DIR' "$output_dir"
is_local=1
if [[ $hosts ]]; then
  is_local=
  IFS=, read -ra addresses <<<"$hosts"
  [[ ${workers:-${#addresses[@]}} == "${#addresses[@]}" ]] ||
    refuse hosts "must hold --workers=$workers hosts" "$hosts"
  workers=${#addresses[@]}
fi
[[ $workers =~ ^[1-9][0-9]*$ ]] ||
  refuse workers 'must be a whole number above 0, or --hosts be given' \
    "$workers"

# The GPUs that local workers share out.
gpus=()
if [[ $is_local ]]; then
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
fi

ensure_environment
log_dir=${log_dir:-$output_dir/logs}
mkdir -p "$log_dir"

# Prints host:port of every worker; those on this machine get free ports.
choose_hosts() {
  if [[ ! $is_local ]]; then
    echo "$hosts"
    return
  fi
  "$python" - "$workers" <<'EOF'
import socket
import sys

# All are open at once, so that no two get the same port.
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for each in sockets:
    each.bind(("", 0))
print(*(f"localhost:{each.getsockname()[1]}" for each in sockets), sep=",")
EOF
}

# run_here INDEX COMMAND...
run_here() {
  local share=$((${#gpus[@]} / workers))
  if ((share)); then
    CUDA_VISIBLE_DEVICES=$(
      IFS=,
      echo "${gpus[*]:$1 * share:share}"
    )
    export CUDA_VISIBLE_DEVICES
  fi
  # TensorFlow would prefer it to the flags.
  unset TF_CONFIG
  exec "${@:2}"
}

# run_there INDEX COMMAND...
# Runs the command on a host until this process gets a signal, or is no more:
# the end of its stdin is what tells the other side to stop.
run_there() {
  local host=${addresses[$1]%:*} ssh client code=0
  local default='ssh -o BatchMode=yes -o ServerAliveInterval=15'
  IFS=' ' read -ra ssh <<<"${SSH:-$default}"
  exec {hold}> >(exec "${ssh[@]}" "$host" bash -s)
  client=$!
  trap 'exec {hold}>&-' TERM INT HUP
  # Should ssh have failed already, its exit code tells.
  trap '' PIPE
  # In braces, so that bash has read it all before `cat` reads.
  cat >&"$hold" <<EOF || true
{
  cd $(printf %q "$PWD") || exit
  exec 3<&0
  # Process groups, so that all of one can be killed.
  set -m
  env -u TF_CONFIG $(printf '%q ' "${@:2}") </dev/null 3<&- & worker=\$!
  {
    cat <&3
    kill -TERM "\$worker"
    sleep $grace
    kill -KILL -- "-\$worker"
  } >/dev/null 2>&1 & watcher=\$!
  code=0
  wait "\$worker" || code=\$?
  kill -- "-\$watcher"
  exit "\$code"
}
EOF
  # A signal ends a `wait`, but not what it waits for.
  while
    code=0
    wait "$client" || code=$?
    kill -0 "$client" 2>/dev/null
  do :; done
  exit "$code"
}

# start_worker INDEX ALL_HOSTS
start_worker() {
  local log=$log_dir/worker-$1.log run=run_here
  local command=("$root/launch/train.sh" "${flags[@]}" --strategy=multi_worker)
  command+=("--worker_hosts=$2" "--task_index=$1")
  if ((attempt)); then command+=(--resume=auto); fi
  if [[ ! $is_local ]]; then run=run_there; fi
  echo "multi_worker.sh: start $((attempt + 1)), $(date)" >>"$log"
  if (($1 == 0)); then
    "$run" "$1" "${command[@]}" </dev/null \
      > >(exec tee -a "$log") 2> >(exec tee -a "$log" >&2) &
  else
    "$run" "$1" "${command[@]}" </dev/null >>"$log" 2>&1 &
  fi
  pids[$1]=$!
}

# signal_workers NAME, each alone: `tee` is to read on.
signal_workers() {
  local pid
  for pid in "${pids[@]}"; do kill -s "$1" "$pid" || true; done
}

kill_workers() {
  local pid
  for pid in "${pids[@]}"; do kill -KILL -- "-$pid" 2>/dev/null || true; done
}

# Starts all workers and waits until all have ended.
# Sets `code` to the first exit code other than 0, `is_final` if one was 2.
run_workers() {
  local index running status deadline='' all
  code=0 is_final=
  all=$(choose_hosts)
  for ((index = 0; index < workers; index++)); do
    start_worker "$index" "$all"
  done
  while ((${#pids[@]})); do
    if [[ $signal && ! $deadline ]]; then
      # They know no HUP.
      signal_workers "${signal/HUP/TERM}"
      deadline=$((SECONDS + grace))
    fi
    if [[ $deadline ]] && ((hurry || SECONDS >= deadline)); then
      kill_workers
    fi
    running=" $(jobs -rp | tr '\n' ' ')"
    for index in "${!pids[@]}"; do
      [[ $running == *" ${pids[index]} "* ]] && continue
      status=0
      wait "${pids[index]}" || status=$?
      unset "pids[index]"
      if ((status == 2)); then is_final=1; fi
      if ((status && !code)); then
        code=$status
        [[ $deadline ]] && continue
        say "worker $index failed with exit code $code, see \
$log_dir/worker-$index.log; stopping the others"
        if ((index)); then
          tail -n 3 "$log_dir/worker-$index.log" >&"$stderr"
        fi
        signal_workers TERM
        deadline=$((SECONDS + grace))
      fi
    done
    # Unlike `sleep`, `wait` ends at a signal; and unlike `wait -n` it cannot
    # miss a worker that ends right before.
    sleep 0.3 &
    wait $! || true
    # Bash would say of each worker killed that it was.
  done 2>/dev/null
}

on_signal() {
  if [[ $signal ]]; then hurry=1; fi
  signal=${signal:-$1}
}

# Each worker in a process group of its own: Ctrl-C reaches this script alone.
set -m
pids=() attempt=0 signal='' hurry=0
trap kill_workers EXIT
for each in TERM INT HUP; do trap "on_signal $each" "$each"; done

while :; do
  run_workers
  ((code)) || exit 0
  [[ ! $signal ]] || exit $((128 + $(kill -l "$signal")))
  [[ ! $is_final ]] || exit 2
  ((attempt < restarts)) || break
  attempt=$((attempt + 1))
  say "restart $attempt of $restarts"
done
say "failed after $restarts restarts"
exit "$code"
