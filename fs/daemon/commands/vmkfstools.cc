#include "fs/daemon/commands/vmkfstools.h"

#include <memory>
#include <string_view>

#include <fmt/format.h>

#include "fs/daemon/commands/command_line.h"

namespace stratad {
namespace {

// An option as the parser fills it.
struct Given {
  VmkOption option;
  CLI::Option* parsed = nullptr;
  std::shared_ptr<std::string> value = std::make_shared<std::string>();
};

std::vector<Given> AddActions(CLI::App& app) {
  std::vector<Given> all;
  CLI::Option_group* group = app.add_option_group("Actions", "One of them");
  for (const VmkOption& option : VmkOptions()) {
    Given given{.option = option};
    given.parsed = option.value_name == nullptr
                       ? group->add_flag(option.names, option.help)
                       : group->add_option(option.names, *given.value, option.help)
                             ->type_name(option.value_name);
    all.push_back(std::move(given));
  }
  group->require_option(1);
  return all;
}

// An option that only changes what another one does.
struct Modifier {
  char letter;
  CLI::Option* parsed;
};

std::vector<Modifier> AddModifiers(CLI::App& app, VmkArguments& arguments) {
  std::vector<Modifier> all;
  all.push_back(
      {'d', app.add_option("-d,--diskformat", arguments.format,
                           "thin, zeroedthick, eagerzeroedthick, 2gbsparse, sesparse, …")});
  all.push_back({'a', app.add_option("-a,--adaptertype", arguments.adapter,
                                     "The adapter that the descriptor names")
                          ->check(CLI::IsMember(
                              {"ide", "buslogic", "lsilogic", "legacyESX", "lsisas", "pvscsi"}))});
  all.push_back({'S', app.add_option("-S,--setfsname", arguments.label, "The new volume's label")});
  all.push_back({'v', app.add_option("-v,--verbose", arguments.verbosity,
                                     "10 prints the content ids that differ")});
  all.push_back(
      {'h', app.add_flag("-h,--humanreadable", arguments.human_readable, "Sizes for people")});
  app.add_option("paths", arguments.paths, "Disk, or folder of a mounted volume, or device")
      ->type_name("PATH...");
  return all;
}

// What does not fit the option that says what to do; empty: nothing.
std::string FindMisuse(const VmkOption& option, const std::vector<Modifier>& modifiers,
                       const VmkArguments& arguments) {
  for (const Modifier& modifier : modifiers) {
    const bool fits =
        std::string_view(option.modifiers).find(modifier.letter) != std::string_view::npos;
    if (modifier.parsed->count() > 0 && !fits) {
      return fmt::format("-{} means nothing with {}", modifier.letter, option.names);
    }
  }
  if (arguments.paths.size() == option.path_count) return {};
  return fmt::format("{}: {} path{} wanted, {} given", option.names, option.path_count,
                     option.path_count == 1 ? "" : "s", arguments.paths.size());
}

int RunChosen(const std::vector<Given>& all, const std::vector<Modifier>& modifiers,
              VmkArguments& arguments) {
  for (const Given& given : all) {
    if (given.parsed->count() == 0) continue;
    arguments.value = *given.value;
    const std::string misuse = FindMisuse(given.option, modifiers, arguments);
    if (misuse.empty()) return given.option.run(arguments);
    fmt::print(stderr, "vmkfstools: {}\n", misuse);
    return kExitUsage;
  }
  return kExitUsage;
}

}  // namespace

int VmkFail(const std::string& what, const base::Error& error) {
  fmt::print(stderr, "Failed to {}: {} ({}).\n", what, error.message(), error.errno_value());
  return kExitFailed;
}

bool IsVmkfstools(const char* program) {
  const std::string_view path(program);
  return path.substr(path.rfind('/') + 1) == "vmkfstools";
}

int RunVmkfstools(int argument_count, char** arguments) {
  CLI::App app("Virtual disks and volumes, with the options of ESX.", "vmkfstools");
  app.set_help_flag("--help", "Print this and exit");
  app.set_version_flag("--version", std::string("vmkfstools of strata ") + STRATA_VERSION);
  app.footer("Sizes are bytes, or end in k, m, g, t, or s for sectors of 512 bytes.");
  VmkArguments said;
  const std::vector<Given> all = AddActions(app);
  const std::vector<Modifier> modifiers = AddModifiers(app, said);
  try {
    app.parse(argument_count, arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  return RunChosen(all, modifiers, said);
}

}  // namespace stratad
