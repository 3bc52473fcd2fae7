# Makes `.venv` on first use and keeps it in step with requirements.txt and
# pyproject.toml; sourced by the launch scripts. PYTHON names another python3.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/.venv/bin/python

fail() {
  echo "${0##*/}: $1" >&2
  exit 1
}

# Prints the requirements of an extra, one per line. What it takes from other
# extras of the package stands in requirements.txt.
requirements_of() {
  "$python" - "$root/pyproject.toml" "$1" <<'EOF'
import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
for requirement in project["optional-dependencies"][sys.argv[2]]:
    if not requirement.startswith("tfwd["):
        print(requirement)
EOF
}

# make_virtual_environment FOLDER
make_virtual_environment() {
  local base=${PYTHON:-python3} log
  command -v "$base" >/dev/null ||
    fail "python3 (3.11 or newer) is needed. Received: no \`$base\` on PATH"
  "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python must be 3.11 or newer. Received: $("$base" --version 2>&1)"
  log=$("$base" -m venv "$1" 2>&1) ||
    fail "\`$base -m venv\` failed (on Debian: apt install python3-venv): $log"
}

# install_once EXTRA ARGUMENT...: `pip install`, unless EXTRA.stamp says that
# the environment of $python has all that. The requirements of EXTRA, which may
# be `run`, are added to the arguments but for those of `run`.
install_once() {
  local extra=$1 install=("${@:2}") checksum
  local folder=${python%/bin/python}
  local stamp=$folder/$extra.stamp
  "$python" -m pip --version >/dev/null 2>&1 ||
    make_virtual_environment "$folder"
  checksum=$(
    cd "$root"
    "$python" --version
    cksum requirements.txt pyproject.toml
    echo "${install[@]}"
  )
  [[ -e $stamp && $(<"$stamp") == "$checksum" ]] && return

  echo "Installing into $folder (a few minutes, once) ..." >&2
  if [[ $extra != run ]]; then
    requirements_of "$extra" >"$folder/$extra.txt" ||
      fail "pyproject.toml must list the extra. Received: $extra"
    install+=(-r "$folder/$extra.txt")
  fi
  # -qq: errors only, without the remarks about index folders not found.
  "$python" -m pip install -qq --disable-pip-version-check "${install[@]}" ||
    fail "installing the requirements failed; run it again to repeat"
  # Last, so that an interrupted installation is repeated.
  echo "$checksum" >"$stamp"
}

# ensure_environment        what the launch scripts run
# ensure_environment dev    and what the tests need
ensure_environment() {
  install_once "${1:-run}" -r "$root/requirements.txt"
}
