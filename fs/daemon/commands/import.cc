// `strata import`: foreign disks and packages become disks of ours, with a proof.
#include "disklib/exchange/import.h"

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "disklib/names.h"
#include "fs/daemon/commands/command_line.h"
#include "fs/daemon/commands/exchange_place.h"
#include "fs/daemon/commands/exchange_report.h"
#include "fs/daemon/commands/import_in_place.h"
#include "fs/daemon/commands/import_source.h"
#include "fs/daemon/commands/progress.h"
#include "fs/daemon/commands/qemu_image.h"
#include "fs/daemon/commands/unfinished_folder.h"

namespace stratad {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

struct ImportArguments {
  std::string source;
  std::string target;
  std::string format = "thin";
  std::string source_format = "auto";
  bool no_verify = false;
  bool in_place = false;
  bool as_json = false;
};

// One import, from its words to what was made.
class Import {
 public:
  Import(base::UringExecutor& executor, const ImportArguments& arguments)
      : executor_(executor), arguments_(arguments) {}

  Result<ImportReport> Run();

 private:
  Status ReadWords();
  Task<Result<SourceType>> Probe();
  Status ConvertForeign(std::string_view format);
  Task<Status> OpenAndImport(SourceKind kind);
  Task<Status> ImportOpened(ExchangePlace& from, ExchangePlace& to, SourceKind kind);
  Task<Status> ImportOne(ImportSource& source, ExchangePlace& to);
  Task<Result<std::string>> FindDiskPath(ExchangePlace& to);
  Task<Status> ImportMachine(ImportSource& source, ExchangePlace& to);
  Task<Status> FillFolder(ImportSource& source, disklib::PackageContents& package,
                          ExchangePlace& to, const std::string* folder);
  Task<Result<std::string>> FindFolder(ExchangePlace& to, const disklib::PackageContents* package);

