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
