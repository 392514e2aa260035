# shellcheck shell=bash
# For the load tests: a fresh volume with witnesses on it, a load on top, and what every judge says afterwards.
#
#   source load_volume.sh
#   begin_load "$1" 2G        mounts; $load_folder is for the load, $seconds is set from the second argument
#   until_late COMMAND...     runs a command again and again until $seconds have passed since begin_load
#   end_load                  unmounts; strata fsck, the second decoder and vmfs6-fuse must agree about all that is left
#
# The image lies in RAM where it can, so that the load and not the disk is the limit.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[[ -n "${TMPDIR:-}" || ! -w /dev/shm ]] || export TMPDIR=/dev/shm
# shellcheck source=tests/support/mount.sh
source "$here/../support/mount.sh"

load_folder=
seconds=
reader_point=
load_begins=

# begin_load STRATA VOLUME_SIZE SECONDS
begin_load() {
  require_program vmfs6-fuse
  use_strata "$1"
  seconds=$3
  reader_point=$work/reader
  load_folder=$mount_point/volumes/test/load
  trap leave_load EXIT
  format_and_mount "$2"
  plant_witnesses
  mkdir -p "$load_folder" "$reader_point"
  load_begins=$SECONDS
}

leave_load() {
  ! mountpoint -q "$reader_point" || fusermount3 -u -z "$reader_point"
  remove_work
}

# Files of every small map kind that the load leaves alone.
plant_witnesses() {
  local number
  mkdir -p "$mount_point/volumes/test/witnesses"
  for number in {1..40}; do
    head -c $((number * number * 700)) /dev/urandom >"$mount_point/volumes/test/witnesses/$number"
  done
  digests_below "$mount_point/volumes/test" >"$work/witnesses"
}

# Prints digest and path of every ordinary file below a folder, sorted by path; the volume's own files are left out.
digests_below() {
  (cd "$1" && find . -type f -not -path './.*.sf' -printf '%P\0' | sort -z | xargs -0 -r sha256sum) | normalised
}

normalised() {
  sed 's/^\\//' | LC_ALL=C sort -k2
}

has_time() {
  ((SECONDS - load_begins < seconds))
}

until_late() {
  local rounds=0
  while has_time; do
    "$@"
    rounds=$((rounds + 1))
  done
  echo "$rounds rounds in $((SECONDS - load_begins)) s"
}

# Runs a command quietly: what it prints is shown only when it fails.
passes() {
  local code=0
  "$@" >"$work/load.log" 2>&1 || code=$?
  ((code == 0)) || { tail -n 60 "$work/load.log" >&2; fail "$* ended with $code"; }
}

end_load() {
  digests_below "$mount_point/volumes/test" >"$work/mounted"
  unmount
  passes check_volume
  "$here/../judge/second_reader.py" "$image" sha256 | normalised >"$work/second" || fail "the second decoder"
  vmfs6-fuse "$image" "$reader_point" || fail "vmfs6-fuse does not open the volume"
  digests_below "$reader_point" >"$work/reader.digests"
  fusermount3 -u "$reader_point"
  grep ' witnesses/' "$work/mounted" | diff "$work/witnesses" - >&2 || fail "the witnesses changed"
  diff "$work/mounted" "$work/second" >&2 || fail "the second decoder reads other bytes than the mount showed"
  diff "$work/mounted" "$work/reader.digests" >&2 || fail "vmfs6-fuse reads other bytes than the mount showed"
  echo "$(wc -l <"$work/mounted") files are the same to three readers"
  echo "PASS"
}
