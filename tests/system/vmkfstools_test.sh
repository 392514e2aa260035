#!/bin/bash
# `vmkfstools`: every option with its strings and exit codes, on a mount, in a host folder and on an unmounted volume.
#
#   vmkfstools_test.sh STRATA_BINARY
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/mount.sh
source "$here/../support/mount.sh"

use_strata "${1:-}"
vmkfstools=$work/vmkfstools
ln -s "$strata" "$vmkfstools"

# says CODE PATTERN ARGUMENTS...: how vmkfstools ends, and a line of what it prints.
says() {
  local wanted=$1 pattern=$2 code=0
  shift 2
  "$vmkfstools" "$@" >"$work/out" 2>"$work/err" || code=$?
  [[ $code -eq $wanted ]] || fail "exit code $code of vmkfstools $* ($(cat "$work/out" "$work/err"))"
  [[ $code -eq 0 ]] && [[ -s $work/err ]] && fail "vmkfstools $* succeeds and says on stderr: $(cat "$work/err")"
  local stream=$work/out
  [[ $code -eq 0 ]] || stream=$work/err
  [[ -z $pattern ]] || tr '\r' '\n' <"$stream" | grep -Eq -- "$pattern" || fail "$*: not \"$pattern\" but: $(cat "$stream")"
}

# The content of a disk.
hash_of() {
  "$strata" disk hash "$1"
}

# Disks, in any folder.
exercise() {
  local folder=$1 disk=$1/a.vmdk
  says 0 '^Create: 100% done\.$' -c 8m -d thin -a pvscsi -W file "$disk"
  says 1 '^Failed to create virtual disk: .*exists.* \(17\)\.$' -c 8m "$disk"
  says 1 '^Failed to create virtual disk: .*vsan \(95\)\.$' -c 8m -W vsan "$folder/o.vmdk"
  says 1 'unknown disk format "bad" \(22\)\.$' -c 8m -d bad "$folder/o.vmdk"
  says 1 '^Failed to create virtual disk: ' -c nonsense "$folder/o.vmdk"
  says 0 '^Create: 100% done\.$' -c 2048s "$folder/sectors.vmdk"
  "$strata" disk info "$folder/sectors.vmdk" | grep -q 'capacity   1.0 MiB' || fail "a size in sectors"
  says 0 '^Geometry information C/H/S is [0-9]+/[0-9]+/[0-9]+$' -g "$disk"
  says 0 '^Object type: file$' -Q "$disk"
  says 0 '^\[ +0: +8388608\] --> \[(hole|zero)\]$' -t 0 "$disk"
  says 2 'wants 0' -t 1 "$disk"
  says 0 '^Grow: 100% done\.$' -X 16m "$disk"
  says 1 '^Failed to extend virtual disk: .* \(22\)\.$' -X 1m "$disk"
  says 0 '^Inflate: 100% done\.$' -j "$disk"
  says 0 '^\[ +0: +16777216\] --> \[data\]$' -t 0 "$disk"
  says 0 '^Hole Punching: 100% done\.$' -K "$disk"
  says 0 '^Zero: 100% done\.$' -w "$disk"
  says 0 '^Eager zero: 100% done\.$' -k "$folder/sectors.vmdk"
  says 0 '' -E "$disk" "$folder/renamed.vmdk"
  says 1 '^Failed to open virtual disk: .* \(2\)\.$' -g "$disk"
  for name in renamed sectors; do says 0 '' -U "$folder/$name.vmdk"; done
  says 1 '^Failed to delete virtual disk: .* \(2\)\.$' -U "$disk"
}

