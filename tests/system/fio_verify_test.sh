#!/bin/bash
# fio writes blocks of mixed sizes that carry their own checksum and place, buffered and direct, from several jobs at once,
# to files and to a virtual disk; it finds every one of them again, also after a remount.
#
#   fio_verify_test.sh STRATA_BINARY [MIB_PER_FILE]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/mount.sh
source "$here/../support/mount.sh"

require_program fio
use_strata "${1:-}"
mib=${2:-48}

# Runs fio quietly: its report is shown only when it fails.
fio_passes() {
  fio --ioengine=io_uring --verify=crc32c --verify_fatal=1 --size="${mib}M" --randrepeat=1 --randseed=7 \
    --verify_state_save=0 --fallocate=none "$@" >"$work/fio.log" 2>&1 || { cat "$work/fio.log" >&2; fail "fio $*"; }
}

# The same jobs each time: with --do_verify=1 they write and verify, with --verify_only they only verify.
all_jobs() {
  fio_passes --directory="$mount_point/volumes/test" --group_reporting "$@" \
    --name=buffered --rw=randwrite --bsrange=512-256k --iodepth=8 --numjobs=2 \
    --name=direct --rw=randwrite --bsrange=4k-1m --direct=1 --iodepth=16 --numjobs=2 \
    --name=sequential --rw=write --bs=1m --direct=1 --iodepth=8
  fio_passes --name=disk --filename="$mount_point/devices/vdisks/test/disk.vmdk" --rw=randwrite \
    --bsrange=512-128k --direct=1 --iodepth=32 --allow_file_create=0 "$@"
}

format_and_mount 2G
"$strata" disk create "$mount_point/volumes/test/disk.vmdk" --size "${mib}M" --format thin
all_jobs --do_verify=1
echo "written and verified"
unmount
check_volume || fail "the check"
"$strata" mount "$image" "$mount_point"
all_jobs --verify_only
echo "verified after a remount"
unmount
echo "PASS"
