#!/bin/bash
# stress-ng on the mount: its stressors of files and folders, in groups, each verifying what it can.
#
#   load_stress.sh STRATA_BINARY [SECONDS]
#
# Left out, because VMFS-6 or FUSE has no place for what they need: link (hard links: a descriptor has one parent), xattr
# (extended attributes), verity (needs the kernel's own file systems), fiemap (an ioctl that no FUSE server is asked); and because
# they go over the whole machine instead of their folder, and keep the mounts of other tests busy: getdent, io.
set -euo pipefail
# shellcheck source=tests/system/load_volume.sh
source "$(dirname "${BASH_SOURCE[0]}")/load_volume.sh"

require_program stress-ng
begin_load "${1:-}" 8G "${2:-24}"

groups=(
  "iomix:2 hdd:1 fallocate:1 seek:1 sync-file:1 fpunch:1 fsize:1"
  "dentry:1 rename:1 dir:1 dirdeep:1 dirmany:1 filename:1 symlink:1 mknod:1"
  "utime:1 touch:1 open:1 access:1 chmod:1 chown:1 chdir:1 fstat:1 handle:1 inotify:1 dnotify:1"
  "aio:1 aiol:1 io-uring:1 revio:1 readahead:1 mmap:1 msync:1 copy-file:1 sendfile:1"
  "flock:1 lockf:1 lockofd:1 locka:1 lease:1 fcntl:1 file-ioctl:1 inode-flags:1 chattr:1 hdd:2"
)
options=(--hdd-bytes 48m --iomix-bytes 64m --fallocate-bytes 64m --seek-size 64m --sync-file-bytes 32m
  --readahead-bytes 64m --mmap-bytes 16m --mmap-file --msync-bytes 32m --copy-file-bytes 128m --sendfile-size 8m
  --dirdeep-inodes 2000)

# What this stress-ng does not know or leaves out is a mistake here, not a reason to skip. The folder is named from the work
# folder: the io-uring stressor fails with an absolute one, on any file system.
one_group() {
  local chosen=() stressor
  for stressor in $1; do
    chosen+=("--${stressor%:*}" "${stressor#*:}")
  done
  passes env --chdir="$work" stress-ng --temp-path "${load_folder#"$work/"}" --verify --no-rand-seed --metrics-brief \
    --timeout $((seconds / ${#groups[@]} + 1)) "${options_of_group[@]}" "${chosen[@]}"
  grep -q 'successful run completed' "$work/load.log" || fail "stress-ng ran nothing of $1"
  ! grep -i -E 'skipp|not (implemented|supported)' "$work/load.log" || fail "stress-ng left out a part of $1"
}

# stress-ng accepts an option only beside its stressor.
choose_options() {
  local at stressor
  options_of_group=()
  for ((at = 0; at < ${#options[@]}; at++)); do
    [[ ${options[at]} == --* ]] || continue
    for stressor in $1; do
      [[ ${options[at]} == "--${stressor%:*}-"* ]] || continue
      options_of_group+=("${options[at]}")
      [[ ${options[at + 1]:---} == --* ]] || options_of_group+=("${options[at + 1]}")
      break
    done
  done
}

for group in "${groups[@]}"; do
  choose_options "$group"
  one_group "$group"
  echo "passed: $group"
done
end_load