# Copies and chains, of a disk with content at the start and a snapshot.
exercise_chains() {
  local folder=$1 format wanted
  says 0 '' -c 8m "$folder/a.vmdk"
  head -c 3M /dev/urandom | dd of="$folder/a-flat.vmdk" conv=notrunc status=none
  wanted=$(hash_of "$folder/a.vmdk")
  local announced=(thin:'VMFS thin-provisioned' zeroedthick:'VMFS zeroedthick' eagerzeroedthick:'VMFS eagerzeroedthick'
    2gbsparse:'sparse with 2GB maximum extent size' sesparse:'' vmfssparse:'' monosparse:'' monoflat:'' 2gbflat:''
    streamoptimized:'')
  for format in "${announced[@]}"; do
    says 0 "^Destination disk format: ${format#*:}" -i "$folder/a.vmdk" -d "${format%%:*}" "$folder/b.vmdk"
    grep -q "^Cloning disk '$folder/a.vmdk'\.\.\.$" "$work/out" || fail "a clone says not what it clones"
    tr '\r' '\n' <"$work/out" | grep -q '^Clone: 100% done\.$' || fail "a clone says not that it is done"
    [[ "$(hash_of "$folder/b.vmdk")" == "$wanted" ]] || fail "a clone to ${format%%:*} holds something else"
    says 0 '' -U "$folder/b.vmdk"
  done
  says 0 '^Clone: 100% done\.$' -i "$folder/a.vmdk" -N -d thin "$folder/b.vmdk"
  [[ "$(hash_of "$folder/b.vmdk")" == "$wanted" ]] || fail "a clone with -N holds something else"
  says 1 '^Failed to clone disk: .*no block device.* \([0-9]+\)\.$' -i "$folder/a.vmdk" -d rdm:/dev/null "$folder/o.vmdk"
  says 1 '^Failed to clone disk: .*\(2\)\.$' -i "$folder/none.vmdk" "$folder/o.vmdk"
  "$strata" disk snapshot create "$folder/a.vmdk" first >/dev/null
  says 0 '^Disk chain is consistent\.$' -e "$folder/a-000001.vmdk"
  says 0 'a-000001.vmdk: CID [0-9a-f]{8}, parentCID [0-9a-f]{8}$' -e -v10 "$folder/a-000001.vmdk"
  says 0 '^0 unique bytes' --uniqueblocks "$folder/a-000001.vmdk"
  says 1 '^Failed to delete virtual disk: ' -U "$folder/a.vmdk"
  says 0 '^Disk is error free\.$' -x check "$folder/a-000001.vmdk"
  says 0 '^Disk is error free\.$' -x repair "$folder/a-000001.vmdk"
  says 2 'check or repair' -x else "$folder/a-000001.vmdk"
  sed -i 's/^CID=.*/CID=12345678/' "$folder/a.vmdk"
  says 1 '^Failed to check disk chain: Disk chain is not consistent: [1-9]' -e "$folder/a-000001.vmdk"
  says 1 '^Failed to check disk: Disk chain is not consistent: [1-9]' -x check "$folder/a-000001.vmdk"
  says 0 '' -U "$folder/b.vmdk"
  rm "$folder"/a*.vm*
}

# Volumes, and the locks of files.
exercise_volume() {
  local vm=$mount_point/volumes/test/vm
  says 0 '^VMFS-6.* file system spanning 1 partitions\.$' -P "$mount_point/volumes/test"
  says 0 '^Capacity .*MiB, .* available' -P -h "$vm"
  says 0 "^Found 1 actively heartbeating hosts on volume '$mount_point" --activehosts "$mount_point/volumes/test"
  says 0 '^\(1\): [0-9a-f]{8}-.* slot [0-9]+$' --activehosts "$image"
  says 0 '' -c 1m "$vm/a.vmdk"
  exec 7<>"$vm/a-flat.vmdk"
  says 0 '^gen [0-9]+, mode 1, owner [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{12} mtime' -D "$vm/a-flat.vmdk"
  grep -q '^Held by [0-9a-f-]*: .* pid ' "$work/out" || fail "a lock does not name its holder: $(cat "$work/out")"
  exec 7>&-
  says 1 'lies on no mounted volume \(2\)\.$' -D "$image"
  says 1 'lies on no mounted volume \(2\)\.$' -P "$work"
  says 0 '' -U "$vm/a.vmdk"
}

# What makes no sense, and what ESX has and Strata not.
check_refusals() {
  says 1 '^Failed to grow file system: .*-C .*\(95\)\.$' -G "$image" "$image"
  says 1 '^Failed to span file system: ' -Z "$image" "$image"
  says 1 '^Failed to upgrade file system: ' -T "$work"
  says 1 '^Failed to reclaim blocks: .*as soon as it is free' -y "$work"
  says 1 '^Failed to migrate virtual disk: .*-i' -M "$work/a.vmdk"
  says 1 '^Failed to create snapshot of virtual disk: .*strata disk snapshot' -I "$work/a.vmdk" "$work/b.vmdk"
  says 1 '^Failed to change SCSI reservation: .*sg_persist' -L lunreset "$image"
  says 1 '^Failed to break lock: .*-D' -B "$image"
  says 1 '^Failed to map blocks: .*-t 0' -p "$work/a.vmdk"
  says 1 '^Failed to use storage policy: .*-d' -c 1m --policyFile x "$work/a.vmdk"
  says 2 'N means nothing with -g' -g -N "$work/a.vmdk"
  says 2 '1 path wanted, 0 given' -g
  says 2 'one at a time' -g -e "$work/a.vmdk"
  says 2 'nothing is said to do' "$work/a.vmdk"
  says 2 '--nonsense' --nonsense
  says 1 'only vmfs6 is made, not vmfs5' -C vmfs5 "$work/new.img"
  says 1 'blocks of vmfs6 are of 1m' -C vmfs6 -b 2m "$work/new.img"
  says 0 'Not done here' --help
  says 0 'vmkfstools of strata [0-9]' --version
}

mkdir -p "$work/folder"
exercise "$work/folder"
exercise_chains "$work/folder"
echo "disks of a host folder"
truncate -s 1G "$image"
says 0 '' -C vmfs6 -b 1m -S test "$image"
exercise "$image:/"
echo "disks of an unmounted volume"
mkdir "$mount_point"
"$strata" mount "$image" "$mount_point"
mkdir "$mount_point/volumes/test/vm"
exercise "$mount_point/volumes/test/vm"
exercise_chains "$mount_point/volumes/test/vm"
exercise_volume
check_refusals
echo "disks of a mount"
unmount
check_volume
echo "PASS"
