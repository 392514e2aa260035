// The verbs of `strata disk`, from JSON to disklib and back: one function per verb, one table.
//
// A request is {"action": VERB, "disk": PATH, …}; paths start at the volume's root. What each verb
// takes and answers stands in fs/README.md, "Disk requests". Thread rule: the executor of the Lib.
// Place in the stack: between the control socket (or a program that opened the volume itself) and
// disklib.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "disklib/disk_info.h"
#include "disklib/lib.h"
#include "disklib/new_disk.h"
#include "disklib/new_extents.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "fs/daemon/json.h"

namespace stratad {

// The members of a request that are paths: whoever passes a request on translates all of them.
inline constexpr std::array<const char*, 4> kDiskPathKeys = {"disk", "to", "parent", "other"};

// Whether a verb leaves the volume as it is, so that a read-only one serves.
bool DiskActionOnlyReads(const Json& request);

// What a verb works on. All of it outlives the call.
struct DiskCall {
  disklib::Lib& lib;
  disklib::Lib& other_lib;  // of "to" and "other": another volume's, or the same
  Json& request;
  disklib::Progress* progress;  // may be null
};

// Runs a request. Errors: kInvalidArgument for a request without sense, kBusy naming the holder,
// kInterrupted (stopped by `progress`), kCrossDevice (two volumes, and the verb works on one),
// those of the operation.
base::Task<base::Result<Json>> RunDiskAction(DiskCall& call);

// --- for the verbs' files

using DiskAction = base::Task<base::Result<Json>> (*)(DiskCall& call);

struct DiskVerb {
  std::string_view name;
  DiskAction run;
  bool only_reads = false;
  bool crosses_volumes = false;
};

std::span<const DiskVerb> CheckVerbs();     // check and repair, of disks and folders
std::span<const DiskVerb> SnapshotVerbs();  // snapshot-create, consolidate, …
std::span<const DiskVerb> CopyVerbs();      // clone, compare, hash, punch, …
std::span<const DiskVerb> DeviceVerbs();    // create-rdm, clone-rdm
std::span<const DiskVerb> MapVerbs();       // map

base::Error Senseless(const std::string& text);

// A path member without its leading '/'. Errors: kInvalidArgument when it is not there.
base::Result<std::string> PathIn(const Json& request, const char* key);

// What "format" and "layout" ask for. A format is a way to take space ("thin") or a createType.
struct WantedFormat {
  disklib::DiskLayout layout = disklib::DiskLayout::kVmfs;
  std::optional<disklib::Provisioning> provisioning;
};

// Errors: kInvalidArgument for an unknown word.
base::Result<WantedFormat> FormatIn(const Json& request);

}  // namespace stratad
