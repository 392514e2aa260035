// `strata disk check`: the chain checker and its repairs.
#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "fs/daemon/commands/disk_command.h"

namespace stratad {
namespace {

std::string Text(const Json& json, const char* key) {
  return StringOf(json, key).value_or("");
}

uint64_t Number(const Json& json, const char* key) {
  return NumberOf(json, key).value_or(0);
}

void PrintFindings(const Json& report) {
  for (const Json& finding : report.value("findings", Json::array())) {
    fmt::print("{}: {}: {}: {}\n", Text(finding, "severity"), Text(finding, "id"),
               Text(finding, "file"), Text(finding, "text"));
    const std::string repair = Text(finding, "repair_text");
    if (!repair.empty()) fmt::print("    repair ({}): {}\n", Text(finding, "repair"), repair);
  }
}

// What --explain adds: what each broken rule means, once, and the evidence.
void PrintExplanations(const Json& report) {
  if (!FlagOf(report, "explained")) return;
  std::vector<std::string> said;
  for (const Json& finding : report.value("findings", Json::array())) {
    const std::string id = Text(finding, "id");
    if (std::find(said.begin(), said.end(), id) != said.end()) continue;
    said.push_back(id);
    fmt::print("{}: {}\n", id, Text(finding, "explanation"));
  }
  for (const Json& sentence : report.value("evidence", Json::array())) {
    fmt::print("  {}\n", sentence.get<std::string>());
  }
}

void PrintVerdict(const Json& report) {
  if (!Text(report, "holder").empty()) fmt::print("in use: {}\n", Text(report, "holder"));
  if (FlagOf(report, "clean")) {
    fmt::print("Disk chain is consistent.\n");
    return;
  }
  fmt::print("{}{} errors, {} warnings, {} leaks\n",
             FlagOf(report, "consistent") ? "Disk chain is consistent. " : "",
             Number(report, "errors"), Number(report, "warnings"), Number(report, "leaks"));
}

void PrintReport(const Json& report) {
  PrintFindings(report);
  PrintExplanations(report);
  PrintVerdict(report);
}

void PrintRepair(const Json& repair) {
  const Json before = repair.value("before", Json::object());
  PrintFindings(before);
  PrintExplanations(before);
  for (const Json& action : repair.value("actions", Json::array())) {
    fmt::print("repaired: {}: {}: {}\n", Text(action, "id"), Text(action, "file"),
               Text(action, "text"));
  }
  const bool is_repaired = Text(repair, "outcome") == "repaired";
  PrintVerdict(is_repaired ? repair.value("after", Json::object()) : before);
}

// A check answers its report, a repair two of them.
void PrintAnswerOfCheck(const Json& answer) {
  answer.contains("outcome") ? PrintRepair(answer) : PrintReport(answer);
}

int ExitCodeOfCheck(const Json& answer) {
  if (!answer.contains("outcome")) return FlagOf(answer, "consistent") ? kExitOk : kExitProblems;
  if (Text(answer, "outcome") == "nothing to do") return kExitOk;
  if (Text(answer, "outcome") != "repaired") return kExitProblems;
  return FlagOf(answer.value("after", Json::object()), "consistent") ? kExitRepaired
                                                                     : kExitProblems;
}

}  // namespace

void AddDiskChecks(CommandLine& line, CLI::App* disk) {
  DiskCommand check(line, disk, "check", "check", "Check a disk's whole chain, and repair it");
  check.app()->footer(
      "Exit code: 0 consistent, warnings and leaks aside; 3 repaired, and consistent now;\n"
      "4 errors found or left; 1 could not check.");
  CLI::Option* repair =
      check.Flag("--repair", "repair", "Repair what changes nothing that anything refers to");
  check.Flag("--explain", "explain", "Say what each rule means, and what speaks for which repair");
  check.List("--fix", "fix", "Also repairs that change what the disk means: C1, X5, …")
      ->needs(repair)
      ->type_name("ID");
  check.Flag("--folder", "folder", "PATH is a folder: what in it belongs to no disk");
  check.TurnsInto("repair", {"repair"});
  check.TurnsInto("check-folder", {"folder"});
  check.TurnsInto("repair-folder", {"folder", "repair"});
  check.Prints(PrintAnswerOfCheck, ExitCodeOfCheck);
}

}  // namespace stratad
