// `strata export`: a disk or a machine as files that others read, with a proof.
#include "disklib/exchange/export.h"

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "disklib/descriptor_lines.h"
#include "disklib/names.h"
#include "disklib/vm_folder/dictionary.h"
#include "disklib/vm_folder/vmx.h"
#include "fs/daemon/commands/command_line.h"
#include "fs/daemon/commands/exchange_place.h"
#include "fs/daemon/commands/exchange_report.h"
#include "fs/daemon/commands/import_source.h"
#include "fs/daemon/commands/progress.h"
#include "fs/daemon/commands/qemu_image.h"

namespace stratad {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

constexpr std::string_view kQemuFormat = "qcow2";

struct ExportArguments {
  std::string source;
  std::string target;
  std::string format = "ova";
  bool no_verify = false;
  bool as_json = false;
};

// One export, from its words to what was made.
class Export {
 public:
  Export(base::UringExecutor& executor, const ExportArguments& arguments)
      : executor_(executor), arguments_(arguments) {
    options_.verify = !arguments.no_verify;
  }

  Result<ExportReport> Run();

 private:
  // What is exported: a machine with descriptor paths from the source's root.
  Task<Result<disklib::MachineFile>> ReadSource(ExchangePlace& from, ImportSource& source);
  Task<Status> OpenAndExport(SourceKind kind);
  Task<Status> ExportOpened(ExchangePlace& from, ExchangePlace& to, SourceKind kind);
  Task<Status> ExportPackage(disklib::Lib& lib, const disklib::MachineFile* machine,
                             ExchangePlace& to);
  Task<Status> ExportOne(disklib::Lib& lib, const std::string* from, ExchangePlace& to);
  Task<Status> ExportFlat(disklib::Lib& lib, const std::string* from, ExchangePlace& to);
  Result<SourceKind> TellKind();
  Task<Result<SourceType>> Probe();
  Status ConvertToQemu(const ExchangeWord& wanted);

