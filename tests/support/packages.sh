# shellcheck shell=bash
# The Debian 12 packages Strata needs, one list per purpose, and a function that installs what is missing.
# Scripts source this file; sourcing it changes nothing on the machine.

packages_build=(
  cmake ninja-build g++ pkg-config
  liburing-dev libfuse3-dev fuse3 libspdlog-dev libfmt-dev libcli11-dev nlohmann-json3-dev libssl-dev
  libarchive-dev libpugixml-dev zlib1g-dev
)

# The guest's own kernel and busybox are unpacked by examples/guest/prepare.sh and never installed.
packages_guest=(qemu-system-x86)

# shellcheck disable=SC2034  # the scripts which source this file use the lists
packages_quickstart=("${packages_build[@]}" "${packages_guest[@]}" vmfs6-tools)

# shellcheck disable=SC2034
packages_test=(
  "${packages_build[@]}" "${packages_guest[@]}"
  libgtest-dev librapidcheck-dev
  vmfs6-tools vmfs-tools libvmdk-utils python3-libvmdk qemu-utils
  fio bonnie++ dbench stress-ng git python3 e2fsprogs fdisk util-linux
)

# Prints those of the named packages that are not installed.
missing_packages() {
  local name
  for name in "$@"; do
    [[ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" == installed ]] || echo "$name"
  done
}

# Runs a command as root: directly, or through sudo.
as_root() {
  if [[ "$(id -u)" -eq 0 ]]; then
    "$@"
  else
    sudo "$@"
  fi
}

# Installs those of the named packages that are missing. Leaves apt alone when none is.
install_missing_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  if [[ ${#missing[@]} -eq 0 ]]; then
    return 0
  fi
  echo "installing: ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}
