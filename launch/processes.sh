# Several processes at the same time; sourced, after environment.sh, by scripts
# that start them after `take_charge`. `pids` has the number of each by its name,
# `grace` the seconds from TERM to KILL.

exec {stderr}>&2
# On stderr, also where that of what surrounds it is silent.
say() {
  echo "${0##*/}: $1" >&"$stderr"
}

refuse() {
  say "\`--$1\` $2. Received: --$1=$3"
  exit 2
}

# check_whole NAME...
check_whole() {
  local name
  for name in "$@"; do
    [[ ${!name} =~ ^[0-9]+$ ]] ||
      refuse "$name" 'must be a whole number' "${!name}"
  done
}

# Sets `gpus` to those that $workers processes share out.
find_gpus() {
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
}

# run_with_gpus INDEX COMMAND...: in place of this process, with its share.
run_with_gpus() {
  local share=$((${#gpus[@]} / workers))
  if ((share)); then
    CUDA_VISIBLE_DEVICES=$(
      IFS=,
      echo "${gpus[*]:$1 * share:share}"
    )
    export CUDA_VISIBLE_DEVICES
  fi
  exec "${@:2}"
}

# free_ports N: prints them, one a line.
free_ports() {
  "$python" - "$1" <<'EOF'
import socket
import sys

# All are open at once, so that no two are the same.
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for each in sockets:
    each.bind(("", 0))
print(*(each.getsockname()[1] for each in sockets), sep="\n")
EOF
}

on_signal() {
  if [[ $signal ]]; then hurry=1; fi
  signal=${signal:-$1}
}

kill_all() {
  local pid
  for pid in "${pids[@]}"; do kill -KILL -- "-$pid" 2>/dev/null || true; done
}

# stop NAME: sends a signal, to each alone: what it has started may read on.
# Those that have not ended after the grace are killed by `tick`.
stop() {
  local pid
  [[ ! $deadline ]] || return 0
  for pid in "${pids[@]}"; do kill -s "$1" "$pid" || true; done
  deadline=$((SECONDS + grace))
}

# tick FUNCTION: passes on what this script was told, waits a moment, then calls
# the function with name and exit code of each that has ended.
tick() {
  local running name status
  # They know no HUP.
  if [[ $signal ]]; then stop "${signal/HUP/TERM}"; fi
  if [[ $deadline ]] && ((hurry || SECONDS >= deadline)); then kill_all; fi
  # Unlike `sleep`, `wait` ends at a signal; and unlike `wait -n` it cannot miss
  # one that ends right before.
  sleep 0.3 &
  wait $! || true
  running=" $(jobs -rp | tr '\n' ' ')"
  for name in "${!pids[@]}"; do
    [[ $running == *" ${pids[$name]} "* ]] && continue
    status=0
    wait "${pids[$name]}" || status=$?
    unset "pids[$name]"
    "$1" "$name" "$status"
  done
  # Bash would say of each one killed that it was.
} 2>/dev/null

# From here on what is told to this script is for `pids`, and they end with it.
take_charge() {
  local each
  # Each in a process group of its own: Ctrl-C reaches this script alone.
  set -m
  signal='' hurry=0 deadline=''
  trap kill_all EXIT
  for each in TERM INT HUP; do trap "on_signal $each" "$each"; done
}