  base::UringExecutor& executor_;
  const ExportArguments& arguments_;
  ExchangeWord source_;
  ExchangeWord target_;
  disklib::ExportOptions options_;
  ProgressPhases phases_;
  ExportReport report_;
};

Task<Result<SourceType>> Export::Probe() {
  CO_TRY(const std::unique_ptr<ExchangePlace> place,
         co_await ExchangePlace::Open(executor_, &source_, Access::kRead));
  const Result<SourceType> type = co_await ProbeSource(place->backend(), source_.path);
  const Status closed = co_await place->Close();
  if (!type) co_return type.error();
  if (!closed) co_return closed.error();
  co_return type;
}

bool IsMachineFile(std::string_view path) {
  return disklib::EndsWithIgnoringCase(path, disklib::kVmxSuffix);
}

Result<SourceKind> Export::TellKind() {
  if (IsMachineFile(source_.path)) return SourceKind::kDisk;
  TRY(const SourceType type, base::RunSync(executor_, Probe()));
  if (type.kind == SourceKind::kDisk || type.kind == SourceKind::kRaw) return type.kind;
  return Error(Code::kUnsupported,
               arguments_.source + ": neither a disk's descriptor nor a .vmx; import it first");
}

Result<ExportReport> Export::Run() {
  TRY(source_, ReadExchangeWord(arguments_.source));
  TRY(target_, ReadExchangeWord(arguments_.target));
  TRY(const SourceKind kind, TellKind());
  report_.format = arguments_.format;
  if (arguments_.format != kQemuFormat) {
    TRY_STATUS(base::RunSync(executor_, OpenAndExport(kind)));
    report_.path = arguments_.target;
    return std::move(report_);
  }
  const ExchangeWord wanted = target_;
  if (!wanted.target.empty()) {
    return Error(Code::kUnsupported, "qcow2 is written by qemu-img, into a host folder or a mount");
  }
  if (access((wanted.root + "/" + wanted.path).c_str(), F_OK) == 0) {
    return Error(Code::kExists, arguments_.target + ": is in the way");
  }
  target_.path = fmt::format("{}.raw.{}", wanted.path, getpid());
  TRY_STATUS(base::RunSync(executor_, OpenAndExport(kind)));
  const Status converted = ConvertToQemu(wanted);
  unlink((target_.root + "/" + target_.path).c_str());
  if (!converted) return converted.error();
  report_.path = arguments_.target;
  return std::move(report_);
}

// The raw file becomes an image, is compared with it, and only then gets its name.
Status Export::ConvertToQemu(const ExchangeWord& wanted) {
  const std::string raw = target_.root + "/" + target_.path;
  const std::string final_path = wanted.root + "/" + wanted.path;
  const std::string unfinished = disklib::UnfinishedPath(final_path);
  TRY_STATUS(ConvertFromRaw(raw, kQemuFormat, unfinished));
  Status status;
  if (options_.verify) status = CompareWithRaw(unfinished, kQemuFormat, raw);
  if (status) status = SyncAndRename(unfinished, final_path);
  if (!status) {
    unlink(unfinished.c_str());
    return status;
  }
  TRY(report_.file_bytes, SizeOf(final_path));
  if (!report_.disks.empty()) report_.disks.front().file_name = disklib::NameOf(wanted.path);
  return base::Ok();
}

Task<Status> Export::OpenAndExport(SourceKind kind) {
  CO_TRY(const std::unique_ptr<ExchangePlace> to,
         co_await ExchangePlace::Open(executor_, &target_, Access::kWrite));
  std::unique_ptr<ExchangePlace> from;
  Status status;
  const bool is_shared = !source_.target.empty() && source_.target == target_.target;
  if (!is_shared) {
    Result<std::unique_ptr<ExchangePlace>> opened =
        co_await ExchangePlace::Open(executor_, &source_, Access::kRead);
    if (opened) from = std::move(*opened);
    if (!opened) status = opened.error();
  }
  if (status) status = co_await ExportOpened(is_shared ? *to : *from, *to, kind);
  if (from != nullptr) {
    const Status closed = co_await from->Close();
    if (status && !closed) status = closed;
  }
  const Status closed = co_await to->Close();
  co_return status ? closed : status;
}

Task<Result<disklib::MachineFile>> Export::ReadSource(ExchangePlace& from, ImportSource& source) {
  disklib::MachineFile machine;
  if (!IsMachineFile(source_.path)) {
    machine.machine.controllers.emplace_back();
    machine.machine.drives.push_back({0, 0, 0});
    machine.disk_names.push_back(source.path());
    co_return machine;
  }
  CO_TRY(const std::string text, co_await disklib::ReadObject(from.backend(), source_.path,
                                                              disklib::Dictionary::kBytesMax));
  CO_TRY(machine, disklib::ReadMachineFile(text));
  for (std::string& name : machine.disk_names) {
    CO_TRY(name, disklib::ResolveName(disklib::FolderOf(source_.path), name));
  }
  if (machine.disk_names.empty()) {
    co_return Error(Code::kNotFound, arguments_.source + ": names no disk");
  }
  co_return machine;
}

Task<Status> Export::ExportOpened(ExchangePlace& from, ExchangePlace& to, SourceKind kind) {
  CO_TRY(const std::unique_ptr<ImportSource> source,
         co_await ImportSource::Open(executor_, from, source_.path, kind));
  CO_TRY(const disklib::MachineFile machine, co_await ReadSource(from, *source));
  if (arguments_.format == "ova") {
    CO_TRY_STATUS(co_await ExportPackage(source->lib(), &machine, to));
    co_return base::Ok();
  }
  if (machine.disk_names.size() > 1) {
    co_return Error(Code::kUnsupported,
                    fmt::format("{}: has {} disks; name one of them, or export an OVA",
                                arguments_.source, machine.disk_names.size()));
  }
  CO_TRY_STATUS(co_await ExportOne(source->lib(), &machine.disk_names.front(), to));
  co_return base::Ok();
}

Task<Status> Export::ExportPackage(disklib::Lib& lib, const disklib::MachineFile* machine,
                                   ExchangePlace& to) {
  CO_TRY(
      disklib::ExportedPackage made,
      co_await disklib::ExportArchive(lib, machine, to.backend(), target_.path, options_, phases_));
  report_.disks = std::move(made.disks);
  report_.file_bytes = made.file_bytes;
  co_return base::Ok();
}

Task<Status> Export::ExportOne(disklib::Lib& lib, const std::string* from, ExchangePlace& to) {
  if (arguments_.format == "flat") {
    CO_TRY_STATUS(co_await ExportFlat(lib, from, to));
    co_return base::Ok();
  }
  Result<disklib::ExportedDisk> made = Code::kInternal;
  if (arguments_.format == "streamOptimized") {
    made =
        co_await disklib::ExportStream(lib, *from, to.backend(), target_.path, options_, phases_);
  } else {
    made = co_await disklib::ExportRaw(lib, *from, to.backend(), target_.path, options_, phases_);
  }
  if (!made) co_return made.error();
  report_.file_bytes = made->file_bytes;
  report_.disks.push_back(std::move(*made));
  co_return base::Ok();
}

// A disk in a layout of ours is an import the other way.
Task<Status> Export::ExportFlat(disklib::Lib& lib, const std::string* from, ExchangePlace& to) {
  disklib::ImportOptions options;
  options.verify = options_.verify;
  options.disk.layout = disklib::DiskLayout::kMonolithicFlat;
  options.disk.user = "strata export";
  CO_TRY(disklib::ImportedDisk made,
         co_await disklib::ImportDisk(lib, *from, to.lib(), target_.path, options, phases_));
  report_.file_bytes = made.size_bytes;
  report_.disks.push_back({.file_name = std::string(disklib::NameOf(made.path)),
                           .adapter_type = {},
                           .size_bytes = made.size_bytes,
                           .file_bytes = made.size_bytes,
                           .source_sha256 = std::move(made.source_sha256),
                           .target_sha256 = std::move(made.target_sha256),
                           .file_sha256 = {}});
  co_return base::Ok();
}

int RunExport(const ExportArguments& arguments) {
  CatchInterrupts();
  const auto run = [&arguments]() -> Result<ExportReport> {
    TRY(const std::unique_ptr<base::UringExecutor> executor, base::UringExecutor::Create());
    return Export(*executor, arguments).Run();
  };
  const Result<ExportReport> report = run();  // its bars are gone when it returns
  if (!report) return PrintError("export " + arguments.source, report.error());
  PrintReport(*report, arguments.as_json);
  return kExitOk;
}

}  // namespace

void AddExportCommand(CommandLine& line) {
  CLI::App* command = line.app.add_subcommand(
      "export", "Write a disk or a machine as files that others read, with a proof");
  const auto arguments = std::make_shared<ExportArguments>();
  command->add_option("source", arguments->source, "A disk's descriptor, or a .vmx")
      ->required()
      ->type_name("SRC");
  command->add_option("target", arguments->target, "A new file")->required()->type_name("DST");
  command->add_option("--format", arguments->format, "What it is written as")
      ->check(CLI::IsMember({"ova", "streamOptimized", "flat", "raw", "qcow2"}))
      ->capture_default_str();
  command->add_flag("--no-verify", arguments->no_verify, "Do not read what was written back");
  command->add_flag("--json", arguments->as_json, "For programs");
  command->callback([&line, arguments] { line.exit_code = RunExport(*arguments); });
}

}  // namespace stratad
