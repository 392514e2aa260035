// `vmkfstools -t` and `-Q`: where the data of a disk is, and what the disk is to its datastore.
#include <string>

#include <fmt/format.h>

#include "fs/daemon/commands/command_line.h"
#include "fs/daemon/commands/disk_map.h"
#include "fs/daemon/commands/vmkfstools.h"

namespace stratad {
namespace {

void PrintRuns(const Json& part, bool is_first) {
  if (is_first) {
    fmt::print("Mapping of {} bytes:\n", NumberOf(part, "size_bytes").value_or(0));
  }
  for (const Json& run : part.value("runs", Json::array())) {
    fmt::print("[{:>15}:{:>15}] --> [{}]\n", NumberOf(run, "offset_bytes").value_or(0),
               NumberOf(run, "length_bytes").value_or(0), StringOf(run, "state").value_or(""));
  }
}

int ShowMap(const VmkArguments& arguments) {
  if (arguments.value != "0") {
    fmt::print(stderr, "vmkfstools: -t wants 0, the whole disk, not \"{}\"\n", arguments.value);
    return kExitUsage;
  }
  const base::Status shown = VisitMap(arguments.paths[0], {}, PrintRuns);
  return shown ? kExitOk : VmkFail("map virtual disk", shown.error());
}

int ShowObjectType(const VmkArguments& arguments) {
  Json request = Json::object();
  request["action"] = "info";
  request["disk"] = arguments.paths[0];
  const base::Result<Json> info = RunDiskRequest(request);
  if (!info) return VmkFail("query object type", info.error());
  fmt::print("Object type: file\n");
  return kExitOk;
}

}  // namespace

std::vector<VmkOption> VmkPlaceOptions() {
  return {
      {"-t,--mapdisk", "0", 1, "", ShowMap, "Print where a disk has data, zeros and holes"},
      {"-Q,--objecttype", nullptr, 1, "", ShowObjectType, "Print file: every disk is one here"},
      {"-D,--dumpmetadata", nullptr, 1, "", ShowLock, "Print a file's lock and who holds it"},
      {"--activehosts", nullptr, 1, "", ShowActiveHosts, "List the hosts that use a volume"},
  };
}

}  // namespace stratad
