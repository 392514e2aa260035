#include "fs/daemon/commands/exchange_report.h"

#include <fmt/format.h>

#include "fs/daemon/commands/command_line.h"

namespace stratad {
namespace {

Json Describe(const disklib::ImportedDisk& disk) {
  Json described = Json::object();
  described["disk"] = disk.path;
  described["size_bytes"] = disk.size_bytes;
  described["data_bytes"] = disk.data_bytes;
  described["source_sha256"] = disk.source_sha256;
  if (!disk.target_sha256.empty()) described["target_sha256"] = disk.target_sha256;
  return described;
}

void PrintJson(const ImportReport& report) {
  Json described = Json::object();
  if (!report.machine_path.empty()) {
    described["machine"] = report.machine_path;
    described["manifest"] = report.has_manifest;
    described["unused"] = report.unused;
  }
  described["disks"] = Json::array();
  for (const disklib::ImportedDisk& disk : report.disks) {
    described["disks"].push_back(Describe(disk));
  }
  fmt::print("{}\n", ToPrettyText(described));
}

void PrintProof(const std::string& source_sha256, const std::string& target_sha256) {
  fmt::print("source     sha256 {}\n", source_sha256);
  if (target_sha256.empty()) {
    fmt::print("target     not read back\n");
  } else {
    fmt::print("target     sha256 {}, the same\n", target_sha256);
  }
}

void PrintJson(const ExportReport& report) {
  Json described = Json::object();
  described["file"] = report.path;
  described["format"] = report.format;
  described["file_bytes"] = report.file_bytes;
  described["disks"] = Json::array();
  for (const disklib::ExportedDisk& disk : report.disks) {
    Json one = Json::object();
    one["name"] = disk.file_name;
    one["size_bytes"] = disk.size_bytes;
    one["source_sha256"] = disk.source_sha256;
    if (!disk.target_sha256.empty()) one["target_sha256"] = disk.target_sha256;
    if (!disk.file_sha256.empty()) one["file_sha256"] = disk.file_sha256;
    described["disks"].push_back(std::move(one));
  }
  fmt::print("{}\n", ToPrettyText(described));
}

void PrintJson(const disklib::InPlaceMachine& machine) {
  Json described = Json::object();
  described["machine"] = machine.machine_path;
  described["disks"] = Json::array();
  for (const disklib::InPlaceDisk& disk : machine.disks) {
    described["disks"].push_back(
        {{"node", disk.node}, {"disk", disk.child}, {"parent", disk.parent}});
  }
  fmt::print("{}\n", ToPrettyText(described));
}

}  // namespace

void PrintReport(const disklib::InPlaceMachine& machine, bool as_json) {
  if (as_json) {
    PrintJson(machine);
    return;
  }
  fmt::print("machine    {}\n", machine.machine_path);
  for (const disklib::InPlaceDisk& disk : machine.disks) {
    fmt::print("disk       {}, {}\n", disk.node, disk.child);
    fmt::print("stands on  {}\n", disk.parent);
  }
}

void PrintReport(const ExportReport& report, bool as_json) {
  if (as_json) {
    PrintJson(report);
    return;
  }
  fmt::print("file       {}\n", report.path);
  fmt::print("format     {}, {}\n", report.format, FormatBytes(report.file_bytes));
  for (const disklib::ExportedDisk& disk : report.disks) {
    fmt::print("disk       {}\n", disk.file_name);
    fmt::print("capacity   {}\n", FormatBytes(disk.size_bytes));
    PrintProof(disk.source_sha256, disk.target_sha256);
    if (!disk.file_sha256.empty()) fmt::print("file       sha256 {}\n", disk.file_sha256);
  }
}

void PrintReport(const ImportReport& report, bool as_json) {
  if (as_json) {
    PrintJson(report);
    return;
  }
  if (!report.machine_path.empty()) fmt::print("machine    {}\n", report.machine_path);
  for (const disklib::ImportedDisk& disk : report.disks) {
    fmt::print("disk       {}\n", disk.path);
    fmt::print("capacity   {}, data {}\n", FormatBytes(disk.size_bytes),
               FormatBytes(disk.data_bytes));
    PrintProof(disk.source_sha256, disk.target_sha256);
  }
  for (const std::string& name : report.unused) fmt::print("not used   {}\n", name);
  if (!report.machine_path.empty() && !report.has_manifest) {
    fmt::print("the package has no manifest to check its files against\n");
  }
}

}  // namespace stratad
