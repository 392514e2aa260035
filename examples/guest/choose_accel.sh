#!/bin/bash
# Prints kvm when a guest really boots under KVM on this host, else tcg.
#
#   choose_accel.sh GUEST_FOLDER
#
# /dev/kvm alone proves nothing: on some hosts a guest hangs under it without an error. So the first call boots the guest's
# probe phase for 10 seconds at most, and keeps the answer in GUEST_FOLDER for this host's kernel.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
guest=${1:?usage: choose_accel.sh GUEST_FOLDER}
answer=$guest/accel-$(uname -r)

if [[ ! -f "$answer" ]]; then
  accel=tcg
  if [[ -r /dev/kvm && -w /dev/kvm ]]; then
    echo "does a guest boot under KVM here? trying for 10 s" >&2
    if GUEST_ACCEL=kvm GUEST_SECONDS=10 "$here/boot.sh" "$guest" probe >/dev/null 2>&1; then
      accel=kvm
    fi
  fi
  echo "$accel" >"$answer"
  echo "guests run under $accel" >&2
fi
cat "$answer"
