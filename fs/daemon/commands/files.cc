// `strata ls|cat|get|put|rm|mkdir TARGET:/path`: files of a volume that is not mounted.
#include <algorithm>
#include <cerrno>
#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include "fs/base/aligned_buffer.h"
#include "fs/daemon/commands/command_line.h"
#include "fs/daemon/commands/progress.h"
#include "fs/daemon/commands/volume_task.h"
#include "fs/daemon/path_walk.h"

namespace stratad {
namespace {

constexpr size_t kCopyBytes = 1 << 20;

std::string_view NameOf(fss::FileType type) {
  switch (type) {
    case fss::FileType::kDirectory: return "directory";
    case fss::FileType::kSymlink: return "symlink";
    case fss::FileType::kBlockDevice: return "device";
    case fss::FileType::kRegular: break;
  }
  return "file";
}

char LetterOf(fss::FileType type) {
  switch (type) {
    case fss::FileType::kDirectory: return 'd';
    case fss::FileType::kSymlink: return 'l';
    case fss::FileType::kBlockDevice: return 'b';
    case fss::FileType::kRegular: break;
  }
  return '-';
}

std::string ModeText(const fss::Attributes& attributes) {
  std::string text(1, LetterOf(attributes.type));
  for (int bit = 8; bit >= 0; --bit) {
    text += attributes.mode & (1u << bit) ? "xwr"[bit % 3] : '-';
  }
  return text;
}

class ListTask final : public VolumeTask {
 public:
  ListTask(std::string path, bool as_json) : path_(std::move(path)), as_json_(as_json) {}

  base::Task<base::Status> Run(base::UringExecutor&, Datastore& datastore) override {
    fss::FileSystem& file_system = datastore.file_system();
    PathWalk walk(file_system);
    CO_TRY(const fss::Attributes found, co_await walk.Find(path_));
    if (found.type == fss::FileType::kDirectory) {
      std::vector<ListedEntry> entries;
      CO_TRY_STATUS(co_await ListDirectory(file_system, found.inode, entries));
      std::sort(entries.begin(), entries.end(),
                [](const ListedEntry& a, const ListedEntry& b) { return a.name < b.name; });
      for (const ListedEntry& entry : entries) {
        CO_TRY(const fss::Attributes attributes,
               co_await file_system.Lookup(found.inode, entry.name));
        walk.Keep(attributes.inode);
        Show(entry.name, attributes);
      }
    } else {
      Show(std::string(SplitLast(path_).name), found);
    }
    if (as_json_) fmt::print("{}\n", ToPrettyText(listing_));
    co_return base::Ok();
  }

 private:
  void Show(const std::string& name, const fss::Attributes& attributes) {
    if (!as_json_) {
      const auto seconds = static_cast<std::time_t>(attributes.modified_us / 1'000'000);
      fmt::print("{} {:>5} {:>5} {:>14} {:%Y-%m-%d %H:%M:%S} {}\n", ModeText(attributes),
                 attributes.uid, attributes.gid, attributes.size_bytes, fmt::localtime(seconds),
                 name);
      return;
    }
    Json entry = Json::object();
    entry["name"] = name;
    entry["type"] = std::string(NameOf(attributes.type));
    entry["inode"] = attributes.inode;
    entry["mode"] = fmt::format("{:04o}", attributes.mode);
    entry["uid"] = attributes.uid;
    entry["gid"] = attributes.gid;
    entry["size_bytes"] = attributes.size_bytes;
    entry["allocated_bytes"] = attributes.allocated_bytes;
    entry["modified_us"] = attributes.modified_us;
    listing_.push_back(std::move(entry));
  }

