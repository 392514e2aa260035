#!/bin/bash
# Builds everything and runs the tests.
#
#   tests/run.sh [--soak] [--list] [--help] [CTEST_OPTIONS...]
#
#   --soak   also run the tests with the label soak, which take long
#   --list   only list the tests
#
# Further options go to ctest: tests/run.sh -R journal runs the tests with journal in their name.
# Installs the Debian packages that are missing.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tests/support/packages.sh
source "$root/tests/support/packages.sh"

# The limit of a test that states none, in seconds.
time_limit=300
selection=(--label-exclude soak)
options=()

for argument in "$@"; do
  case $argument in
    --soak) selection=() ;;
    --list) options+=(--show-only) ;;
    --help | -h) sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit 0 ;;
    *) options+=("$argument") ;;
  esac
done

cd "$root"
install_missing_packages "${packages_test[@]}"
cmake --preset release -DSTRATA_TESTS=ON
cmake --build build/release

# What the failed tests printed stands in the middle of a long text: it is said again at the end.
repeat_failures() {
  local logs=build/release/Testing/Temporary name
  [[ -s $logs/LastTestsFailed.log ]] || return 0
  while IFS=: read -r _ name; do
    echo "== failed: $name"
    awk -v name="$name" '
      / Testing: / { inside = substr($0, index($0, "Testing: ") + 9) == name }
      inside { print }
      /^<end of output>/ { inside = 0 }
    ' "$logs/LastTest.log" | tail -n 60 | cut -c 1-400
  done <"$logs/LastTestsFailed.log"
}

status=0
ctest --test-dir build/release --parallel 2 --output-on-failure --timeout "$time_limit" \
  --no-tests=error "${selection[@]}" "${options[@]}" || status=$?
[[ $status -eq 0 ]] || repeat_failures
exit "$status"
