#include "fs/daemon/commands/disk_map.h"

#include <memory>

#include <fmt/format.h>

#include "fs/daemon/commands/disk_command.h"

namespace stratad {
namespace {

struct MapArguments {
  std::string disk;
  DiskRequestOptions options{.datastore = {}, .title = "map"};
  bool as_json = false;
};

void PrintRuns(const Json& part, bool is_first) {
  if (is_first) fmt::print("{:>16} {:>16}  state\n", "offset, bytes", "length, bytes");
  for (const Json& run : part.value("runs", Json::array())) {
    fmt::print("{:>16} {:>16}  {}\n", NumberOf(run, "offset_bytes").value_or(0),
               NumberOf(run, "length_bytes").value_or(0), StringOf(run, "state").value_or(""));
  }
}

// One document, however many parts: a map may be longer than memory.
void PrintJson(const Json& part, bool is_first) {
  if (is_first) {
    fmt::print("{{\n  \"size_bytes\": {},\n  \"runs\": [", part.at("size_bytes").dump());
  }
  for (const Json& run : part.value("runs", Json::array())) {
    fmt::print("{}\n    {}", is_first ? "" : ",", run.dump());
    is_first = false;
  }
  if (!part.contains("next_offset_bytes")) fmt::print("\n  ]\n}}\n");
}

}  // namespace

base::Status VisitMap(const std::string& disk, const DiskRequestOptions& options,
                      VisitMapPart visit) {
  Json request = Json::object();
  request["action"] = "map";
  request["disk"] = disk;
  for (bool is_first = true;; is_first = false) {
    TRY(const Json part, RunDiskRequest(request, options));
    visit(part, is_first);
    if (!part.contains("next_offset_bytes")) return base::Ok();
    request["offset_bytes"] = part.at("next_offset_bytes");
  }
}

void AddDiskMap(CommandLine& line, CLI::App* disk) {
  CLI::App* command = disk->add_subcommand("map", "Show where a disk has data, zeros and holes");
  auto arguments = std::make_shared<MapArguments>();
  command->add_option("path", arguments->disk, kDiskHelp)->required()->type_name("PATH");
  AddDatastoreOptions(command, arguments->options);
  command->add_flag("--json", arguments->as_json, "For programs");
  command->callback([&line, arguments] {
    const VisitMapPart print = arguments->as_json ? PrintJson : PrintRuns;
    line.exit_code = ExitCodeOf("disk map", VisitMap(arguments->disk, arguments->options, print));
  });
}

}  // namespace stratad
