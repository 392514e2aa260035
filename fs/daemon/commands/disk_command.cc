#include "fs/daemon/commands/disk_command.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "disklib/disk_size.h"

namespace stratad {
struct DiskCommand::State {
  std::string name;
  Json request = Json::object();
  DiskRequestOptions options;
  PrintAnswer print = nullptr;
  ExitCodeOfAnswer exit_code = nullptr;
  bool as_json = false;
  std::vector<std::pair<std::vector<std::string>, std::string>> turns;  // flags and verb
};

DiskCommand::DiskCommand(CommandLine& line, CLI::App* parent, const std::string& name,
                         const std::string& action, const std::string& help)
    : app_(parent->add_subcommand(name, help)), state_(std::make_shared<State>()) {
  state_->name = parent->get_name() == "disk" ? name : parent->get_name() + " " + name;
  state_->request["action"] = action;
  state_->options.title = state_->name;
  Word("path", "disk", kDiskHelp)->required()->type_name("PATH");
  AddDatastoreOptions(app_, state_->options);
  app_->callback([&line, state = state_] { line.exit_code = Run(*state); });
}

void DiskCommand::DiskComesLast() {
  app_->remove_option(app_->get_option("path"));
  Word("path", "disk", kDiskHelp)->required()->type_name("PATH");
}

CLI::Option* DiskCommand::Word(const std::string& name, const char* key, const std::string& help) {
  const auto store = [state = state_, key](const std::string& word) { state->request[key] = word; };
  return app_->add_option_function<std::string>(name, store, help);
}

void DiskCommand::OneOf(const std::string& name, const char* key,
                        const std::vector<std::string>& words, const std::string& help) {
  Word(name, key, help)->check(CLI::IsMember(words));
}

CLI::Option* DiskCommand::Size(const std::string& name, const char* key, const std::string& help) {
  const auto store = [state = state_, key](const std::string& text) {
    state->request[key] = disklib::ParseDiskSize(text).value();
  };
  // A size that makes no sense is a mistake of the command line.
  const auto check = [](const std::string& text) {
    const base::Result<uint64_t> size = disklib::ParseDiskSize(text);
    return size ? std::string() : size.error().message();
  };
  return app_->add_option_function<std::string>(name, store, help)->type_name("SIZE")->check(check);
}

CLI::Option* DiskCommand::Flag(const std::string& name, const char* key, const std::string& help) {
  return app_->add_flag_callback(
      name, [state = state_, key] { state->request[key] = true; }, help);
}

CLI::Option* DiskCommand::List(const std::string& name, const char* key, const std::string& help) {
  const auto store = [state = state_, key](const std::vector<std::string>& words) {
    state->request[key] = words;
  };
  return app_->add_option_function<std::vector<std::string>>(name, store, help);
}

void DiskCommand::Prints(PrintAnswer print, ExitCodeOfAnswer exit_code) {
  state_->print = print;
  state_->exit_code = exit_code;
  app_->add_flag("--json", state_->as_json, "For programs");
}

void DiskCommand::TurnsInto(const std::string& action, std::vector<std::string> keys) {
  state_->turns.emplace_back(std::move(keys), action);
}

// A flag that is set, or a word.
static bool IsGiven(const Json& request, const char* key) {
  return FlagOf(request, key) || StringOf(request, key).has_value();
}

int DiskCommand::Run(State& state) {
  for (const auto& [keys, action] : state.turns) {
    const bool applies = std::ranges::all_of(
        keys, [&state](const std::string& key) { return IsGiven(state.request, key.c_str()); });
    if (applies) state.request["action"] = action;
  }
  base::Result<Json> answer = RunDiskRequest(state.request, state.options);
  if (!answer) return PrintError("disk " + state.name, answer.error());
  answer->erase("ok");
  if (state.as_json) {
    fmt::print("{}\n", ToPrettyText(*answer));
  } else if (state.print != nullptr) {
    state.print(*answer);
  }
  return state.exit_code == nullptr ? kExitOk : state.exit_code(*answer);
}

void AddDatastoreOptions(CLI::App* app, DiskRequestOptions& options) {
  app->add_option("--datastore", options.datastore,
                  "Host folders: names in descriptors resolve inside this folder")
      ->type_name("FOLDER");
  app->add_flag("--allow-outside", options.allow_outside,
                "Host folders: descriptors may name device nodes");
}

std::vector<std::string> DiskFormatWords() {
  return {"thin",           "zeroedthick",          "eagerzeroedthick",
          "seSparse",       "vmfsSparse",           "monolithicSparse",
          "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"};
}

}  // namespace stratad
