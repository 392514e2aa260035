#!/bin/bash
# Disks that are whole devices: raw device maps on a volume, a device node in a host folder, over loop devices.
#
#   device_map_test.sh STRATA_BINARY
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/mount.sh
source "$here/../support/mount.sh"
use_strata "${1:-}"
loop=
loops=()
link=

# shellcheck disable=SC2317  # called by the trap
detach_and_remove() {
  if mountpoint -q "$work/tree"; then "$strata" umount "$work/tree" || fusermount3 -u -z "$work/tree"; fi
  remove_work
  if [[ -n "$link" ]]; then rm -f "$link"; fi
  if [[ -n "$loop" ]]; then losetup -d "$loop" || true; fi
  for other in "${loops[@]}"; do losetup -d "$other" || true; done
}
trap detach_and_remove EXIT

vmkfstools=$work/vmkfstools
ln -s "$strata" "$vmkfstools"
volume=$mount_point/volumes/test
folder=$volume/vm
image_path=$mount_point/devices/vdisks/test/vm/r.vmdk
outside=$work/outside

attach() {
  loop=$(losetup --find --show "$work/lun" 2>"$work/out") || { loop='' && skip "no loop device here: $(cat "$work/out")"; }
}

# does PROGRAM ARGUMENTS...: it succeeds.
does() {
  "$@" >"$work/out" 2>&1 || fail "$*: $(cat "$work/out")"
}

# says PATTERN PROGRAM ARGUMENTS...: it succeeds and prints that.
says() {
  local pattern=$1
  shift
  does "$@"
  grep -Eq -- "$pattern" "$work/out" || fail "$*: not \"$pattern\" but: $(cat "$work/out")"
}

# ends CODE PATTERN PROGRAM ARGUMENTS...: with this exit code, and the reason.
ends() {
  local wanted=$1 pattern=$2 code=0
  shift 2
  "$@" >"$work/out" 2>&1 || code=$?
  [[ $code -eq $wanted ]] || fail "exit code $code of $* ($(cat "$work/out"))"
  grep -Eq -- "$pattern" "$work/out" || fail "$*: not \"$pattern\" but: $(cat "$work/out")"
}

refused() { ends 1 "$@"; }

# The checker's code for damage.
finds() { ends 4 "$@"; }

device_hash() {
  blockdev --flushbufs "$loop"
  sha256sum <"$work/lun" | cut -d' ' -f1
}

# Writes at an odd place through the mount, and finds it on the device.
write_through() {
  head -c 70001 /dev/urandom >"$work/data"
  dd if="$work/data" of="$image_path" bs=70001 oflag=seek_bytes seek="$1" conv=notrunc,fsync status=none
}

check_virtual_mode() {
  does "$strata" disk create-rdm "$loop" "$folder/r.vmdk"
  grep -q '^createType="vmfsRawDeviceMap"$' "$folder/r.vmdk" || fail "$(cat "$folder/r.vmdk")"
  grep -q '^RW 32768 VMFSRDM "r-rdm.vmdk"$' "$folder/r.vmdk" || fail "$(cat "$folder/r.vmdk")"
  refused 'exists' "$strata" disk create-rdm "$loop" "$folder/r.vmdk"
  says "^maps to    loop\.[0-9a-f]{32}, virtual mode: $loop\$" "$strata" disk info "$folder/r.vmdk"
  says '^Disk .*/r\.vmdk is a Non-passthrough Raw Device Mapping$' "$vmkfstools" -q "$folder/r.vmdk"
  says '^Maps to: loop\.[0-9a-f]{32}$' "$vmkfstools" -q "$folder/r.vmdk"
  cmp "$image_path" "$work/lun" || fail "the disk shows other bytes than the device"
  write_through 12345
  cmp <(tail -c +12346 "$work/lun" | head -c 70001) "$work/data" || fail "the device misses a write"
  says 'consistent' "$strata" disk check "$folder/r.vmdk"
  refused 'has the size it has' "$strata" disk extend "$folder/r.vmdk" 32M
  does "$strata" disk rename "$folder/r.vmdk" "$folder/q.vmdk"
  [[ -e $folder/q-rdm.vmdk ]] || fail "the pointer file did not move"
  does "$strata" disk rename "$folder/q.vmdk" "$folder/r.vmdk"
}

