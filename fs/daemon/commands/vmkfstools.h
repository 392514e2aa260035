// `vmkfstools`: the program's second name, with the options and strings that ESX scripts know.
//
// Every option becomes a request of `strata disk` (or one of its other commands); only the words in
// and out differ. Thread rule: the main thread. Place in the stack: the program.
#pragma once

#include <string>
#include <vector>

#include "fs/base/result.h"
#include "fs/daemon/json.h"

namespace stratad {

// What a command line of vmkfstools says.
struct VmkArguments {
  std::vector<std::string> paths;  // the words behind the options
  std::string format;              // -d
  std::string adapter = "lsilogic";
  std::string label;        // -S
  std::string block_size;   // -b
  std::string object_type;  // -W
  std::string value;        // of the option that says what to do
  int verbosity = 0;
  bool human_readable = false;
  bool avoids_native_clone = false;  // -N
};

using VmkAction = int (*)(const VmkArguments& arguments);

// One option that says what to do.
struct VmkOption {
  const char* names;       // "-c,--createvirtualdisk"
  const char* value_name;  // of the value it takes; null: a flag
  size_t path_count;       // words it wants behind the options
  const char* modifiers;   // letters of the other options it listens to: "da"
  VmkAction run;
  const char* help;
};

// All that are done here, for the parser: each list in its file.
std::vector<VmkOption> VmkOptions();       // make, copy, change, check, delete disks; volumes
std::vector<VmkOption> VmkPlaceOptions();  // -t -Q -D --activehosts

// One that ESX has and that is not done here.
struct VmkRefusal {
  const char* names;
  const char* value_name;  // of the value it takes; null: a flag
  const char* what;        // "break lock"
  const char* reason;      // why not, and what to use in its place
};

std::vector<VmkRefusal> VmkRefusals();

// "Failed to WHAT: MESSAGE (ERRNO)." on standard error; answers kExitFailed.
int VmkFail(const std::string& what, const base::Error& error);

// -D and --activehosts. In vmkfstools_lock.cc.
int ShowLock(const VmkArguments& arguments);
int ShowActiveHosts(const VmkArguments& arguments);

// What -P prints of the volume that `path` lies on. In vmkfstools_query.cc.
int PrintFileSystem(const std::string& path, bool human_readable);

// Whether the program was called by this name, and its run.
bool IsVmkfstools(const char* program);
int RunVmkfstools(int argument_count, char** arguments);

// The other name's commands, as if typed: {"mkfs", "--label", …}. In strata.cc.
int RunStrata(std::vector<std::string> words);

}  // namespace stratad
