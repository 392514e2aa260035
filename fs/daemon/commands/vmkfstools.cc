#include "fs/daemon/commands/vmkfstools.h"

#include <memory>
#include <string_view>
#include <utility>

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
  std::vector<VmkOption> options = VmkOptions();
  for (const VmkOption& option : VmkPlaceOptions()) options.push_back(option);
  std::vector<Given> all;
  for (const VmkOption& option : options) {
    Given given{.option = option};
    given.parsed =
        option.value_name == nullptr
            ? app.add_flag(option.names, option.help)
            : app.add_option(option.names, *given.value, option.help)->type_name(option.value_name);
    given.parsed->group("Actions, one at a time");
    all.push_back(std::move(given));
  }
  return all;
}

// Known, so that a script is told why; help lists them apart.
std::vector<std::pair<VmkRefusal, CLI::Option*>> AddRefusals(CLI::App& app) {
  std::vector<std::pair<VmkRefusal, CLI::Option*>> all;
  for (const VmkRefusal& refusal : VmkRefusals()) {
    const auto ignore = [](const std::string&) {};  // the option is refused whatever it says
    CLI::Option* const parsed =
        refusal.value_name == nullptr
            ? app.add_flag(refusal.names, refusal.reason)
            : app.add_option_function<std::string>(refusal.names, ignore, refusal.reason)
                  ->type_name(refusal.value_name);
    all.emplace_back(refusal, parsed->group("Not done here"));
  }
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
  all.push_back({'W', app.add_option("-W", arguments.object_type,
                                     "What a new disk is made of: file, nothing else")
                          ->type_name("TYPE")});
  all.push_back({'N', app.add_flag("-N,--avoidnativeclone", arguments.avoids_native_clone,
                                   "Copy here, nothing from file to file in the kernel")});
  all.push_back({'b', app.add_option("-b,--blocksize", arguments.block_size,
                                     "Of the new volume: 1m, nothing else")
                          ->type_name("SIZE")});
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

int Misused(const std::string& problem) {
  fmt::print(stderr, "vmkfstools: {}\n", problem);
  return kExitUsage;
}

int RunChosen(const std::vector<Given>& all, const std::vector<Modifier>& modifiers,
              VmkArguments& arguments) {
  const Given* chosen = nullptr;
  for (const Given& given : all) {
    if (given.parsed->count() == 0) continue;
    if (chosen != nullptr) {
      return Misused(
          fmt::format("{} or {}: one at a time", chosen->option.names, given.option.names));
    }
    chosen = &given;
  }
  if (chosen == nullptr) return Misused("nothing is said to do; see --help");
  arguments.value = *chosen->value;
  const std::string misuse = FindMisuse(chosen->option, modifiers, arguments);
  return misuse.empty() ? chosen->option.run(arguments) : Misused(misuse);
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
  const auto refusals = AddRefusals(app);
  try {
    app.parse(argument_count, arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  for (const auto& [refusal, parsed] : refusals) {
    if (parsed->count() == 0) continue;
    return VmkFail(refusal.what, base::Error(base::Code::kUnsupported, refusal.reason));
  }
  return RunChosen(all, modifiers, said);
}

}  // namespace stratad
