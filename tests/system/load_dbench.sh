#!/bin/bash
# dbench on the mount: several clients that play a file server's day, then the same with every write synchronous.
#
#   load_dbench.sh STRATA_BINARY [SECONDS]
set -euo pipefail
# shellcheck source=tests/system/load_volume.sh
source "$(dirname "${BASH_SOURCE[0]}")/load_volume.sh"

require_program dbench
begin_load "${1:-}" 4G "${2:-20}"

passes dbench -D "$load_folder" -t $((seconds * 2 / 3)) 6
grep Throughput "$work/load.log"
passes dbench -D "$load_folder" -s -S -t $((seconds / 3)) 3
grep Throughput "$work/load.log"
end_load
