#!/bin/bash
# Prepares a small Linux guest: a Debian cloud kernel and an initramfs with busybox, the virtio block driver and init.sh.
#
#   prepare.sh FOLDER
#
# Downloads Debian packages into FOLDER once and unpacks them there; nothing is installed. With FOLDER filled it needs no
# network. The result is FOLDER/vmlinuz and FOLDER/initrd.gz, which boot.sh starts.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [[ $# -ne 1 || "$1" == -* ]]; then
  sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit 2
fi
mkdir -p "$1"
folder=$(cd "$1" && pwd)

# The modules of virtio-blk, in the order in which they load: no depmod, no modprobe.
modules=(virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk)

# The cloud kernel's package is a name which depends on the versioned image.
kernel_package() {
  apt-cache depends linux-image-cloud-amd64 2>/dev/null |
    awk '/Depends: linux-image-[0-9]/ { print $2; exit }'
}

download() {
  local options=()
  if [[ "$(id -u)" -eq 0 ]]; then
    options=(-o APT::Sandbox::User=root)
  fi
  (cd "$folder" && apt-get "${options[@]}" -qq download "$@")
}

download_packages() {
  local kernel
  kernel=$(kernel_package)
  [[ -n "$kernel" ]] || return 1
  echo "downloading $kernel and busybox-static"
  download "$kernel" busybox-static
}

# Package lists that are missing or out of date are the usual reason for a failed download.
refresh_package_lists() {
  if [[ "$(id -u)" -eq 0 ]]; then
    apt-get update -qq
  else
    sudo apt-get update -qq
  fi
}

unpack_packages() {
  if ! download_packages; then
    refresh_package_lists
    download_packages || { echo "prepare.sh: the guest's packages cannot be downloaded" >&2; exit 1; }
  fi
  rm -rf "$folder/unpacked.part" "$folder/unpacked"
  local package
  for package in "$folder"/*.deb; do
    dpkg -x "$package" "$folder/unpacked.part"
  done
  rm -f "$folder"/*.deb
  mv "$folder/unpacked.part" "$folder/unpacked"
}

# Lays out the initramfs: /init, busybox, and the modules in a file that lists them in load order.
lay_out_root() {
  local root=$1 module found
  mkdir -p "$root"/{bin,dev,proc,sys,tmp,disk,modules}
  cp "$folder/unpacked/bin/busybox" "$root/bin/busybox"
  cp "$here/init.sh" "$root/init"
  chmod 755 "$root/init" "$root/bin/busybox"
  for module in "${modules[@]}"; do
    found=$(find "$folder/unpacked/lib/modules" -name "$module.ko" -print -quit)
    if [[ -z "$found" ]]; then
      echo "prepare.sh: the kernel package has no module $module" >&2
      exit 1
    fi
    cp "$found" "$root/modules/"
    echo "$module" >>"$root/modules/order"
  done
}

build_initramfs() {
  local root
  root=$(mktemp -d "$folder/root.XXXXXX")
  # shellcheck disable=SC2064  # the folder of now, not of later
  trap "rm -rf '$root'" EXIT
  lay_out_root "$root"
  (cd "$root" && find . | "$root/bin/busybox" cpio -o -H newc 2>/dev/null | gzip -1) >"$folder/initrd.part"
  mv "$folder/initrd.part" "$folder/initrd.gz"
}

if [[ ! -d "$folder/unpacked" ]]; then
  unpack_packages
fi
if [[ ! -f "$folder/vmlinuz" ]]; then
  cp "$folder"/unpacked/boot/vmlinuz-* "$folder/vmlinuz"
fi
# init.sh belongs to the source tree and may have changed: the initramfs is built each time.
build_initramfs
echo "guest ready: $(basename "$(echo "$folder"/unpacked/boot/vmlinuz-*)"), initramfs $(stat -c %s "$folder/initrd.gz") bytes"
