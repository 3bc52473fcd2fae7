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

source "$root/launch/processes.sh"

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
check_whole restarts grace
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

gpus=()
if [[ $is_local ]]; then find_gpus; fi

ensure_environment
log_dir=${log_dir:-$output_dir/logs}
mkdir -p "$log_dir"

# Prints host:port of every worker; those on this machine get free ports.
choose_hosts() {
  if [[ ! $is_local ]]; then
    echo "$hosts"
    return
  fi
  free_ports "$workers" | sed 's/^/localhost:/' | paste -sd ,
}

# run_here INDEX COMMAND...
run_here() {
  # TensorFlow would prefer it to the flags.
  unset TF_CONFIG
  run_with_gpus "$@"
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

# ended INDEX CODE
ended() {
  if (($2 == 2)); then is_final=1; fi
  if ((!$2 || code)); then return; fi
  code=$2
  [[ ! $deadline ]] || return 0
  say "worker $1 failed with exit code $code, see \
$log_dir/worker-$1.log; stopping the others"
  if (($1)); then tail -n 3 "$log_dir/worker-$1.log" >&"$stderr"; fi
  stop TERM
}

# Starts all workers and waits until all have ended.
# Sets `code` to the first exit code other than 0, `is_final` if one was 2.
run_workers() {
  local index all
  code=0 is_final='' deadline=''
  all=$(choose_hosts)
  for ((index = 0; index < workers; index++)); do
    start_worker "$index" "$all"
  done
  while ((${#pids[@]})); do tick ended; done
}

pids=() attempt=0
take_charge
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
