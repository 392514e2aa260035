#include <array>
#include <cstdio>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "disklib/disk_size.h"
#include "fs/daemon/commands/command_line.h"
#include "fs/daemon/commands/disk_request.h"
#include "fs/daemon/commands/progress.h"
#include "fs/daemon/commands/vmkfstools.h"

namespace stratad {
namespace {

// "Clone: 42% done." on one line of standard output.
class PercentLine final : public disklib::Progress {
 public:
  explicit PercentLine(std::string_view verb) : verb_(verb) {}

  bool Advance(uint64_t done_bytes, uint64_t total_bytes) override {
    const double part =
        total_bytes == 0 ? 1 : static_cast<double>(done_bytes) / static_cast<double>(total_bytes);
    Show(static_cast<int>(part * 100));
    return !Interrupted();
  }

  void Finish() {
    Show(100);
    fmt::print("\n");
  }

 private:
  void Show(int percent) {
    if (percent == percent_) return;
    percent_ = percent;
    fmt::print("\r{}: {}% done.", verb_, percent);
    std::fflush(stdout);
  }

  const std::string_view verb_;
  int percent_ = -1;
};

// What ESX calls a format, what we call it, and how it is announced.
struct FormatWord {
  std::string_view said;
  std::string_view meant;
  std::string_view announced;
};

constexpr std::array kFormatWords = {
    FormatWord{"thin", "thin", "VMFS thin-provisioned"},
    FormatWord{"zeroedthick", "zeroedthick", "VMFS zeroedthick"},
    FormatWord{"thick", "zeroedthick", "VMFS zeroedthick"},
    FormatWord{"eagerzeroedthick", "eagerzeroedthick", "VMFS eagerzeroedthick"},
    FormatWord{"2gbsparse", "twoGbMaxExtentSparse", "sparse with 2GB maximum extent size"},
    FormatWord{"sesparse", "seSparse", "VMFS space-efficient sparse"},
    FormatWord{"vmfssparse", "vmfsSparse", "VMFS sparse"},
    FormatWord{"monosparse", "monolithicSparse", "monolithic sparse"},
    FormatWord{"monoflat", "monolithicFlat", "monolithic flat"},
    FormatWord{"2gbflat", "twoGbMaxExtentFlat", "flat with 2GB maximum extent size"},
    FormatWord{"streamoptimized", "streamOptimized", "stream-optimized"},
};

base::Result<FormatWord> FormatOf(const VmkArguments& arguments, std::string_view when_absent) {
  const std::string_view said =
      arguments.format.empty() ? when_absent : std::string_view(arguments.format);
  for (const FormatWord& word : kFormatWords) {
    if (word.said == said) return word;
  }
  return base::Error(base::Code::kInvalidArgument, fmt::format("unknown disk format \"{}\"", said));
}

Json Request(std::string_view action, const std::string& disk) {
  Json request = Json::object();
  request["action"] = action;
  request["disk"] = disk;
  return request;
}

// Runs a request whose answer says nothing.
int Run(const std::string& what, Json request) {
  const base::Result<Json> answer = RunDiskRequest(std::move(request));
  return answer ? kExitOk : VmkFail(what, answer.error());
}

// The same with ESX's line of progress.
int RunWithPercent(const std::string& what, std::string_view verb, Json request) {
  PercentLine line(verb);
  DiskRequestOptions options;
  options.progress = &line;
  const base::Result<Json> answer = RunDiskRequest(std::move(request), options);
  if (!answer) return VmkFail(what, answer.error());
  line.Finish();
  return kExitOk;
}

int Create(const VmkArguments& arguments) {
  const std::string what = "create virtual disk";
  const base::Result<uint64_t> size = disklib::ParseDiskSize(arguments.value);
  if (!size) return VmkFail(what, size.error());
  const base::Result<FormatWord> format = FormatOf(arguments, "zeroedthick");
  if (!format) return VmkFail(what, format.error());
  if (!arguments.object_type.empty() && arguments.object_type != "file") {
    return VmkFail(what, base::Error(base::Code::kUnsupported,
                                     "disks are files here, not of type " + arguments.object_type));
  }
  Json request = Request("create", arguments.paths[0]);
  request["size_bytes"] = *size;
  request["format"] = format->meant;
  request["adapter"] = arguments.adapter;
  return RunWithPercent(what, "Create", std::move(request));
}

// "-d rdm:DEVICE", "-d rdmp:DEVICE".
int CloneToDevice(const VmkArguments& arguments, std::string_view mode) {
  const std::string device = arguments.format.substr(mode.size());
  const bool is_physical = mode == "rdmp:";
  Json request = Request("clone-rdm", arguments.value);
  request["to"] = arguments.paths[0];
  request["device"] = device;
  request["physical"] = is_physical;
  fmt::print("Destination disk format: {}raw disk mapping to '{}'\nCloning disk '{}'...\n",
             is_physical ? "pass-through " : "", device, arguments.value);
  return RunWithPercent("clone disk", "Clone", std::move(request));
}

int Clone(const VmkArguments& arguments) {
  const std::string what = "clone disk";
  for (const std::string_view mode : {"rdm:", "rdmp:"}) {
    if (arguments.format.starts_with(mode)) return CloneToDevice(arguments, mode);
  }
  const base::Result<FormatWord> format = FormatOf(arguments, "zeroedthick");
  if (!format) return VmkFail(what, format.error());
  Json request = Request("clone", arguments.value);
  request["to"] = arguments.paths[0];
  request["format"] = format->meant;
  request["reads_all"] = arguments.avoids_native_clone;
  fmt::print("Destination disk format: {}\nCloning disk '{}'...\n", format->announced,
             arguments.value);
  return RunWithPercent(what, "Clone", std::move(request));
}

int MakeDeviceMap(const VmkArguments& arguments, bool is_physical) {
  Json request = Request("create-rdm", arguments.paths[0]);
  request["device"] = arguments.value;
  request["physical"] = is_physical;
  request["adapter"] = arguments.adapter;
  return Run("create raw device map", std::move(request));
}

int MakeVirtualMap(const VmkArguments& arguments) {
  return MakeDeviceMap(arguments, /*is_physical=*/false);
}

int MakePhysicalMap(const VmkArguments& arguments) {
  return MakeDeviceMap(arguments, /*is_physical=*/true);
}

int QueryDeviceMap(const VmkArguments& arguments) {
  const std::string& path = arguments.paths[0];
  const base::Result<Json> info = RunDiskRequest(Request("info", path));
  if (!info) return VmkFail("open virtual disk", info.error());
  if (!info->contains("device_map")) {
    fmt::print("Disk {} is not a raw device mapping\n", path);
    return kExitOk;
  }
  const Json& map = info->at("device_map");
  const bool is_physical = StringOf(map, "mode") == "physical";
  fmt::print("Disk {} is a {} Raw Device Mapping\n", path,
             is_physical ? "Passthrough" : "Non-passthrough");
  fmt::print("Maps to: {}\n", StringOf(map, "device").value_or(""));
  const std::string trouble = StringOf(map, "trouble").value_or("");
  if (trouble.empty()) return kExitOk;
  return VmkFail("find the device", base::Error(base::Code::kNotFound, trouble));
}

int Rename(const VmkArguments& arguments) {
  Json request = Request("rename", arguments.value);
  request["to"] = arguments.paths[0];
  return Run("rename virtual disk", std::move(request));
}

int Delete(const VmkArguments& arguments) {
  return Run("delete virtual disk", Request("delete", arguments.paths[0]));
}

int Extend(const VmkArguments& arguments) {
  const std::string what = "extend virtual disk";
  const base::Result<uint64_t> size = disklib::ParseDiskSize(arguments.value);
  if (!size) return VmkFail(what, size.error());
  Json request = Request("extend", arguments.paths[0]);
  request["size_bytes"] = *size;
  if (!arguments.format.empty()) {
    const base::Result<FormatWord> format = FormatOf(arguments, "");
    if (!format) return VmkFail(what, format.error());
    request["format"] = format->meant;
  }
  return RunWithPercent(what, "Grow", std::move(request));
}

int ChangeSpace(const VmkArguments& arguments, std::string_view action, std::string_view verb) {
  return RunWithPercent(std::string(action) + " virtual disk", verb,
                        Request(action, arguments.paths[0]));
}

int WriteZeros(const VmkArguments& arguments) {
  return ChangeSpace(arguments, "zero", "Zero");
}

int Inflate(const VmkArguments& arguments) {
  return ChangeSpace(arguments, "inflate", "Inflate");
}

int EagerZero(const VmkArguments& arguments) {
  return ChangeSpace(arguments, "eager-zero", "Eager zero");
}

int PunchZeros(const VmkArguments& arguments) {
  return ChangeSpace(arguments, "punch", "Hole Punching");
}

void PrintContentIds(const Json& report) {
  for (const Json& link : report.value("links", Json::array())) {
    fmt::print("{}: CID {}, parentCID {}\n", StringOf(link, "path").value_or(""),
               StringOf(link, "content_id").value_or(""),
               StringOf(link, "parent_content_id").value_or("ffffffff"));
  }
}

// `verdict` is for a disk without errors.
int PrintFindings(const std::string& what, std::string_view verdict, const Json& report) {
  for (const Json& finding : report.value("findings", Json::array())) {
    fmt::print("{}: {}: {}: {}\n", StringOf(finding, "severity").value_or(""),
               StringOf(finding, "id").value_or(""), StringOf(finding, "file").value_or(""),
               StringOf(finding, "text").value_or(""));
  }
  if (!FlagOf(report, "consistent")) {
    const uint64_t errors = NumberOf(report, "errors").value_or(0);
    return VmkFail(what, base::Error(base::Code::kCorrupt,
                                     fmt::format("Disk chain is not consistent: {} error{}", errors,
                                                 errors == 1 ? "" : "s")));
  }
  fmt::print("{}\n", verdict);
  return kExitOk;
}

int Check(const VmkArguments& arguments, const std::string& what, std::string_view verdict) {
  const base::Result<Json> report = RunDiskRequest(Request("check", arguments.paths[0]));
  if (!report) return VmkFail(what, report.error());
  if (arguments.verbosity >= 10) PrintContentIds(*report);
  return PrintFindings(what, verdict, *report);
}

int CheckChain(const VmkArguments& arguments) {
  return Check(arguments, "check disk chain", "Disk chain is consistent.");
}

int Repair(const VmkArguments& arguments) {
  const base::Result<Json> repair = RunDiskRequest(Request("repair", arguments.paths[0]));
  if (!repair) return VmkFail("repair disk", repair.error());
  const Json before = repair->value("before", Json::object());
  if (arguments.verbosity >= 10) PrintContentIds(before);
  for (const Json& action : repair->value("actions", Json::array())) {
    fmt::print("repaired: {}: {}\n", StringOf(action, "file").value_or(""),
               StringOf(action, "text").value_or(""));
  }
  if (StringOf(*repair, "outcome").value_or("") != "repaired") {
    return PrintFindings("repair disk", "Disk is error free.", before);
  }
  return PrintFindings("repair disk", "Disk was successfully repaired.",
                       repair->value("after", Json::object()));
}

int FixMetadata(const VmkArguments& arguments) {
  if (arguments.value == "check") return Check(arguments, "check disk", "Disk is error free.");
  if (arguments.value == "repair") return Repair(arguments);
  fmt::print(stderr, "vmkfstools: -x wants check or repair, not \"{}\"\n", arguments.value);
  return kExitUsage;
}

// What a link holds alone.
int UniqueBlocks(const VmkArguments& arguments) {
  const base::Result<Json> info = RunDiskRequest(Request("info", arguments.paths[0]));
  if (!info) return VmkFail("open virtual disk", info.error());
  const Json links = info->value("links", Json::array());
  if (links.empty()) {
    return VmkFail("count unique blocks",
                   base::Error(base::Code::kUnsupported,
                               StringOf(*info, "chain_error").value_or("the chain does not open")));
  }
  const uint64_t bytes = NumberOf(links.back(), "unique_bytes").value_or(0);
  fmt::print("{} unique bytes, {} blocks of 512\n", bytes, bytes / 512);
  return kExitOk;
}

int Geometry(const VmkArguments& arguments) {
  const base::Result<Json> info = RunDiskRequest(Request("info", arguments.paths[0]));
  if (!info) return VmkFail("open virtual disk", info.error());
  const Json geometry = info->value("geometry", Json::object());
  fmt::print("Geometry information C/H/S is {}/{}/{}\n",
             NumberOf(geometry, "cylinders").value_or(0), NumberOf(geometry, "heads").value_or(0),
             NumberOf(geometry, "sectors").value_or(0));
  return kExitOk;
}

int MakeFileSystem(const VmkArguments& arguments) {
  if (arguments.value != "vmfs6") {
    return VmkFail("create file system", base::Error(base::Code::kVersionUnsupported,
                                                     "only vmfs6 is made, not " + arguments.value));
  }
  const base::Result<uint64_t> block_bytes =
      disklib::ParseDiskSize(arguments.block_size.empty() ? "1m" : arguments.block_size);
  if (!block_bytes) return VmkFail("create file system", block_bytes.error());
  if (*block_bytes != uint64_t{1} << 20) {
    return VmkFail("create file system",
                   base::Error(base::Code::kUnsupported,
                               "the blocks of vmfs6 are of 1m, not " + arguments.block_size));
  }
  std::vector<std::string> words = {"mkfs"};
  if (!arguments.label.empty()) words.insert(words.end(), {"--label", arguments.label});
  words.push_back(arguments.paths[0]);
  return RunStrata(std::move(words));
}

int QueryFileSystem(const VmkArguments& arguments) {
  return PrintFileSystem(arguments.paths[0], arguments.human_readable);
}

}  // namespace

std::vector<VmkOption> VmkOptions() {
  return {
      {"-c,--createvirtualdisk", "SIZE", 1, "daW", Create, "Make a disk; -d, -a, -W"},
      {"-i,--clonevirtualdisk", "SRC", 1, "dN", Clone, "Copy SRC's whole chain to PATH; -d, -N"},
      {"-r,--createrdm", "DEVICE", 1, "a", MakeVirtualMap,
       "Make PATH a disk of the whole device; -a"},
      {"-z,--createrdmpassthru", "DEVICE", 1, "a", MakePhysicalMap,
       "The same in physical mode: no snapshots; -a"},
      {"-q,--queryrdm", nullptr, 1, "", QueryDeviceMap, "Say which device a disk stands for"},
      {"-E,--renamevirtualdisk", "OLD", 1, "", Rename, "Rename a disk and its files to PATH"},
      {"-U,--deletevirtualdisk", nullptr, 1, "", Delete, "Remove a disk and its files"},
      {"-X,--extendvirtualdisk", "SIZE", 1, "d", Extend, "Make a disk larger; -d eagerzeroedthick"},
      {"-w,--writezeros", nullptr, 1, "", WriteZeros, "Write zeros: the content is gone"},
      {"-j,--inflatedisk", nullptr, 1, "", Inflate, "Thin to eagerzeroedthick"},
      {"-k,--eagerzero", nullptr, 1, "", EagerZero, "zeroedthick to eagerzeroedthick"},
      {"-K,--punchzero", nullptr, 1, "", PunchZeros, "Give back the space of zeros"},
      {"-e,--chainConsistent", nullptr, 1, "v", CheckChain, "Check a disk's whole chain; -v 10"},
      {"-x,--fix", "check|repair", 1, "v", FixMetadata, "Check a disk, or repair it"},
      {"--uniqueblocks", nullptr, 1, "", UniqueBlocks, "Count what a link holds alone"},
      {"-g,--geometry", nullptr, 1, "", Geometry, "Print cylinders/heads/sectors"},
      {"-C,--createfs", "TYPE", 1, "bS", MakeFileSystem, "Make a volume: vmfs6; -b, -S"},
      {"-P,--queryfs", nullptr, 1, "h", QueryFileSystem, "Describe a mounted volume; -h"},
  };
}

}  // namespace stratad