# Other disks of the folder are not bothered by a pointer file.
check_neighbours() {
  does "$strata" disk create "$folder/other.vmdk" --size 8M
  dd if="$work/data" of="$mount_point/devices/vdisks/test/vm/other.vmdk" conv=notrunc,fsync status=none
  says 'consistent' "$strata" disk check "$folder/other.vmdk"
  says 'consistent' "$strata" disk check --folder "$folder"
  says 'is not a raw device mapping' "$vmkfstools" -q "$folder/other.vmdk"
  does "$strata" disk snapshot create "$folder/other.vmdk" one
  does "$strata" disk delete --all-snapshots "$folder/other.vmdk"
}

check_copies() {
  does "$strata" disk clone "$folder/r.vmdk" "$folder/copy.vmdk" --format thin
  does "$strata" disk compare "$folder/r.vmdk" "$folder/copy.vmdk"
  grep -q '^RW 32768 VMFS "copy-flat.vmdk"$' "$folder/copy.vmdk" || fail "$(cat "$folder/copy.vmdk")"
  does "$vmkfstools" -i "$folder/r.vmdk" -d thin "$folder/copy2.vmdk"
  cmp "$work/lun" "$folder/copy2-flat.vmdk" || fail "the clone differs"
  does "$strata" disk delete "$folder/copy.vmdk"
  does "$strata" disk delete "$folder/copy2.vmdk"
  refused 'r-rdm.vmdk is a raw device map.*strata disk clone' "$strata" export --format flat "$folder/r.vmdk" "$outside/x.vmdk"
}

# A disk written over a second device, which becomes the clone.
check_clone_to_device() {
  local other
  truncate -s 20M "$work/lun3"
  other=$(losetup --find --show "$work/lun3") || return 0
  loops+=("$other")
  does "$strata" disk clone "$folder/r.vmdk" "$folder/d.vmdk" --device "$other"
  cmp -n $((16 << 20)) "$work/lun" "$work/lun3" || fail "the second device differs"
  says "virtual mode: $other" "$strata" disk info "$folder/d.vmdk"
  does "$strata" disk delete "$folder/d.vmdk"
  says 'pass-through raw disk mapping' "$vmkfstools" -i "$folder/r.vmdk" -d "rdmp:$other" "$folder/d.vmdk"
  says 'is a Passthrough Raw Device Mapping$' "$vmkfstools" -q "$folder/d.vmdk"
  refused 'has 16777216 bytes, the disk 20971520' "$strata" disk clone "$folder/d.vmdk" "$folder/e.vmdk" --device "$loop"
  refused 'lies on loop\..* itself' "$strata" disk clone "$folder/r.vmdk" "$folder/e.vmdk" --device "$loop"
  [[ -z $(find "$folder" -name 'e*') ]] || fail "a refused clone left files"
  does "$strata" disk delete "$folder/d.vmdk"
}

# A snapshot keeps the device as it is; its delete writes into the device.
check_snapshots() {
  local before after
  before=$(device_hash)
  does "$strata" disk snapshot create "$folder/r.vmdk" one
  write_through 1000000
  [[ $(device_hash) == "$before" ]] || fail "a write behind a snapshot reached the device"
  after=$(sha256sum <"$image_path" | cut -d' ' -f1)
  [[ $after != "$before" ]] || fail "the write is nowhere"
  says 'consistent' "$strata" disk check "$folder/r-000001.vmdk"
  does "$strata" disk snapshot delete "$folder/r.vmdk" one
  [[ $(device_hash) == "$after" ]] || fail "the deleted snapshot did not reach the device"
}

check_physical_mode() {
  does "$vmkfstools" -z "$loop" "$folder/p.vmdk"
  grep -q '^createType="vmfsPassthroughRawDeviceMap"$' "$folder/p.vmdk" || fail "$(cat "$folder/p.vmdk")"
  says ', physical mode: ' "$strata" disk info "$folder/p.vmdk"
  says 'is a Passthrough Raw Device Mapping$' "$vmkfstools" -q "$folder/p.vmdk"
  refused 'physical mode has no snapshots' "$strata" disk snapshot create "$folder/p.vmdk" one
  refused 'physical mode has no snapshots' "$strata" disk clone --linked "$folder/p.vmdk" "$folder/l.vmdk"
  [[ $("$strata" disk hash "$folder/p.vmdk" | cut -d' ' -f1) == "$(device_hash)" ]] || fail "another hash"
  [[ -z $(find "$folder" -name 'p-0*' -o -name 'l*') ]] || fail "a refused snapshot left files"
}

