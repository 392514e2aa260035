#!/bin/bash
# Boots the guest of prepare.sh off a raw disk (a file or a virtual disk of a Strata mount) and shows its console.
#
#   boot.sh GUEST_FOLDER PHASE [DISK]
#
# PHASE is write, verify, change or probe (which needs no disk); init.sh says what each does. The exit code is 0 when the guest
# reported success, 1 when it did not, 124 when it took too long. Set in the environment:
#
#   GUEST_ACCEL=kvm|tcg     how to run the guest; without it choose_accel.sh decides
#   GUEST_SECONDS=N         time limit, 120 without it
#   GUEST_FILES=N           number of files the write phase makes
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [[ $# -lt 2 || $# -gt 3 ]]; then
  sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit 2
fi
guest=$1 phase=$2 disk=${3:-}
accel=${GUEST_ACCEL:-$("$here/choose_accel.sh" "$guest")}
limit=${GUEST_SECONDS:-120}
console=$(mktemp "$guest/console.XXXXXX")
qemu_pid=

# shellcheck disable=SC2317  # called by the trap
clean_up() {
  if [[ -n "$qemu_pid" ]]; then
    kill "$qemu_pid" 2>/dev/null || true
  fi
  rm -f "$console"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

case $accel in
  kvm) cpu=host ;;
  *) cpu=max ;;
esac

arguments=(
  -accel "$accel" -cpu "$cpu" -m 512 -nodefaults -no-user-config -no-reboot -display none -serial stdio
  -kernel "$guest/vmlinuz" -initrd "$guest/initrd.gz"
  -append "console=ttyS0 quiet panic=-1 phase=$phase files=${GUEST_FILES:-66}"
)
if [[ -n "$disk" ]]; then
  arguments+=(
    -drive "file=$disk,if=none,id=disk0,format=raw,cache=none,aio=io_uring,discard=unmap"
    -device "virtio-blk-pci,drive=disk0"
  )
fi

# timeout waits for QEMU, ends it after the limit, and passes on a signal that ends this script.
timeout --foreground -k 3 "$limit" qemu-system-x86_64 "${arguments[@]}" </dev/null \
  > >(sed -u 's/\r$//' | tee "$console") &
qemu_pid=$!
code=0
wait "$qemu_pid" || code=$?
qemu_pid=

# The console's last line may still be on its way through the pipe.
for _ in 1 2 3 4 5 6 7 8 9 10; do
  if grep -q '^GUEST-RESULT: ' "$console"; then
    break
  fi
  sleep 0.1
done
if grep -q '^GUEST-RESULT: ok ' "$console"; then
  exit 0
fi
if [[ "$code" -eq 124 || "$code" -eq 137 ]]; then
  echo "boot.sh: the guest did not finish within $limit s" >&2
  exit 124
fi
echo "boot.sh: the guest did not report success (QEMU exit code $code)" >&2
exit 1
