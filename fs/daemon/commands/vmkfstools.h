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
  std::string label;  // -S
  std::string value;  // of the option that says what to do
  int verbosity = 0;
  bool human_readable = false;
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

// All of them, for the parser.
std::vector<VmkOption> VmkOptions();

// "Failed to WHAT: MESSAGE (ERRNO)." on standard error; answers kExitFailed.
int VmkFail(const std::string& what, const base::Error& error);

// What -P prints of the volume that `path` lies on. In vmkfstools_query.cc.
int PrintFileSystem(const std::string& path, bool human_readable);

// Whether the program was called by this name, and its run.
bool IsVmkfstools(const char* program);
int RunVmkfstools(int argument_count, char** arguments);

// The other name's commands, as if typed: {"mkfs", "--label", …}. In strata.cc.
int RunStrata(std::vector<std::string> words);

}  // namespace stratad
