#!/bin/bash
# bonnie++ on the mount: sequential and random I/O, then thousands of small files made, found and removed; in turn buffered,
# with a flush after every write, and direct.
#
#   load_bonnie.sh STRATA_BINARY [SECONDS]
set -euo pipefail
# shellcheck source=tests/system/load_volume.sh
source "$(dirname "${BASH_SOURCE[0]}")/load_volume.sh"

require_program bonnie++
begin_load "${1:-}" 2G "${2:-20}"

# Two file sizes around the limits of the map kinds, so that every kind is made and removed.
one_round() {
  local user
  user=$(id -un)
  passes bonnie++ -q -d "$load_folder" -u "$user" -s 128 -r 64 -n 1:9000:0:4
  ! has_time || passes bonnie++ -q -d "$load_folder" -u "$user" -s 64 -r 32 -f -b -n 0
  ! has_time || passes bonnie++ -q -d "$load_folder" -u "$user" -s 96 -r 48 -f -D -n 1:300000:3000:2
}

until_late one_round
end_load
