#!/bin/bash
# Searches hyperparameters: makes the environment on first use, then hands the
# arguments to `python -m tfwd.tune`, in one process or as chief and workers.
set -euo pipefail

if [[ " $* " == *" --help "* ]]; then
  cat <<'EOF'
usage: launch/tune.sh [--workers=N --output_dir=DIR [OPTIONS]]
         [FLAGS OF python -m tfwd.tune]

Without arguments it makes the small search of configs/search/default.flags.

--workers=N      N processes on this machine train trials at the same time and
                 share its GPUs out; a further one, the chief, hands the trials
                 out, then trains the best on the GPUs of the first worker. One
                 that fails is started again and goes on
--restarts=R     how often each of them is (default 3); exit code 2, bad input,
                 is final
--grace=SECONDS  from TERM to KILL (default 60)
--log_dir=DIR    of tuner0.log, tuner1.log, ... (default: logs in the search's
                 folder); the chief writes to stdout

TERM, INT and HUP are passed on (HUP as TERM) to all, and the same command goes
on with the search; a second one kills them. The exit code is that of the chief,
128 + the signal's number, or that of the process that failed too often.

On several machines, start one process on each, and the chief, with the same
flags, a shared --output_dir, and these variables, as KerasTuner has them:
  KERASTUNER_TUNER_ID       chief, tuner0, tuner1, ...
  KERASTUNER_ORACLE_IP      the chief's address
  KERASTUNER_ORACLE_PORT    its port
launch/slurm_tune.sbatch does so on the nodes of a Slurm job.

EOF
  set -- --help
fi

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
source "$root/launch/processes.sh"

workers='' output_dir='' log_dir='' restarts=3 grace=60 flags=()
for each in "$@"; do
  case $each in
    --workers=* | --restarts=* | --grace=* | --log_dir=*)
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
check_whole restarts grace
if [[ " $* " == *" --workers="* ]]; then
  [[ $workers =~ ^[1-9][0-9]*$ ]] ||
    refuse workers 'must be a whole number above 0' "$workers"
  [[ $output_dir ]] ||
    refuse output_dir 'must be given, as --output_dir=DIR' "$output_dir"
  find_gpus
fi

ensure_environment
# Not `cd`: relative paths among the arguments are the caller's.
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
command=("$python" -m tfwd.tune "${flags[@]}")
[[ $workers ]] || exec "${command[@]}"

# As the binary reads it.
output_dir=${output_dir/#\~\//$HOME/}
log_dir=${log_dir:-$output_dir/logs}
export KERASTUNER_ORACLE_IP=127.0.0.1
KERASTUNER_ORACLE_PORT=$(free_ports 1)
export KERASTUNER_ORACLE_PORT

start_chief() {
  # Its GPUs are those of worker 0 too, which has ended when it needs them.
  KERASTUNER_TUNER_ID=chief TF_FORCE_GPU_ALLOW_GROWTH=true \
    run_with_gpus 0 "${command[@]}" </dev/null 2>&"$stderr" &
  pids[chief]=$!
}

# start_worker INDEX
start_worker() {
  local log=$log_dir/tuner$1.log
  mkdir -p "$log_dir"
  echo "tune.sh: start of tuner$1, $(date)" >>"$log"
  KERASTUNER_TUNER_ID=tuner$1 \
    run_with_gpus "$1" "${command[@]}" </dev/null >>"$log" 2>&1 &
  pids[tuner$1]=$!
}

# ended NAME CODE
ended() {
  local count=${restarts_of[$1]:-0} log=
  if ((!$2)); then
    # A worker ends well after the chief has told it that the search is over;
    # nobody would answer one that has not heard of it yet.
    is_over=1
    if [[ $1 == chief ]]; then stop TERM; fi
    return
  fi
  if [[ $deadline || ($is_over && $1 != chief) ]]; then return; fi
  if [[ $1 != chief ]]; then log=", see $log_dir/$1.log"; fi
  if (($2 != 2 && count < restarts)); then
    restarts_of[$1]=$((count + 1))
    say "$1 ended with exit code $2$log; restart $((count + 1)) of $restarts"
    if [[ $1 == chief ]]; then start_chief; else start_worker "${1#tuner}"; fi
    return
  fi
  code=$2
  say "$1 failed with exit code $2$log; stopping all"
  stop TERM
}

declare -A pids=() restarts_of=()
code=0 is_over='' has_begun=''
take_charge
start_chief
while ((${#pids[@]})); do
  tick ended
  # What the chief refuses no worker need tell again.
  if [[ ! $has_begun && ! $deadline && -e $output_dir/oracle.json ]]; then
    has_begun=1
    for ((index = 0; index < workers; index++)); do start_worker "$index"; done
  fi
done
[[ ! $signal ]] || exit $((128 + $(kill -l "$signal")))
exit "$code"