  const std::string path_;
  const bool as_json_;
  Json listing_ = Json::array();
};

bool WriteAll(int descriptor, const std::byte* bytes, size_t size_bytes) {
  while (size_bytes > 0) {
    const ssize_t count = write(descriptor, bytes, size_bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    bytes += count;
    size_bytes -= static_cast<size_t>(count);
  }
  return true;
}

// Copies a file of the volume to a descriptor of this process.
class ReadTask final : public VolumeTask {
 public:
  ReadTask(std::string path, int output, bool with_bar)
      : path_(std::move(path)), output_(output), with_bar_(with_bar) {}

  base::Task<base::Status> Run(base::UringExecutor&, Datastore& datastore) override {
    fss::FileSystem& file_system = datastore.file_system();
    PathWalk walk(file_system);
    CO_TRY(const fss::Attributes found, co_await walk.Find(path_));
    CO_TRY(const std::unique_ptr<fss::File> file,
           co_await file_system.Open(found.inode, fss::OpenMode::kRead));
    const base::Status copied = co_await Copy(*file);
    const base::Status closed = co_await file->Close();
    co_return copied ? closed : copied;
  }

 private:
  base::Task<base::Status> Copy(fss::File& file) {
    base::AlignedBuffer buffer(kCopyBytes);
    const base::IoVec piece = buffer.piece();
    base::IoRequest request;
    request.buffers = {&piece, 1};
    const std::unique_ptr<ProgressBar> bar =
        with_bar_ ? std::make_unique<ProgressBar>(path_) : nullptr;
    while (true) {
      CO_TRY(const uint64_t count, co_await file.Read(request));
      if (count == 0) co_return base::Ok();
      if (!WriteAll(output_, buffer.data(), count)) co_return base::ErrnoError(errno, "write");
      request.offset_bytes += count;
      if (Interrupted()) co_return base::Code::kInterrupted;
      if (bar) bar->Advance(request.offset_bytes, file.size_bytes());
    }
  }

  const std::string path_;
  const int output_;
  const bool with_bar_;
};

// Copies a descriptor of this process into a new file of the volume.
class WriteTask final : public VolumeTask {
 public:
  WriteTask(std::string path, int input, uint64_t size_bytes)
      : path_(std::move(path)), input_(input), size_bytes_(size_bytes) {}

  base::Task<base::Status> Run(base::UringExecutor&, Datastore& datastore) override {
    fss::FileSystem& file_system = datastore.file_system();
    PathWalk walk(file_system);
    const SplitPath split = SplitLast(path_);
    CO_TRY(const fss::Attributes parent, co_await walk.Find(split.parent));
    fss::NewInode attributes;
    attributes.uid = geteuid();
    attributes.gid = getegid();
    CO_TRY(const fss::Attributes made,
           co_await file_system.CreateFile(parent.inode, split.name, attributes));
    walk.Keep(made.inode);
    CO_TRY(const std::unique_ptr<fss::File> file,
           co_await file_system.Open(made.inode, fss::OpenMode::kWrite));
    base::Status copied = co_await Copy(*file);
    if (copied) copied = co_await file->Sync(/*data_only=*/false);
    const base::Status closed = co_await file->Close();
    if (copied) co_return closed;
    const base::Status removed = co_await file_system.Unlink(parent.inode, split.name);
    co_return removed ? copied : removed;
  }

 private:
  base::Task<base::Status> Copy(fss::File& file) {
    base::AlignedBuffer buffer(kCopyBytes);
    ProgressBar bar(path_);
    base::IoRequest request;
    while (true) {
      const ssize_t count = read(input_, buffer.data(), buffer.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) co_return base::ErrnoError(errno, "read");
      if (count == 0) co_return base::Ok();
      const base::IoVec piece{buffer.data(), static_cast<size_t>(count)};
      request.buffers = {&piece, 1};
      CO_TRY(const uint64_t written, co_await file.Write(request));
      if (written < piece.size_bytes) co_return base::Code::kNoSpace;
      request.offset_bytes += written;
      if (!bar.Advance(request.offset_bytes, size_bytes_)) co_return base::Code::kInterrupted;
    }
  }

  const std::string path_;
  const int input_;
  const uint64_t size_bytes_;
};

class RemoveTask final : public VolumeTask {
 public:
  explicit RemoveTask(std::string path) : path_(std::move(path)) {}

  base::Task<base::Status> Run(base::UringExecutor&, Datastore& datastore) override {
    fss::FileSystem& file_system = datastore.file_system();
    PathWalk walk(file_system);
    CO_TRY(const fss::Attributes found, co_await walk.Find(path_));
    const SplitPath split = SplitLast(path_);
    CO_TRY(const fss::Attributes parent, co_await walk.Find(split.parent));
    base::Status removed;
    if (found.type == fss::FileType::kDirectory) {
      removed = co_await file_system.RemoveDirectory(parent.inode, split.name);
    } else {
      removed = co_await file_system.Unlink(parent.inode, split.name);
    }
    co_return removed;
  }

 private:
  const std::string path_;
};

class MakeDirectoryTask final : public VolumeTask {
 public:
  explicit MakeDirectoryTask(std::string path) : path_(std::move(path)) {}

  base::Task<base::Status> Run(base::UringExecutor&, Datastore& datastore) override {
    fss::FileSystem& file_system = datastore.file_system();
    PathWalk walk(file_system);
    const SplitPath split = SplitLast(path_);
    CO_TRY(const fss::Attributes parent, co_await walk.Find(split.parent));
    fss::NewInode attributes;
    attributes.mode = 0755;
    attributes.uid = geteuid();
    attributes.gid = getegid();
    CO_TRY(const fss::Attributes made,
           co_await file_system.MakeDirectory(parent.inode, split.name, attributes));
    walk.Keep(made.inode);
    co_return base::Ok();
  }

 private:
  const std::string path_;
};

base::Status GetFile(const TargetPath& from, const std::string& local) {
  const int output = open(local.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  if (output < 0) return base::ErrnoError(errno, "create " + local);
  ReadTask task(from.path, output, /*with_bar=*/true);
  base::Status copied = RunOnVolume({from.target}, Access::kRead, task);
  if (close(output) != 0 && copied) copied = base::ErrnoError(errno, "close " + local);
  if (!copied) unlink(local.c_str());
  return copied;
}

base::Status PutFile(const std::string& local, const TargetPath& to) {
  const int input = open(local.c_str(), O_RDONLY | O_CLOEXEC);
  if (input < 0) return base::ErrnoError(errno, "open " + local);
  const off_t size = lseek(input, 0, SEEK_END);
  lseek(input, 0, SEEK_SET);
  WriteTask task(to.path, input, size > 0 ? static_cast<uint64_t>(size) : 0);
  const base::Status copied = RunOnVolume({to.target}, Access::kWrite, task);
  close(input);
  return copied;
}

// The commands with one place and a task each.
template <typename MakeTask>
void AddPlaceCommand(CommandLine& line, const std::string& name, const std::string& help,
                     Access access, MakeTask make_task) {
  CLI::App* command = line.app.add_subcommand(name, help);
  auto place = std::make_shared<std::string>();
  command->add_option("place", *place, "Volume and path in it")
      ->required()
      ->type_name("TARGET:/PATH");
  command->callback([&line, place, name, access, make_task] {
    CatchInterrupts();
    const TargetPath at = ParseTargetPath(*place);
    const auto task = make_task(at.path);
    line.exit_code = ExitCodeOf(name, RunOnVolume({at.target}, access, *task));
  });
}

void AddList(CommandLine& line) {
  CLI::App* command = line.app.add_subcommand("ls", "List a directory of an unmounted volume");
  auto place = std::make_shared<std::string>();
  auto as_json = std::make_shared<bool>(false);
  command->add_option("place", *place, "Volume and path in it")
      ->required()
      ->type_name("TARGET:/PATH");
  command->add_flag("--json", *as_json, "For programs");
  command->callback([&line, place, as_json] {
    const TargetPath at = ParseTargetPath(*place);
    ListTask task(at.path, *as_json);
    line.exit_code = ExitCodeOf("ls", RunOnVolume({at.target}, Access::kRead, task));
  });
}

void AddCopies(CommandLine& line) {
  auto first = std::make_shared<std::string>();
  auto second = std::make_shared<std::string>();
  CLI::App* get = line.app.add_subcommand("get", "Copy a file out of an unmounted volume");
  get->add_option("from", *first, "Volume and path in it")->required()->type_name("TARGET:/PATH");
  get->add_option("to", *second, "A new file on this host")->required()->type_name("FILE");
  get->callback([&line, first, second] {
    CatchInterrupts();
    line.exit_code = ExitCodeOf("get", GetFile(ParseTargetPath(*first), *second));
  });
  CLI::App* put = line.app.add_subcommand("put", "Copy a file into an unmounted volume");
  put->add_option("from", *first, "A file on this host")->required()->type_name("FILE");
  put->add_option("to", *second, "Volume and a new path in it")
      ->required()
      ->type_name("TARGET:/PATH");
  put->callback([&line, first, second] {
    CatchInterrupts();
    line.exit_code = ExitCodeOf("put", PutFile(*first, ParseTargetPath(*second)));
  });
}

}  // namespace

void AddFileCommands(CommandLine& line) {
  AddList(line);
  AddPlaceCommand(line, "cat", "Print a file of an unmounted volume", Access::kRead,
                  [](const std::string& path) {
                    return std::make_unique<ReadTask>(path, STDOUT_FILENO, /*with_bar=*/false);
                  });
  AddCopies(line);
  AddPlaceCommand(line, "rm", "Remove a file or an empty directory of an unmounted volume",
                  Access::kWrite,
                  [](const std::string& path) { return std::make_unique<RemoveTask>(path); });
  AddPlaceCommand(
      line, "mkdir", "Make a directory on an unmounted volume", Access::kWrite,
      [](const std::string& path) { return std::make_unique<MakeDirectoryTask>(path); });
}

}  // namespace stratad