  base::UringExecutor& executor_;
  const ImportArguments& arguments_;
  ExchangeWord source_;
  ExchangeWord target_;
  std::string source_name_;
  disklib::ImportOptions options_;
  ProgressPhases phases_;
  ImportReport report_;
};

Status Import::ReadWords() {
  TRY(source_, ReadExchangeWord(arguments_.source));
  TRY(target_, ReadExchangeWord(arguments_.target));
  source_name_ = std::filesystem::path(source_.path).stem();
  options_.verify = !arguments_.no_verify;
  options_.disk.user = "strata import";
  if (!disklib::ParseCloneFormat(arguments_.format, options_.disk)) {
    return Error(Code::kInvalidArgument, "unknown format " + arguments_.format);
  }
  return base::Ok();
}

Result<ImportReport> Import::Run() {
  TRY_STATUS(ReadWords());
  SourceType type;
  if (arguments_.source_format == "auto") {
    TRY(type, base::RunSync(executor_, Probe()));
  }
  if (type.kind != SourceKind::kForeign) {
    TRY_STATUS(base::RunSync(executor_, OpenAndImport(type.kind)));
    return std::move(report_);
  }
  TRY_STATUS(ConvertForeign(type.foreign_format));
  const Status imported = base::RunSync(executor_, OpenAndImport(SourceKind::kRaw));
  unlink((source_.root + "/" + source_.path).c_str());
  if (!imported) return imported.error();
  return std::move(report_);
}

Task<Result<SourceType>> Import::Probe() {
  CO_TRY(const std::unique_ptr<ExchangePlace> place,
         co_await ExchangePlace::Open(executor_, &source_, Access::kRead));
  const Result<SourceType> type = co_await ProbeSource(place->backend(), source_.path);
  const Status closed = co_await place->Close();
  if (!type) co_return type.error();
  if (!closed) co_return closed.error();
  co_return type;
}

// The image becomes a raw file with holes beside the target, which takes the source's place.
Status Import::ConvertForeign(std::string_view format) {
  if (!source_.target.empty()) {
    return Error(Code::kUnsupported, fmt::format("{}: copy this {} image out of the volume first: "
                                                 "strata get",
                                                 arguments_.source, format));
  }
  const char* const scratch = std::getenv("TMPDIR");
  ExchangeWord raw;
  raw.root = scratch != nullptr ? scratch : "/var/tmp";
  if (target_.target.empty()) {
    raw.root = std::filesystem::path(target_.root) / disklib::FolderOf(target_.path);
  }
  raw.path = fmt::format("{}.{}.strata-unfinished", source_name_, getpid());
  TRY_STATUS(ConvertToRaw(source_.root + "/" + source_.path, format, raw.root + "/" + raw.path));
  source_ = raw;
  return base::Ok();
}

Task<Status> Import::OpenAndImport(SourceKind kind) {
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
  if (status) status = co_await ImportOpened(is_shared ? *to : *from, *to, kind);
  if (from != nullptr) {
    const Status closed = co_await from->Close();
    if (status && !closed) status = closed;
  }
  const Status closed = co_await to->Close();
  co_return status ? closed : status;
}

Task<Status> Import::ImportOpened(ExchangePlace& from, ExchangePlace& to, SourceKind kind) {
  CO_TRY(const std::unique_ptr<ImportSource> source,
         co_await ImportSource::Open(executor_, from, source_.path, kind));
  if (source->is_package()) {
    CO_TRY_STATUS(co_await ImportMachine(*source, to));
  } else {
    CO_TRY_STATUS(co_await ImportOne(*source, to));
  }
  co_return base::Ok();
}

// DST is the descriptor when it ends like one, else the folder it goes to.
Task<Result<std::string>> Import::FindDiskPath(ExchangePlace& to) {
  if (target_.path.ends_with(disklib::kDescriptorSuffix)) co_return target_.path;
  CO_TRY(const std::optional<fss::FileType> type, co_await to.TypeOf(&target_.path));
  if (type != fss::FileType::kDirectory) {
    co_return Error(Code::kInvalidArgument,
                    arguments_.target + ": neither a folder nor a name that ends in .vmdk");
  }
  const std::string name = disklib::FileNameOf(source_name_);
  co_return disklib::JoinPath(target_.path, name + std::string(disklib::kDescriptorSuffix));
}

Task<Status> Import::ImportOne(ImportSource& source, ExchangePlace& to) {
  CO_TRY(const std::string path, co_await FindDiskPath(to));
  CO_TRY(
      disklib::ImportedDisk disk,
      co_await disklib::ImportDisk(source.lib(), source.path(), to.lib(), path, options_, phases_));
  disk.path = FullPath(target_, disk.path);
  report_.disks.push_back(std::move(disk));
  co_return base::Ok();
}

// DST is the new machine's folder, or the folder that gets it.
Task<Result<std::string>> Import::FindFolder(ExchangePlace& to,
                                             const disklib::PackageContents* package) {
  CO_TRY(const std::optional<fss::FileType> type, co_await to.TypeOf(&target_.path));
  if (!type) co_return target_.path;
  if (*type != fss::FileType::kDirectory) {
    co_return Error(Code::kExists, arguments_.target + ": is in the way");
  }
  const std::string folder =
      disklib::JoinPath(target_.path, disklib::FileNameOf(package->ovf.machine.name));
  CO_TRY(const std::optional<fss::FileType> inner, co_await to.TypeOf(&folder));
  if (inner) co_return Error(Code::kExists, folder + ": is in the way");
  co_return folder;
}

Task<Status> Import::ImportMachine(ImportSource& source, ExchangePlace& to) {
  if (target_.path.ends_with(disklib::kDescriptorSuffix)) {
    co_return Error(Code::kInvalidArgument,
                    arguments_.target + ": a package becomes a folder, not one disk");
  }
  CO_TRY(disklib::PackageContents package,
         co_await disklib::ReadPackage(source.lib().backend(), source.path()));
  CO_TRY(const std::string folder, co_await FindFolder(to, &package));
  // All of it is made aside, and gets its name when it is proven.
  CO_TRY(const std::unique_ptr<UnfinishedFolder> unfinished,
         co_await UnfinishedFolder::Make(to, &target_, &folder));
  Status status = co_await FillFolder(source, package, to, &unfinished->path());
  if (status) status = co_await unfinished->Keep();
  if (!status) {
    const Status discarded = co_await unfinished->Discard();
    static_cast<void>(discarded);  // the first error is the one to tell
    co_return status;
  }
  const size_t cut = unfinished->path().size();
  const std::string full = FullPath(target_, folder);
  for (disklib::ImportedDisk& disk : report_.disks) disk.path = full + disk.path.substr(cut);
  report_.machine_path = full + report_.machine_path.substr(cut);
  report_.unused = std::move(package.unused);
  report_.has_manifest = !package.manifest.empty();
  co_return base::Ok();
}

Task<Status> Import::FillFolder(ImportSource& source, disklib::PackageContents& package,
                                ExchangePlace& to, const std::string* folder) {
  CO_TRY(
      disklib::ImportedMachine made,
      co_await disklib::ImportPackage(source.lib(), package, to.lib(), *folder, options_, phases_));
  report_.disks = std::move(made.disks);
  report_.machine_path = std::move(made.machine_path);
  co_return base::Ok();
}

int RunInPlace(const ImportArguments& arguments) {
  const auto run = [&arguments]() -> Result<disklib::InPlaceMachine> {
    TRY(const std::unique_ptr<base::UringExecutor> executor, base::UringExecutor::Create());
    return ImportMachineInPlace(*executor, arguments.source, arguments.target);
  };
  const Result<disklib::InPlaceMachine> machine = run();
  if (!machine) return PrintError("import --in-place " + arguments.source, machine.error());
  PrintReport(*machine, arguments.as_json);
  return kExitOk;
}

int RunImport(const ImportArguments& arguments) {
  CatchInterrupts();
  if (arguments.in_place) return RunInPlace(arguments);
  const auto run = [&arguments]() -> Result<ImportReport> {
    TRY(const std::unique_ptr<base::UringExecutor> executor, base::UringExecutor::Create());
    return Import(*executor, arguments).Run();
  };
  const Result<ImportReport> report = run();  // its bars are gone when it returns
  if (!report) return PrintError("import " + arguments.source, report.error());
  PrintReport(*report, arguments.as_json);
  return kExitOk;
}

}  // namespace

