// What the commands of `strata` share: the option parser and how results are printed.
//
// The only place that names CLI11. Each file of this folder adds one group of subcommands; a
// subcommand stores its exit code in `CommandLine::exit_code` from its callback.
// Thread rule: the main thread. Place in the stack: the program.
#pragma once

#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

#include "fs/base/result.h"
#include "fs/daemon/json.h"

namespace stratad {

// Exit codes of the program.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitRepaired = 3;  // fsck found problems, and none is left
inline constexpr int kExitProblems = 4;  // fsck found some

struct CommandLine {
  explicit CommandLine(const std::string& description) : app(description, "strata") {}

  CLI::App app;
  int exit_code = kExitOk;
};

void AddDiskCommands(CommandLine& line);
void AddDumpCommand(CommandLine& line);
void AddExportCommand(CommandLine& line);
void AddFileCommands(CommandLine& line);
void AddFsckCommand(CommandLine& line);
void AddImportCommand(CommandLine& line);
void AddMkfsCommand(CommandLine& line);
void AddMountCommands(CommandLine& line);
void AddStatusCommand(CommandLine& line);
void AddVolumeCommands(CommandLine& line);

// "strata WHAT: MESSAGE" on standard error; answers kExitFailed.
int PrintError(std::string_view what, const base::Error& error);

// kExitOk, or the error printed.
int ExitCodeOf(std::string_view what, const base::Status& status);

// "vm/vm.vmdk is open for writing (devices/vdisks)", of an entry of a volume's "open_disks".
std::string DescribeOpenDisk(const Json& disk);

// 1536 -> "1.5 KiB".
std::string FormatBytes(uint64_t bytes);

// 3725 -> "1 h 2 min".
std::string FormatDuration(uint64_t seconds);

}  // namespace stratad
