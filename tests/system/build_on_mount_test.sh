#!/bin/bash
# This project is cloned onto a mounted volume and built there: thousands of small files, renames, mmap by the linker.
#
#   build_on_mount_test.sh STRATA_BINARY
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/support/mount.sh
source "$here/../support/mount.sh"

require_program git
use_strata "${1:-}"
[[ -e "$root/.git" ]] || skip "the source is no git repository"

format_and_mount 4G
clone=$mount_point/volumes/test/strata
git -c safe.directory='*' clone -q --no-local "$root" "$clone"
git -C "$clone" fsck --strict
cmake -S "$clone" -B "$clone/build" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DSTRATA_TESTS=OFF >"$work/build.log"
CCACHE_DISABLE=1 cmake --build "$clone/build" --target strata --parallel 2 >>"$work/build.log" 2>&1 ||
  { tail -n 40 "$work/build.log" >&2; fail "the build on the mount"; }
"$clone/build/strata" --help >/dev/null || fail "the program built on the mount does not run"
sum=$(sha256sum <"$clone/build/strata")

# A clean tree again after a remount: nothing changed behind git's back, and ninja has nothing to do.
unmount
check_volume || fail "the check"
"$strata" mount "$image" "$mount_point"
[[ "$(sha256sum <"$clone/build/strata")" == "$sum" ]] || fail "the program differs after a remount"
[[ -z "$(git -C "$clone" status --porcelain)" ]] || fail "git sees changes after a remount"
cmake --build "$clone/build" --target strata | grep -q "no work to do" || fail "ninja builds again after a remount"
unmount
echo "PASS"
