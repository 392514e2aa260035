#!/bin/bash
# A virtual machine lives on a chain of three links: a flat base, a vmfsSparse link over it, a seSparse leaf on top. Each boot
# checks what the earlier ones left and changes it; its file system checks clean. Strata and qemu refuse each other's disks.
#
#   guest_chain_test.sh STRATA_BINARY [GUEST_FOLDER]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
guest_scripts=$here/../../examples/guest
# shellcheck source=tests/support/mount.sh
source "$here/../support/mount.sh"

require_program qemu-system-x86_64
require_program qemu-io
require_program e2fsck
use_strata "${1:-}"
guest=${2:-$work/guest}
"$guest_scripts/prepare.sh" "$guest" || skip "the guest's packages cannot be had"

export GUEST_ACCEL=tcg GUEST_SECONDS=90 GUEST_FILES=22
folder=$mount_point/volumes/test/vm
disk=$mount_point/devices/vdisks/test/vm/disk.vmdk

boot() {
  "$guest_scripts/boot.sh" "$guest" "$1" "$disk" || fail "the boot with phase $1 on $2"
  e2fsck -fn "$disk" >"$work/e2fsck" 2>&1 || fail "the guest's file system on $2: $(cat "$work/e2fsck")"
  "$strata" disk check "$folder/$(leaf)" || fail "the chain after phase $1 on $2"
}

# The link that the disk writes to.
leaf() {
  local last
  last=$(cd "$folder" && printf '%s\n' disk-0*[0-9].vmdk | tail -n 1)
  [[ -e "$folder/$last" ]] && echo "$last" || echo disk.vmdk
}

# refuses WORDS COMMAND...: the command fails, and says so.
refuses() {
  local words=$1
  shift
  if "$@" >"$work/out" 2>&1; then fail "not refused: $*"; fi
  grep -Eqi -- "$words" "$work/out" || fail "not \"$words\" but: $(cat "$work/out")"
}

format_and_mount 1G
mkdir "$folder"
"$strata" disk create "$folder/disk.vmdk" --size 256M --format thin
boot write "the base"
"$strata" disk snapshot create "$folder/disk.vmdk" "first" --format vmfsSparse
boot change "a vmfsSparse link"
"$strata" disk snapshot create "$folder/disk.vmdk" "second" --format seSparse
boot change "a seSparse leaf"
boot verify "the same after a reboot"

# What a guest has open, nobody else opens, copies or changes.
exec 7<>"$disk"
refuses 'busy|in use|open for writing' "$strata" disk snapshot create "$folder/disk.vmdk" "third"
refuses 'busy' cp "$folder/disk-000002-sesparse.vmdk" "$work/copy"
refuses 'busy' rm "$folder/disk-000002-sesparse.vmdk"
exec 7>&-

unmount
check_volume || fail "the check after the guest's writes"
"$strata" mount "$image" "$mount_point"
boot verify "the same after a remount"
"$strata" disk snapshot delete "$folder/disk.vmdk" "first"
boot verify "two links"
"$strata" disk snapshot delete-all "$folder/disk.vmdk"
[[ $(leaf) == disk.vmdk ]] || fail "links are left: $(ls "$folder")"
boot verify "one link"
unmount
check_volume || fail "the check after the snapshots were deleted"

# In a folder of the host, qemu itself opens the files: each refuses what the other holds.
shares=$work/host
mkdir "$shares"
"$strata" disk create "$shares/h.vmdk" --size 16M --layout monolithicFlat
"$strata" mount "posix:$shares" "$mount_point"
hosted=$mount_point/devices/vdisks/host/h.vmdk
exec 8<>"$hosted"
refuses 'lock' qemu-io -f vmdk -c 'write 0 4k' "$shares/h.vmdk"
exec 8>&-
# The kernel tells the daemon of a close a little later.
for _ in {1..100}; do
  qemu-img info "$shares/h.vmdk" >/dev/null 2>&1 && break
  sleep 0.1
done
coproc holder { exec stdbuf -o0 qemu-io -f vmdk "$shares/h.vmdk"; }
# shellcheck disable=SC2154  # set by coproc
echo "write -P 7 0 4k" >&"${holder[1]}"
read -r -t 20 line <&"${holder[0]}" || fail "qemu-io does not answer"
[[ "$line" == *wrote* ]] || fail "qemu-io: $line"
refuses 'busy|lock' bash -c 'exec 8<>"$1"' bash "$hosted"
echo "quit" >&"${holder[1]}"
wait "$holder_PID" || true
[[ "$(head -c 4096 "$hosted" | tr -d '\007' | wc -c)" -eq 0 ]] || fail "what qemu wrote"
unmount
echo "PASS"