# Copied off its volume, a pointer is a plain file of zeros.
check_copied_pointer() {
  cp "$folder/p.vmdk" "$outside/p.vmdk"
  truncate -s 16M "$outside/p-rdmp.vmdk"
  refused 'copied off its volume' "$strata" disk hash "$outside/p.vmdk"
  finds 'D9.*copied off its volume' "$strata" disk check "$outside/p.vmdk"
  says 'copied off its volume' "$strata" disk info "$outside/p.vmdk"
  refused 'copied off its volume' "$vmkfstools" -q "$outside/p.vmdk"
}

# Two disks on one device: one writes.
check_one_writer() {
  exec 7<>"$image_path"
  printf x >&7
  refused 'is in use|is mounted, or somebody else holds it' "$strata" disk zero "$folder/p.vmdk"
  exec 7>&-
}

check_host_folder() {
  local before
  before=$(device_hash)
  refused '--allow-outside' "$strata" disk create-rdm "$loop" "$outside/n.vmdk"
  refused 'only VMFS volumes have' "$strata" disk create-rdm --allow-outside --physical "$loop" "$outside/n.vmdk"
  [[ ! -e $outside/n.vmdk ]] || fail "a refused disk left its descriptor"
  does "$strata" disk create-rdm --allow-outside "$loop" "$outside/n.vmdk"
  grep -q "^RW 32768 FLAT \"$loop\" 0\$" "$outside/n.vmdk" || fail "$(cat "$outside/n.vmdk")"
  grep -q '^ddb.strata.deviceId = "loop\.' "$outside/n.vmdk" || fail "$(cat "$outside/n.vmdk")"
  refused '--allow-outside' "$strata" disk hash "$outside/n.vmdk"
  says "^$before" "$strata" disk hash --allow-outside "$outside/n.vmdk"
  says 'consistent' "$strata" disk check --allow-outside "$outside/n.vmdk"
  refused 'has the size it has' "$strata" disk extend --allow-outside "$outside/n.vmdk" 32M
  does "$strata" disk clone --allow-outside "$outside/n.vmdk" "$outside/flat.vmdk" --format monolithicFlat
  cmp "$work/lun" "$outside/flat-flat.vmdk" || fail "the clone differs"
  # Only device nodes, whatever was allowed.
  sed "s|\"$loop\" 0|\"/etc/passwd\" 0|" "$outside/n.vmdk" >"$outside/bad.vmdk"
  refused '/etc/passwd' "$strata" disk hash --allow-outside "$outside/bad.vmdk"
  sed "s|\"$loop\" 0|\"/dev/zero\" 0|" "$outside/n.vmdk" >"$outside/bad.vmdk"
  refused 'no block device' "$strata" disk hash --allow-outside "$outside/bad.vmdk"
  cp "$outside/n.vmdk" "$folder/n.vmdk"
  refused 'outside of the datastore' "$strata" disk hash "$folder/n.vmdk"
  rm "$outside/bad.vmdk" "$folder/n.vmdk"
}

# Where udev names the device, the descriptor has that name.
check_lasting_name() {
  local folder_made=
  [[ -d /dev/disk/by-id ]] || { mkdir -p /dev/disk/by-id 2>"$work/out" && folder_made=yes; } || return 0
  link=/dev/disk/by-id/strata-test-$$
  ln -s "$loop" "$link" 2>"$work/out" || { link='' && return 0; }
  does "$strata" disk create-rdm --allow-outside "$loop" "$outside/lasting.vmdk"
  grep -q "^RW 32768 FLAT \"$link\" 0\$" "$outside/lasting.vmdk" || fail "$(cat "$outside/lasting.vmdk")"
  says "^$(device_hash)" "$strata" disk hash --allow-outside "$outside/lasting.vmdk"
  rm "$link"
  link=
  [[ -z $folder_made ]] || rmdir -p --ignore-fail-on-non-empty /dev/disk/by-id
  refused 'lasting|strata-test' "$strata" disk hash --allow-outside "$outside/lasting.vmdk"
  does "$strata" disk delete --allow-outside "$outside/lasting.vmdk"
}

