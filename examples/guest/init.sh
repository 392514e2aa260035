#!/bin/busybox sh
# shellcheck shell=dash
# The guest's first and only process. The kernel command line says what it does:
#
#   phase=probe    say hello and power off: does a guest boot here at all?
#   phase=write    make a file system on the disk, fill it with files of random data, keep their SHA-256 there
#   phase=verify   mount what the last boot left and compare every file with its SHA-256
#   phase=change   verify, then rewrite a third of the files, remove some and add others; keep the new SHA-256 there
#
# Its last words are one line for scripts: GUEST-RESULT: ok files=N bytes=M seconds=S phase=P
disk=/dev/vda
sums=SHA256SUMS

say() {
  echo "guest: $*"
}

power_off() {
  umount /disk 2>/dev/null
  sync
  poweroff -f
  sleep 60
}

fail() {
  echo "GUEST-RESULT: failed phase=$phase reason: $*"
  power_off
}

succeed() {
  now=$(cut -d' ' -f1 /proc/uptime)
  echo "GUEST-RESULT: ok files=$1 bytes=$2 seconds=$now phase=$phase"
  power_off
}

# Busybox is one program; its links make it the usual commands.
set_up_system() {
  /bin/busybox --install -s /bin
  mount -t proc proc /proc
  mount -t sysfs sys /sys
  mount -t devtmpfs dev /dev
  phase=$(argument phase verify)
}

# Prints the value of a NAME=VALUE word of the kernel command line, or the default.
argument() {
  value=$(tr ' ' '\n' </proc/cmdline | sed -n "s/^$1=//p")
  echo "${value:-$2}"
}

load_disk_driver() {
  while read -r module; do
    insmod "/modules/$module.ko" || fail "module $module does not load"
  done </modules/order
  tries=0
  while [ ! -b "$disk" ]; do
    tries=$((tries + 1))
    [ "$tries" -le 50 ] || fail "no disk appeared"
    usleep 100000
  done
  bytes=$(blockdev --getsize64 "$disk")
  say "disk $disk has $((bytes / 1048576)) MiB"
}

# Writes and reads back past the guest's cache, in 64 KiB requests, and compares.
check_direct_io() {
  dd if=/dev/urandom of=/tmp/direct bs=64k count=64 2>/dev/null
  dd if=/tmp/direct of=/disk/direct.bin bs=64k oflag=direct 2>/dev/null || fail "direct write"
  dd if=/disk/direct.bin of=/tmp/again bs=64k iflag=direct 2>/dev/null || fail "direct read"
  cmp /tmp/direct /tmp/again || fail "direct read differs from direct write"
  say "4 MiB written and read back with O_DIRECT in 64 KiB requests: equal"
}

# File number n has 4 KiB to 4 MiB, and n bytes more so that most end inside a block.
write_files() {
  count=$1
  mkdir -p /disk/files
  n=0
  while [ "$n" -lt "$count" ]; do
    size=$((4096 * (1 << (n % 11)) + n))
    head -c "$size" /dev/urandom >"/disk/files/random-$n.bin" || fail "file $n"
    n=$((n + 1))
  done
}

write_phase() {
  say "making a file system"
  mke2fs -L guest "$disk" >/dev/null 2>&1 || fail "mke2fs"
  mount -t ext4 "$disk" /disk 2>/dev/null || mount -t ext2 "$disk" /disk || fail "mount"
  check_direct_io
  count=$(argument files 66)
  say "writing $count files of random data"
  write_files "$count"
  cd /disk || fail "cd"
  sha256sum direct.bin files/* >"$sums" || fail "sums"
  sync
  report_files
}

change_phase() {
  compare_files
  rm -f files/random-2.bin files/random-9.bin
  n=0
  for file in files/*; do
    n=$((n + 1))
    [ $((n % 3)) -ne 0 ] || dd if=/dev/urandom of="$file" bs=4k count=9 conv=notrunc 2>/dev/null || fail "rewrite"
  done
  n=0
  while [ "$n" -lt 12 ]; do
    head -c "$((70000 * (n + 1) + n))" /dev/urandom >"files/added-$(date +%s)-$n.bin" || fail "add"
    n=$((n + 1))
  done
  sha256sum direct.bin files/* >"$sums" || fail "sums"
  sync
  report_files
}

verify_phase() {
  compare_files
  report_files
}

compare_files() {
  say "mounting what the last boot left"
  mount -t ext4 "$disk" /disk 2>/dev/null || mount -t ext2 "$disk" /disk || fail "mount"
  cd /disk || fail "cd"
  say "comparing $(wc -l <"$sums") files with their SHA-256"
  sha256sum -c "$sums" >/tmp/compared 2>&1 || fail "$(grep -v ': OK$' /tmp/compared | head -n 3)"
  dd if=direct.bin bs=64k iflag=direct 2>/dev/null | cmp - direct.bin || fail "direct read differs"
}

report_files() {
  files=$(wc -l <"$sums")
  bytes=0
  while read -r _ name; do
    bytes=$((bytes + $(stat -c %s "$name")))
  done <"$sums"
  cd /
  succeed "$files" "$bytes"
}

/bin/busybox mkdir -p /bin /proc /sys /dev
set_up_system
say "Linux $(uname -r), phase $phase"
case $phase in
  probe) succeed 0 0 ;;
  write) load_disk_driver && write_phase ;;
  verify) load_disk_driver && verify_phase ;;
  change) load_disk_driver && change_phase ;;
  *) fail "no such phase" ;;
esac
