// The program `strata`: one subcommand per task; `strata --help` lists them.
//
// Exit codes: 0 done, 1 failed, 2 the command line makes no sense, 4 fsck found problems.
//
// Called by the name `vmkfstools` it takes the options of that program.
#include <algorithm>

#include <fmt/format.h>

#include "fs/daemon/commands/command_line.h"
#include "fs/daemon/commands/vmkfstools.h"

namespace stratad {
namespace {

// The parser only says that a command is wanted; which word is none says more. Empty: all are.
std::string FindUnknownCommand(CLI::App& app, const std::vector<std::string>& typed) {
  CLI::App* at = &app;
  for (const std::string& word : typed) {
    const auto commands = at->get_subcommands([](CLI::App*) { return true; });
    if (commands.empty() || word.starts_with('-')) return {};
    const auto found = std::find_if(commands.begin(), commands.end(), [&word](const CLI::App* one) {
      return one->get_name() == word;
    });
    if (found == commands.end()) return fmt::format("{}: no command of {}", word, at->get_name());
    at = *found;
  }
  return {};
}

}  // namespace

int RunStrata(std::vector<std::string> words) {
  CommandLine line("The ESX storage stack for Linux: VMFS-6 volumes and virtual disks.");
  line.app.require_subcommand(1);
  line.app.set_version_flag("--version", std::string("strata ") + STRATA_VERSION);
  AddMkfsCommand(line);
  AddMountCommands(line);
  AddStatusCommand(line);
  AddFileCommands(line);
  AddDiskCommands(line);
  AddImportCommand(line);
  AddExportCommand(line);
  AddFsckCommand(line);
  AddVolumeCommands(line);
  AddDumpCommand(line);
  const std::vector<std::string> typed = words;
  try {
    std::reverse(words.begin(), words.end());  // the parser takes them from the back
    line.app.parse(words);
  } catch (const CLI::RequiredError& error) {
    const std::string unknown = FindUnknownCommand(line.app, typed);
    if (unknown.empty()) return line.app.exit(error) == 0 ? kExitOk : kExitUsage;
    fmt::print(stderr, "{}\nRun with --help for more information.\n", unknown);
    return kExitUsage;
  } catch (const CLI::ParseError& error) {
    return line.app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  return line.exit_code;
}

}  // namespace stratad

int main(int argument_count, char** arguments) {
  if (argument_count > 0 && stratad::IsVmkfstools(arguments[0])) {
    return stratad::RunVmkfstools(argument_count, arguments);
  }
  return stratad::RunStrata(std::vector<std::string>(arguments + 1, arguments + argument_count));
}
