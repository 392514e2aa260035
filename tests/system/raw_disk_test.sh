#!/bin/bash
# A virtual disk is one raw image to every program that opens images: dd, sfdisk, qemu-img, losetup.
#
#   raw_disk_test.sh STRATA_BINARY
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/mount.sh
source "$here/../support/mount.sh"

require_program qemu-img
require_program sfdisk
use_strata "${1:-}"
loop=

# shellcheck disable=SC2317  # called by the trap
detach_and_remove() {
  if [[ -n "$loop" ]]; then
    losetup -d "$loop" || true
  fi
  remove_work
}

# Where loop devices can be had, the kernel opens the disk too: buffered ("off") or direct ("on").
try_loop_device() {
  loop=$(losetup --find --show --direct-io="$1" "$disk" 2>/dev/null) || { loop='' && echo "no loop device here" && return; }
  cmp "$loop" "$work/pattern.img" || fail "the loop device shows other bytes (direct I/O $1)"
  # A write through the loop device, and back.
  dd if=/dev/zero of="$loop" bs=1M seek=50 count=1 conv=notrunc,fsync status=none
  cmp -i $((50 << 20)):0 -n $((1 << 20)) "$disk" <(head -c 1M /dev/zero) || fail "the disk misses a write (direct I/O $1)"
  dd if="$work/pattern.img" of="$loop" bs=1M skip=50 seek=50 count=1 conv=notrunc,fsync status=none
  losetup -d "$loop"
  loop=
}

for format in thin zeroedthick eagerzeroedthick; do
  rm -f "$image"
  trap detach_and_remove EXIT
  format_and_mount 512M
  disk=$mount_point/devices/vdisks/test/$format.vmdk
  "$strata" disk create "$mount_point/volumes/test/$format.vmdk" --size 64M --format "$format"

  [[ "$(stat -L -c %s "$disk")" -eq $((64 << 20)) ]] || fail "$format: the disk has $(stat -L -c %s "$disk") bytes"
  cmp "$disk" <(head -c 64M /dev/zero) || fail "$format: a new disk is not zero"
  head -c 64M /dev/urandom >"$work/pattern.img"
  echo 'size=40M, type=83' | sfdisk -q "$work/pattern.img"
  dd if="$work/pattern.img" of="$disk" bs=1M oflag=direct conv=notrunc status=none
  [[ "$(sfdisk -l -o Size "$disk" | tail -n 1)" == *40M* ]] || fail "$format: sfdisk does not see the partition"
  qemu-img compare -q -f raw -F raw "$disk" "$work/pattern.img" || fail "$format: qemu-img sees other bytes"
  try_loop_device off
  try_loop_device on
  unmount
  check_volume || fail "$format: the check"
  "$strata" mount "$image" "$mount_point"
  cmp "$mount_point/volumes/test/$format-flat.vmdk" "$work/pattern.img" || fail "$format: the flat file has other bytes"
  unmount
  echo "$format: the same bytes everywhere"
done
echo "PASS"
