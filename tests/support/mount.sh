# shellcheck shell=bash
# For shell tests that need a mounted volume: a work folder, a mount, and their removal on every way out.
#
#   source support/mount.sh
#   use_strata "$1"           find the program, make the work folder, skip the test where mounts are impossible
#   format_and_mount 1G       a volume with the label test at $mount_point
#
# A skipped test ends with exit code 77, which ctest knows.

strata=
work=
mount_point=
image=

skip() {
  echo "SKIP: $*"
  exit 77
}

# Ends the test as failed, with a reason.
fail() {
  echo "FAIL: $*" >&2
  exit 1
}

require_program() {
  command -v "$1" >/dev/null || skip "$1 is not installed"
}

require_fuse() {
  [[ -r /dev/fuse && -w /dev/fuse ]] || skip "/dev/fuse cannot be opened"
}

use_strata() {
  local root
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
  strata=${1:-$root/build/release/strata}
  [[ -x "$strata" ]] || skip "no program at $strata"
  require_fuse
  work=$(mktemp -d "${TMPDIR:-/tmp}/strata-test.XXXXXX")
  mount_point=$work/mnt
  # shellcheck disable=SC2034  # for the test
  image=$work/volume.img
  trap remove_work EXIT
  trap 'exit 130' INT TERM
}

# Unmounts first, and never deletes below a mount.
remove_work() {
  if mountpoint -q "$mount_point" && ! "$strata" umount "$mount_point"; then
    fusermount3 -u -z "$mount_point" || true
  fi
  rm -rf --one-file-system "$work"
}

format_and_mount() {
  mkdir -p "$mount_point"
  "$strata" mkfs "$image" --label test --size "$1"
  "$strata" mount "$image" "$mount_point"
}

unmount() {
  "$strata" umount "$mount_point"
}

# Whether the unmounted volume is sound to both checkers: ours, and the second decoder's.
check_volume() {
  "$strata" fsck "$image" &&
    "$(dirname "${BASH_SOURCE[0]}")/../judge/second_reader.py" "$image" check
}
