// The program `strata`: one subcommand per task; `strata --help` lists them.
//
// Exit codes: 0 done, 1 failed, 2 the command line makes no sense, 4 fsck found problems.
#include "fs/daemon/commands/command_line.h"

int main(int argument_count, char** arguments) {
  stratad::CommandLine line("The ESX storage stack for Linux: VMFS-6 volumes and virtual disks.");
  line.app.require_subcommand(1);
  line.app.set_version_flag("--version", std::string("strata ") + STRATA_VERSION);
  stratad::AddMkfsCommand(line);
  stratad::AddMountCommands(line);
  stratad::AddStatusCommand(line);
  stratad::AddFileCommands(line);
  stratad::AddDiskCommands(line);
  stratad::AddFsckCommand(line);
  stratad::AddVolumeCommands(line);
  stratad::AddDumpCommand(line);
  try {
    line.app.parse(argument_count, arguments);
  } catch (const CLI::ParseError& error) {
    return line.app.exit(error) == 0 ? stratad::kExitOk : stratad::kExitUsage;
  }
  return line.exit_code;
}
