#!/bin/bash
# A virtual machine boots off a virtual disk of a mounted volume, writes, and finds everything again after a reboot,
# and again after the volume was unmounted and mounted.
#
#   guest_test.sh STRATA_BINARY [GUEST_FOLDER]
#
# GUEST_FOLDER keeps the unpacked guest between runs. The guest runs under TCG, so that the test is the same everywhere.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
guest_scripts=$here/../../examples/guest
# shellcheck source=tests/support/mount.sh
source "$here/../support/mount.sh"

require_program qemu-system-x86_64
use_strata "${1:-}"
guest=${2:-$work/guest}
"$guest_scripts/prepare.sh" "$guest" || skip "the guest's packages cannot be had"

export GUEST_ACCEL=tcg GUEST_SECONDS=90 GUEST_FILES=33
disk=$mount_point/devices/vdisks/test/vm/disk.vmdk

format_and_mount 1G
mkdir "$mount_point/volumes/test/vm"
"$strata" disk create "$mount_point/volumes/test/vm/disk.vmdk" --size 256M --format thin
"$guest_scripts/boot.sh" "$guest" write "$disk" || fail "the first boot"
"$guest_scripts/boot.sh" "$guest" verify "$disk" || fail "the boot after a reboot"
unmount
check_volume || fail "the check after the guest's writes"
"$strata" mount "$image" "$mount_point"
"$guest_scripts/boot.sh" "$guest" verify "$disk" || fail "the boot after a remount"
unmount
echo "PASS"
