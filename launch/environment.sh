# Makes `.venv` on first use and keeps it in step with requirements.txt and
# pyproject.toml; sourced by the launch scripts. PYTHON names another python3.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/.venv/bin/python

fail() {
  echo "${0##*/}: $1" >&2
  exit 1
}

# Prints the requirements of an extra, one per line.
requirements_of() {
  "$python" - "$root/pyproject.toml" "$1" <<'EOF'
import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
print(*project["optional-dependencies"][sys.argv[2]], sep="\n")
EOF
}

make_virtual_environment() {
  local base=${PYTHON:-python3} log
  command -v "$base" >/dev/null ||
    fail "python3 (3.11 or newer) is needed. Received: no \`$base\` on PATH"
  "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python must be 3.11 or newer. Received: $("$base" --version 2>&1)"
  log=$("$base" -m venv "$root/.venv" 2>&1) ||
    fail "\`$base -m venv\` failed (on Debian: apt install python3-venv): $log"
}

# ensure_environment        what the library needs
# ensure_environment test   and what its tests need
ensure_environment() {
  local extra=${1:-run} stamp checksum
  # -qq: errors only, without the remarks about index folders not found.
  local install=(install -qq --disable-pip-version-check)
  install+=(-r "$root/requirements.txt")
  stamp=$root/.venv/$extra.stamp
  "$python" -m pip --version >/dev/null 2>&1 || make_virtual_environment
  checksum=$(
    cd "$root"
    "$python" --version
    cksum requirements.txt pyproject.toml
  )
  [[ -e $stamp && $(<"$stamp") == "$checksum" ]] && return

  echo "Installing into $root/.venv (a few minutes, once) ..." >&2
  if [[ $extra != run ]]; then
    requirements_of "$extra" >"$root/.venv/$extra.txt" ||
      fail "pyproject.toml must list the extra. Received: $extra"
    install+=(-r "$root/.venv/$extra.txt")
  fi
  "$python" -m pip "${install[@]}" ||
    fail "installing the requirements failed; run it again to repeat"
  # Last, so that an interrupted installation is repeated.
  echo "$checksum" >"$stamp"
}
