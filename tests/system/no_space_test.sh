#!/bin/bash
# A full volume says so, loses nothing, and goes on when something was deleted.
#
#   no_space_test.sh STRATA_BINARY
#
# Under writeback caching write() succeeds and close() or fsync() brings the error, so the test looks at the fsync of dd.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/mount.sh
source "$here/../support/mount.sh"

use_strata "${1:-}"

write_file() {
  dd if=/dev/urandom of="$1" bs=1M count="$2" conv=fsync 2>"$work/dd.log"
}

# Writes files of 16 MiB until one does not fit, and keeps the sums of those that did.
fill_up() {
  local number
  for number in $(seq 1 100); do
    write_file "$folder/file-$number" 16 || return 0
    (cd "$folder" && sha256sum "file-$number") >>"$work/sums"
  done
  fail "1600 MiB fit on a volume of 512 MiB"
}

format_and_mount 512M
folder=$mount_point/volumes/test
echo "kept" >"$folder/small"
fill_up
grep -q "No space left" "$work/dd.log" || fail "another error than 'No space left on device': $(cat "$work/dd.log")"
echo "full after $(wc -l <"$work/sums") files"

(cd "$folder" && sha256sum --quiet -c "$work/sums") || fail "a file from before differs"
rm "$folder/file-1" "$folder/file-2"
sed -i '1,2d' "$work/sums"
for name in "$folder"/file-*; do
  grep -q " ${name##*/}\$" "$work/sums" || rm "$name"
done
write_file "$folder/again" 24 || fail "no room after 32 MiB were freed: $(cat "$work/dd.log")"
(cd "$folder" && sha256sum again) >>"$work/sums"

unmount
check_volume || fail "the check"
"$strata" mount "$image" "$mount_point"
(cd "$folder" && sha256sum --quiet -c "$work/sums") || fail "a file differs after a remount"
[[ "$(cat "$folder/small")" == kept ]] || fail "the small file differs"
unmount
echo "PASS"
