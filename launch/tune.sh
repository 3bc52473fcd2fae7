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
ensure_environment
(($#)) || set -- "--flagfile=$root/configs/search/default.flags"
# Not `cd`: relative paths among the arguments are the caller's.
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
if [[ " $* " == *" --workers="* ]]; then
  exec "$python" "$root/launch/tune_workers.py" "$@"
fi
exec "$python" -m tfwd.tune "$@"
