// `DiskCommand`: one subcommand of `strata disk`. Its options fill a request; its answer is
// printed.
//
// The parser stores each option as a member of the request, so that a verb of the daemon needs
// no second list of its arguments here. Thread rule: the main thread. Place in the stack: shared by
// the files of the disk commands.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fs/daemon/commands/command_line.h"
#include "fs/daemon/commands/disk_request.h"
#include "fs/daemon/json.h"

namespace stratad {

// Prints an answer for people.
using PrintAnswer = void (*)(const Json& answer);

// What an answer means for scripts.
using ExitCodeOfAnswer = int (*)(const Json& answer);

class DiskCommand {
 public:
  // `action` is the verb of the request (`fs/daemon/disk_actions.h`). The first word behind the
  // subcommand is the disk.
  DiskCommand(CommandLine& line, CLI::App* parent, const std::string& name,
              const std::string& action, const std::string& help);

  CLI::App* app() { return app_; }

  // The disk is named behind the words added so far, as the target of a copy is.
  void DiskComesLast();

  // A further word, or one an option takes, stored under `key`.
  CLI::Option* Word(const std::string& name, const char* key, const std::string& help);

  // The same, of a fixed set.
  void OneOf(const std::string& name, const char* key, const std::vector<std::string>& words,
             const std::string& help);

  // "10G" in bytes.
  CLI::Option* Size(const std::string& name, const char* key, const std::string& help);

  CLI::Option* Flag(const std::string& name, const char* key, const std::string& help);

  // An option that may be given several times; stored as a list.
  CLI::Option* List(const std::string& name, const char* key, const std::string& help);

  // What is printed on success; without it nothing. Adds --json.
  void Prints(PrintAnswer print, ExitCodeOfAnswer exit_code = nullptr);

  // When all of `keys`, flags or words, are given, the verb is `action` instead; the last such call
  // wins.
  void TurnsInto(const std::string& action, std::vector<std::string> keys);

 private:
  struct State;

  static int Run(State& state);

  CLI::App* app_;
  std::shared_ptr<State> state_;
};

// Those of `strata disk`, each in its file.
void AddDiskBasics(CommandLine& line, CLI::App* disk);
void AddDiskCopies(CommandLine& line, CLI::App* disk);
void AddDiskSnapshots(CommandLine& line, CLI::App* disk);
void AddDiskChecks(CommandLine& line, CLI::App* disk);
void AddDiskMap(CommandLine& line, CLI::App* disk);

// What every disk command says of its first word.
inline constexpr const char* kDiskHelp =
    "The descriptor: a path on a mount or in a host folder, or TARGET:/PATH on an unmounted volume";

// The options of every disk command that say how names are resolved. `options` outlives `app`.
void AddDatastoreOptions(CLI::App* app, DiskRequestOptions& options);

// The words of --format: ways to take space, then createTypes.
std::vector<std::string> DiskFormatWords();

}  // namespace stratad