# A mount of the folder shows the disk, where it was told to.
check_mounted_folder() {
  local tree=$work/tree disk
  mkdir -p "$tree"
  disk=$tree/devices/vdisks/outside/n.vmdk
  does "$strata" mount "posix:$outside" "$tree"
  if head -c 1 "$disk" >"$work/out" 2>&1; then fail "a mount followed a name out of its folder"; fi
  refused '--allow-outside' "$strata" disk hash "$tree/volumes/outside/n.vmdk"
  refused 'strata mount takes it' "$strata" disk hash --allow-outside "$tree/volumes/outside/n.vmdk"
  does "$strata" umount "$tree"
  does "$strata" mount --allow-outside "posix:$outside" "$tree"
  printf 'by the mount' | dd of="$disk" bs=1 seek=777 conv=notrunc,fsync status=none || code=$?
  cmp <(tail -c +778 "$work/lun" | head -c 12) <(printf 'by the mount') || code=1
  does "$strata" umount "$tree"
  [[ ${code:-0} -eq 0 ]] || fail "the mount does not write to the device"
}

# The node is another device after a restart, or none.
check_missing_device() {
  local node=$loop
  losetup -d "$loop"
  loop=
  refused 'is not on this machine' "$strata" disk hash "$folder/p.vmdk"
  says 'is not on this machine' "$strata" disk info "$folder/p.vmdk"
  finds 'D9.*is not on this machine' "$strata" disk check "$folder/p.vmdk"
  truncate -s 16M "$work/lun2"
  if losetup "$node" "$work/lun2" 2>"$work/out"; then
    loop=$node
    refused 'the disk is on loop\.' "$strata" disk hash --allow-outside "$outside/n.vmdk"
    refused 'is not on this machine' "$strata" disk hash "$folder/p.vmdk"
    losetup -d "$loop"
    loop=
  fi
  truncate -s 8M "$work/lun"
  attach
  refused 'has 8388608 bytes' "$strata" disk hash "$folder/p.vmdk"
  losetup -d "$loop"
  loop=
}

# Only the map goes, with the device here or not.
check_delete() {
  local before
  before=$(sha256sum <"$work/lun")
  does "$strata" disk delete "$folder/p.vmdk"
  attach
  does "$vmkfstools" -U "$folder/r.vmdk"
  does "$strata" disk delete --allow-outside "$outside/n.vmdk"
  [[ -z $(find "$folder" -name "*.vmdk*") ]] || fail "left: $(ls "$folder")"
  [[ $(sha256sum <"$work/lun") == "$before" ]] || fail "a delete touched the device"
}

# The same without a mount, and import, which reads the device there.
check_unmounted_volume() {
  does "$strata" disk create-rdm "$loop" "$image:/vm/u.vmdk"
  says 'Non-passthrough' "$vmkfstools" -q "$image:/vm/u.vmdk"
  does "$strata" import "$image:/vm/u.vmdk" "$outside/imported.vmdk"
  says "^$(device_hash)" "$strata" disk hash "$outside/imported.vmdk"
  does "$strata" disk delete "$image:/vm/u.vmdk"
  # What writes go past is never frozen by a child.
  does "$strata" disk create-rdm --physical "$loop" "$image:/vm/u.vmdk"
  printf 'scsi0:0.present = "TRUE"\nscsi0:0.fileName = "u.vmdk"\n' >"$work/vm.vmx"
  does "$strata" put "$work/vm.vmx" "$image:/vm/vm.vmx"
  refused 'physical mode' "$strata" import --in-place "$image:/vm" "$image:/new"
  does "$strata" rm "$image:/vm/vm.vmx"
  does "$strata" disk delete "$image:/vm/u.vmdk"
}

head -c 16M /dev/urandom >"$work/lun"
mkdir "$outside"
attach
format_and_mount 1G
mkdir -p "$folder"
check_virtual_mode
check_neighbours
check_copies
check_clone_to_device
check_snapshots
check_physical_mode
check_copied_pointer
check_one_writer
check_host_folder
check_lasting_name
check_mounted_folder
check_missing_device
check_delete
unmount
check_unmounted_volume
check_volume
echo "PASS"
