#!/bin/bash
# A volume belongs to the machine that first mounted it; a copy of it on another one is refused, by words that name the way
# out, is shown read-only, and is adopted on request.
#
#   machine_test.sh STRATA_BINARY
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/mount.sh
source "$here/../support/mount.sh"

use_strata "${1:-}"
mkdir "$mount_point"
echo 11111111111111111111111111111111 >"$work/here"
echo 22222222222222222222222222222222 >"$work/there"

# Runs strata as on one of two machines.
on() {
  local machine=$1
  shift
  STRATA_MACHINE_ID=$work/$machine "$strata" "$@"
}

# Mounts, shows the file, and unmounts; options of the mount come last.
see_file() {
  local machine=$1
  shift
  on "$machine" mount "$image" "$mount_point" "$@"
  [[ "$(cat "$mount_point/volumes/test/file")" == "precious" ]] || fail "$machine: the file is lost"
  on "$machine" umount "$mount_point"
}

refused() {
  if on "$1" mount "$image" "$mount_point" >"$work/refusal" 2>&1; then
    on "$1" umount "$mount_point"
    fail "$1: the volume of another machine was mounted"
  fi
  cat "$work/refusal"
  grep -q 'belongs to another machine' "$work/refusal" || fail "the refusal does not give the reason"
  grep -q -e '--adopt' "$work/refusal" || fail "the refusal does not name --adopt"
}

on here mkfs "$image" --label test --size 512M
on here mount "$image" "$mount_point"
echo precious >"$mount_point/volumes/test/file"
on here umount "$mount_point"
see_file here

refused there
see_file there --read-only
refused there
see_file there --adopt
see_file there
refused here
on here fsck "$image"
echo "PASS"
