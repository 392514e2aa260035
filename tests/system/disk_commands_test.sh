#!/bin/bash
# `strata disk` on a mount, in a host folder and on an unmounted volume; opening locks both ways; interruption.
#
#   disk_commands_test.sh STRATA_BINARY
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/mount.sh
source "$here/../support/mount.sh"

require_program qemu-img
use_strata "${1:-}"

# refused PATTERN COMMAND...: the command fails with code 1 and its words match.
refused() {
  local pattern=$1 code=0
  shift
  "$@" >"$work/out" 2>&1 || code=$?
  [[ $code -eq 1 ]] || fail "exit code $code of: $* ($(cat "$work/out"))"
  grep -Eq -- "$pattern" "$work/out" || fail "not \"$pattern\" but: $(cat "$work/out")"
}

# Everything `strata disk` does, on the disks of one folder.
exercise() {
  local folder=$1 disk=$1/a.vmdk
  "$strata" disk create "$disk" --size 5G --format thin --layout twoGbMaxExtentFlat --adapter pvscsi
  refused 'exists' "$strata" disk create "$disk" --size 1M
  "$strata" disk info "$disk" --json >"$work/info"
  grep -q '"capacity_bytes": 5368709120' "$work/info" || fail "info: $(cat "$work/info")"
  grep -q '"adapter_type": "pvscsi"' "$work/info" || fail "the adapter: $(cat "$work/info")"
  "$strata" disk extend "$disk" 6G
  refused 'fewer' "$strata" disk extend "$disk" 1G
  "$strata" disk rename "$disk" "$folder/sub/b.vmdk"
  refused 'a.vmdk' "$strata" disk info "$disk"
  refused 'a.vmdk' "$strata" disk map "$disk"
  "$strata" disk map "$folder/sub/b.vmdk" | grep -Eq '^ +0 +6442450944  hole$' || fail "the map of an empty disk"
  "$strata" disk map "$folder/sub/b.vmdk" --json | python3 -c 'import json, sys
whole = {"offset_bytes": 0, "length_bytes": 6 << 30, "state": "hole"}
assert json.load(sys.stdin) == {"size_bytes": 6 << 30, "runs": [whole]}' || fail "the map for programs"
  "$strata" disk delete "$folder/sub/b.vmdk"
  refused 'b.vmdk' "$strata" disk delete "$folder/sub/b.vmdk"
  misused 'nonsense' "$strata" disk create "$disk" --size nonsense
}

# misused PATTERN COMMAND...: the command line makes no sense, and it says why.
misused() {
  local pattern=$1 code=0
  shift
  "$@" >"$work/out" 2>&1 || code=$?
  [[ $code -eq 2 ]] || fail "exit code $code of: $* ($(cat "$work/out"))"
  grep -Eq -- "$pattern" "$work/out" || fail "not \"$pattern\" but: $(cat "$work/out")"
}

# What is asked for and cannot be done is refused, not passed over.
check_refusals() {
  local disk=$work/folder/x.vmdk code=0
  misused 'nonsense: no command of disk' "$strata" disk nonsense "$disk"
  misused 'nonsense: no command of snapshot' "$strata" disk snapshot nonsense "$disk"
  misused 'size is required' "$strata" disk extend "$disk"
  misused 'requires --repair' "$strata" disk check "$disk" --fix C1
  misused 'allowed are 62 TiB' "$strata" disk create "$disk" --size 63T
  refused 'a layout of its own' "$strata" disk create "$disk" --size 1M --format seSparse --layout vmfs
  refused 'has no grains' "$strata" disk create "$disk" --size 1M --grain 4K
  refused 'of 4096 bytes, not of 65536' "$strata" disk create "$disk" --size 1M --format seSparse --grain 64K
  refused 'for vmfsSparse, not for seSparse' "$strata" disk create "$disk" --size 1M --format seSparse --all-tables
  refused 'ends in .vmdk' "$strata" disk create "$work/folder/x.txt" --size 1M
  "$strata" disk create "$disk" --size 1M --format seSparse
  refused 'take space as they are written' "$strata" disk extend "$disk" 2M --format eagerzeroedthick
  refused 'only flat disks' "$strata" disk inflate "$disk"
  refused 'only flat disks' "$strata" disk eager-zero "$disk"
  refused 'no such invariant: "Z9"' "$strata" disk check "$disk" --repair --fix Z9
  refused 'no such snapshot' "$strata" disk snapshot revert "$disk" nosuch
  refused '--folder checks a folder' "$strata" disk check "$work/folder"
  refused 'is a folder' "$strata" disk info "$work/folder"
  refused 'not a disk descriptor' "$strata" disk info /etc/passwd
  "$strata" disk snapshot create "$disk" one --json | grep -q '"name": "one"' || fail "a snapshot for programs"
  "$strata" disk compare "$disk" "$work/folder/x-000001.vmdk" >/dev/null || fail "a fresh leaf differs"
  "$strata" disk delete "$disk" --all-snapshots | grep -q '^removed .*x-000001.vmdk$' || fail "what a delete removed"
  "$strata" disk create "$disk" --size 1M
  "$strata" disk create "$work/folder/y.vmdk" --size 1M
  head -c 512 /dev/urandom | dd of="$work/folder/y-flat.vmdk" conv=notrunc status=none
  "$strata" disk compare "$disk" "$work/folder/y.vmdk" >"$work/out" || code=$?
  [[ $code -eq 4 ]] && grep -q '^1 sectors differ' "$work/out" || fail "exit code $code: $(cat "$work/out")"
  for disk in x y; do "$strata" disk delete "$work/folder/$disk.vmdk"; done
}