void AddImportCommand(CommandLine& line) {
  CLI::App* command = line.app.add_subcommand(
      "import", "Make disks of ours of an OVA, OVF, VMDK, raw or foreign image, with a proof");
  const auto arguments = std::make_shared<ImportArguments>();
  command
      ->add_option("source", arguments->source,
                   "A file in any of these formats; for --in-place a machine's folder or .vmx")
      ->required()
      ->type_name("SRC");
  command->add_option("target", arguments->target, "A folder, or a new .vmdk")
      ->required()
      ->type_name("DST");
  CLI::Option* const format =
      command->add_option("--format", arguments->format, "What the disks are made as")
          ->check(CLI::IsMember({"thin", "zeroedthick", "eagerzeroedthick", "monolithicFlat",
                                 "twoGbMaxExtentFlat", "monolithicSparse", "twoGbMaxExtentSparse",
                                 "vmfsSparse", "seSparse"}))
          ->capture_default_str();
  CLI::Option* const source_format = command
                                         ->add_option("--source-format", arguments->source_format,
                                                      "raw: take the source's bytes as they are")
                                         ->check(CLI::IsMember({"auto", "raw"}))
                                         ->capture_default_str();
  CLI::Option* const no_verify =
      command->add_flag("--no-verify", arguments->no_verify, "Do not read the new disks back");
  command
      ->add_flag("--in-place", arguments->in_place,
                 "Copy nothing: make new disks on the old ones, which stay as they are")
      ->excludes(format, source_format, no_verify);
  command->add_flag("--json", arguments->as_json, "For programs");
  command->callback([&line, arguments] { line.exit_code = RunImport(*arguments); });
}

}  // namespace stratad
