#!/bin/bash
# fio mixes on the mount: blocks of every size, buffered, direct and mapped, with flushes of both kinds in between, holes punched
# and ranges allocated beside them. Every block carries its checksum and its place, and is read back while the others write.
#
#   load_fio.sh STRATA_BINARY [SECONDS]
set -euo pipefail
# shellcheck source=tests/system/load_volume.sh
source "$(dirname "${BASH_SOURCE[0]}")/load_volume.sh"

require_program fio
begin_load "${1:-}" 4G "${2:-25}"
"$strata" disk create "$mount_point/volumes/test/disk.vmdk" --size 64M --format thin

verified=(--verify=crc32c --verify_fatal=1 --verify_backlog=64 --verify_state_save=0)
file_jobs=(
  --directory="$load_folder" --size=48m
  --name=small --ioengine=io_uring --rw=randrw --bsrange=512-32k --iodepth=8 --numjobs=2 --fdatasync=50
  --name=direct --ioengine=io_uring --rw=randwrite --bsrange=4k-1m --direct=1 --iodepth=16 --numjobs=2 --fsync=200
  --name=serial --ioengine=psync --rw=write --bs=300k --fsync=20
  --name=mapped --ioengine=mmap --rw=randwrite --bs=4k --fsync=100
  --name=backwards --ioengine=psync --rw=randwrite --bs=32k --fdatasync=10
)
disk_job=(
  --name=disk --ioengine=io_uring --filename="$mount_point/devices/vdisks/test/disk.vmdk" --rw=randwrite --bsrange=512-128k
  --direct=1 --iodepth=32 --allow_file_create=0 --size=64m
)
# Nothing can be verified in a file whose blocks come and go: these have only to succeed, and to leave a sound volume.
churn_jobs=(
  --filename="$load_folder/churn" --size=96m
  --name=holes --ioengine=falloc --rw=randtrim --bsrange=4k-3m
  --name=ranges --ioengine=falloc --rw=randwrite --bsrange=4k-3m
  --name=writers --ioengine=psync --rw=randwrite --bsrange=4k-128k
)

# A log of its own for each: they run at once.
fio_runs() {
  local work=$work/$1
  shift
  mkdir -p "$work"
  passes fio --time_based --runtime="$seconds" --fallocate=none --randseed=7 --group_reporting "$@"
  grep -E '^ *(READ|WRITE|TRIM):' "$work/load.log" | sed "s/^ */$(basename "$work") /"
}

pids=()
fio_runs files "${verified[@]}" "${file_jobs[@]}" &
pids+=($!)
fio_runs disk "${verified[@]}" "${disk_job[@]}" &
pids+=($!)
fio_runs churn "${churn_jobs[@]}" &
pids+=($!)
failures=0
for pid in "${pids[@]}"; do
  wait "$pid" || failures=$((failures + 1))
done
((failures == 0)) || fail "$failures of ${#pids[@]} mixes"
end_load
