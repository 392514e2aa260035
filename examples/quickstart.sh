#!/bin/bash
# A tour of Strata in a few minutes: build it, format a datastore, and boot a virtual machine off it.
#
#   examples/quickstart.sh [--work DIR] [--keep] [--help]
#
#   --work DIR   where images, mount and guest go (default: build/quickstart)
#   --keep       leave the datastore image there afterwards
#
# Installs the Debian packages that are missing. Ends with nothing mounted and no process left, whatever happened.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tests/support/packages.sh
source "$root/tests/support/packages.sh"

work=$root/build/quickstart
keep=no
guest_pid=
bold='' cyan='' plain=''
if [[ -t 1 ]]; then
  bold=$'\033[1m' cyan=$'\033[36m' plain=$'\033[0m'
fi

usage() {
  sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

parse_options() {
  while [[ $# -gt 0 ]]; do
    case $1 in
      --work) work=${2:?--work needs a folder} && shift ;;
      --keep) keep=yes ;;
      --help | -h) usage && exit 0 ;;
      *) usage >&2 && exit 2 ;;
    esac
    shift
  done
}

say() {
  printf '\n%s== %s%s\n' "$bold" "$*" "$plain"
}

# Shows a command as one would type it.
show() {
  printf '%s$ %s%s\n' "$cyan" "$*" "$plain"
}

run() {
  show "$@"
  "$@"
}

# shellcheck disable=SC2317  # called by the trap
clean_up() {
  local code=$?
  if [[ -n "$guest_pid" ]]; then
    kill "$guest_pid" 2>/dev/null || true
    wait "$guest_pid" 2>/dev/null || true
  fi
  unmount_leftovers
  if [[ "$keep" == no ]]; then
    rm -f datastore.img flat-sum
  fi
  rmdir mnt reader 2>/dev/null || true
  if [[ "$code" -ne 0 ]]; then
    printf '\nquickstart.sh: stopped with exit code %s\n' "$code" >&2
  fi
}

unmount_leftovers() {
  if mountpoint -q reader; then
    fusermount3 -u reader || true
  fi
  if mountpoint -q mnt; then
    strata umount mnt || fusermount3 -u -z mnt || true
  fi
}

# A first configuration leaves the tests out: they need packages which this tour does not.
build() {
  say "Build (only what this tour needs)"
  cd "$root"
  local options=()
  if [[ ! -f build/release/CMakeCache.txt ]]; then
    options=(-DSTRATA_TESTS=OFF)
  fi
  quietly cmake --preset release "${options[@]}"
  quietly cmake --build build/release --target strata
  PATH=$root/build/release:$PATH
}

# Like run, but shows the output only when the command fails.
quietly() {
  show "$@"
  if ! "$@" >"$work/build.log" 2>&1; then
    tail -n 60 "$work/build.log" >&2
    exit 1
  fi
}

make_datastore() {
  say "A datastore: VMFS-6 in a sparse file"
  cd "$work"
  trap clean_up EXIT
  trap 'exit 130' INT TERM
  unmount_leftovers
  rm -rf datastore.img
  mkdir -p mnt reader
  run strata mkfs datastore.img --label demo --size 2G
  run strata mount datastore.img mnt
  run strata status mnt
}

make_disk() {
  say "A thin virtual disk on it"
  run mkdir mnt/volumes/demo/vm
  run strata disk create mnt/volumes/demo/vm/disk.vmdk --size 512M --format thin
  run ls -l mnt/devices/vdisks/demo/vm/disk.vmdk
}

# Boots the guest in the background so that a signal to this script can end it.
boot() {
  show examples/guest/boot.sh guest "$1" "$2"
  "$root/examples/guest/boot.sh" guest "$1" "$2" &
  guest_pid=$!
  wait "$guest_pid"
  guest_pid=
}

run_guest() {
  say "A Linux guest that runs off this disk: it makes a file system and writes"
  "$root/examples/guest/prepare.sh" guest
  boot write mnt/devices/vdisks/demo/vm/disk.vmdk
  say "The same guest after a reboot: is everything still there?"
  boot verify mnt/devices/vdisks/demo/vm/disk.vmdk
}

show_figures() {
  say "What it looks like from here"
  run ls -lhs mnt/volumes/demo/vm
  run cat mnt/volumes/demo/vm/disk.vmdk
  run strata disk info mnt/volumes/demo/vm/disk.vmdk
  run strata status mnt
  run df -h mnt/volumes/demo
  sum_of_flat_file mnt/volumes/demo >flat-sum
}

sum_of_flat_file() {
  sha256sum <"$1/vm/disk-flat.vmdk"
}

check_datastore() {
  say "Unmount, and check every structure"
  run strata umount mnt
  run strata fsck datastore.img
  run ls -lhs datastore.img
}

# vmfs6-tools is an independent reader of the format, written by other people.
ask_independent_reader() {
  say "An independent reader has the last word"
  run vmfs6-fuse datastore.img reader
  run ls -lhs reader/vm
  local ours theirs
  ours=$(cat flat-sum)
  theirs=$(sum_of_flat_file reader)
  run fusermount3 -u reader
  echo "disk-flat.vmdk through Strata:     ${ours%% *}"
  echo "disk-flat.vmdk through vmfs6-fuse: ${theirs%% *}"
  if [[ "$ours" != "$theirs" ]]; then
    echo "the two differ" >&2
    exit 1
  fi
  echo "the same bytes"
}

parse_options "$@"
mkdir -p "$work"
work=$(cd "$work" && pwd)
install_missing_packages "${packages_quickstart[@]}"
build
make_datastore
make_disk
run_guest
show_figures
check_datastore
ask_independent_reader
say "Done in $SECONDS seconds"
