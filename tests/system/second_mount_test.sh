#!/bin/bash
# A volume in use is refused at once, by words that name its holder; after a clean unmount it mounts again.
#
#   second_mount_test.sh STRATA_BINARY
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/mount.sh
source "$here/../support/mount.sh"

use_strata "${1:-}"

format_and_mount 512M
mkdir "$work/other"
started=$SECONDS
if "$strata" mount "$image" "$work/other" >"$work/refusal" 2>&1; then
  "$strata" umount "$work/other"
  fail "one volume was mounted twice"
fi
[[ $((SECONDS - started)) -le 5 ]] || fail "the refusal took $((SECONDS - started)) s"
cat "$work/refusal"
grep -Eqi 'in use|held|holder|mounted' "$work/refusal" || fail "the refusal does not say that the volume is in use"
grep -Eq '[0-9]{2,}' "$work/refusal" || fail "the refusal does not name the holder"

echo "still works" >"$mount_point/volumes/test/file"
unmount
"$strata" mount "$image" "$mount_point"
[[ "$(cat "$mount_point/volumes/test/file")" == "still works" ]] || fail "the first mount lost a file"
unmount
echo "PASS"