# A link that moves between parents which hold the same, or not. a.vmdk and c.vmdk begin equal, with content ids of their own.
change_parents() {
  local folder=$1 link=$1/sub/b.vmdk before
  local datastore=("${@:2}")  # where a folder of the host has to say so
  "$strata" disk create "$folder/a.vmdk" --size 8M
  "$strata" disk create "$folder/c.vmdk" --size 8M
  for name in a c; do "$strata" disk zero "$folder/$name.vmdk" >/dev/null; done
  head -c 2M /dev/urandom >"$work/content"
  for name in a c; do dd if="$work/content" of="$folder/$name-flat.vmdk" conv=notrunc status=none; done
  "$strata" disk clone "$folder/a.vmdk" "$link" --linked >/dev/null
  if [[ $# -gt 1 ]]; then
    refused 'leaves the datastore; --datastore' "$strata" disk hash "$link"
  else
    refused 'lies on a volume' "$strata" disk hash "$link" --datastore "$folder"
  fi
  before=$("$strata" disk hash "${datastore[@]}" "$link")
  refused 'there.vmdk' "$strata" disk rebase "${datastore[@]}" "$link" "$folder/there.vmdk"
  refused 'has no parent' "$strata" disk rebase "$folder/c.vmdk" "$folder/a.vmdk"
  refused 'stands on it' "$strata" disk rebase "${datastore[@]}" "$link" "$link"
  "$strata" disk rebase "${datastore[@]}" "$link" "$folder/c.vmdk" | grep -q 'c.vmdk: the same by its content$' ||
    fail "a proof by content"
  refused 'sub/b.vmdk stands on it' "$strata" disk delete "$folder/c.vmdk"
  dd if=/dev/urandom of="$folder/a-flat.vmdk" bs=64k seek=64 count=1 conv=notrunc status=none
  refused 'differ at byte 4194304' "$strata" disk rebase "${datastore[@]}" "$link" "$folder/a.vmdk"
  misused 'excludes' "$strata" disk rebase "$link" "$folder/a.vmdk" --copy --force
  "$strata" disk rebase "${datastore[@]}" "$link" "$folder/a.vmdk" --copy --json >"$work/rebased"
  grep -q '"copied_bytes": 65536' "$work/rebased" || fail "rebase: $(cat "$work/rebased")"
  [[ "$("$strata" disk hash "${datastore[@]}" "$link")" == "$before" ]] || fail "a rebase changed what is read"
  "$strata" disk rebase "${datastore[@]}" "$link" "$folder/a.vmdk" | grep -q 'by its content id$' || fail "a proof by content id"
  dd if=/dev/zero of="$folder/c-flat.vmdk" bs=1M count=2 conv=notrunc status=none
  "$strata" disk rebase "${datastore[@]}" "$link" "$folder/c.vmdk" --force >/dev/null
  "$strata" disk compare "${datastore[@]}" "$link" "$folder/c.vmdk" >/dev/null || fail "a forced rebase reads something else"
  "$strata" disk check "${datastore[@]}" "$link" >/dev/null || fail "the chain after a forced rebase"
  "$strata" disk delete "$folder/a.vmdk"
  "$strata" disk delete "${datastore[@]}" "$link"
  "$strata" disk delete "$folder/c.vmdk"
  ! compgen -G "$folder/*.children" >/dev/null || fail "a registry without children stays"
}

# What the other way of opening is told while one is open.
check_locks() {
  local vdisk=$mount_point/devices/vdisks/test/vm/a.vmdk flat=$mount_point/volumes/test/vm/a-flat.vmdk
  "$strata" disk create "$mount_point/volumes/test/vm/a.vmdk" --size 8M
  exec 7<>"$vdisk"
  refused 'busy' bash -c 'exec 8<>"$1"' bash "$flat"
  refused 'busy' truncate -s 1M "$flat"
  refused 'busy' rm -f "$flat"
  refused 'busy' mv "$flat" "$flat.away"
  refused 'open for writing \(devices/vdisks\); used by [0-9]+ \(disk_commands' \
    "$strata" disk delete "$mount_point/volumes/test/vm/a.vmdk"
  "$strata" status "$mount_point" | grep -q 'vm/a.vmdk is open for writing' || fail "the status does not list the disk"
  refused 'busy' cat "$flat"
  echo "written through the disk" >&7
  exec 7>&-
  [[ "$(head -c 24 "$flat")" == "written through the disk" ]] || fail "the flat file shows old bytes"
  exec 8<>"$flat"
  refused 'busy' dd if=/dev/zero of="$vdisk" count=1 conv=notrunc
  refused 'vm/a-flat.vmdk is open for writing as a plain file; used by [0-9]+ \(disk_commands' \
    "$strata" disk delete "$mount_point/volumes/test/vm/a.vmdk"
  exec 8>&-
  grep -q 'refused .*disk vm/a.vmdk is open for writing' "$("$strata" status "$mount_point" --json |
    sed -n 's/.*"log": "\(.*\)".*/\1/p')" || fail "the log does not name the holder"
  for _ in {1..20}; do
    dd if=/dev/zero of="$vdisk" count=1 conv=notrunc status=none
    dd if=/dev/zero of="$flat" count=1 conv=notrunc status=none
  done
  echo "the opening locks hold, both ways"
}

# A vdisk grows by truncation, never shrinks, and shows holes.
check_image() {
  local vdisk=$mount_point/devices/vdisks/test/vm/a.vmdk inode
  inode=$(stat -c %i "$vdisk")
  truncate -s 16M "$vdisk"
  [[ $(stat -c %s "$vdisk") -eq $((16 << 20)) ]] || fail "the disk did not grow"
  "$strata" disk info "$mount_point/volumes/test/vm/a.vmdk" | grep -q '16.0 MiB' || fail "the descriptor did not grow"
  refused 'Invalid argument' truncate -s 1M "$vdisk"
  truncate -s 16M "$vdisk"
  dd if=/dev/urandom of="$vdisk" bs=1M seek=4 count=4 conv=notrunc status=none
  fallocate --punch-hole --offset $((5 << 20)) --length $((2 << 20)) "$vdisk"
  cmp <(dd if="$vdisk" bs=1M skip=5 count=2 status=none) <(head -c 2M /dev/zero) || fail "a punched hole is not zero"
  fallocate --zero-range --offset $((7 << 20)) --length $((1 << 20)) "$vdisk"
  python3 - "$vdisk" <<'PYTHON' || fail "data and holes"
import os, sys
disk = os.open(sys.argv[1], os.O_RDONLY)
data = os.lseek(disk, 1 << 20, os.SEEK_DATA)
assert data == 4 << 20, data
assert os.lseek(disk, data, os.SEEK_HOLE) == 5 << 20
PYTHON
  [[ $(stat -c %i "$vdisk") -eq $inode ]] || fail "the inode number changed"
  refused 'not permitted' rm "$vdisk"
  refused 'not permitted' touch "$mount_point/devices/vdisks/test/vm/new"
}

# Ctrl-C while all space of a disk is written leaves nothing behind.
check_interruption() {
  local code=0
  "$strata" disk create "$mount_point/volumes/test/big.vmdk" --size 1G --format eagerzeroedthick &
  local creator=$!
  sleep 0.1
  kill -INT "$creator" 2>/dev/null || true
  wait "$creator" || code=$?
  if [[ $code -ne 0 ]]; then
    ! compgen -G "$mount_point/volumes/test/*big*" >/dev/null || fail "an interrupted create left files behind"
    echo "interrupted, nothing stays"
  else
    "$strata" disk delete "$mount_point/volumes/test/big.vmdk"
  fi
}

mkdir -p "$work/folder/sub"
exercise "$work/folder"
change_parents "$work/folder" --datastore "$work/folder"
check_refusals
echo "works in a host folder"

format_and_mount 2G
mkdir -p "$mount_point/volumes/test/vm/sub"
exercise "$mount_point/volumes/test/vm"
change_parents "$mount_point/volumes/test/vm"
echo "works on a mount"
refused 'is no disk but a mount point' "$strata" disk info "$mount_point"
check_locks
check_image
check_interruption
"$strata" disk delete "$mount_point/volumes/test/vm/a.vmdk"
unmount
exercise "$image:/vm"
echo "works on an unmounted volume"
check_volume
echo "PASS"
