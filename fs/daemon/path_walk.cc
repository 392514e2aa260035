#include "fs/daemon/path_walk.h"

namespace stratad {
namespace {

class EntryCollector final : public fss::DirectorySink {
 public:
  explicit EntryCollector(std::vector<ListedEntry>& entries) : entries_(entries) {}

  bool Add(const fss::DirectoryEntry& entry) override {
    if (entry.name != "." && entry.name != "..") {
      entries_.push_back({std::string(entry.name), entry.inode, entry.type});
    }
    return true;
  }

 private:
  std::vector<ListedEntry>& entries_;
};

// Takes the first component off `path`.
std::string_view TakeComponent(std::string_view& path) {
  while (path.starts_with('/')) path.remove_prefix(1);
  const std::string_view name = path.substr(0, path.find('/'));
  path.remove_prefix(name.size());
  return name;
}

}  // namespace

PathWalk::~PathWalk() {
  for (const fss::InodeNumber inode : lookups_) file_system_.Forget(inode, 1);
}

base::Task<base::Result<fss::Attributes>> PathWalk::Find(std::string_view path) {
  CO_TRY(fss::Attributes at, co_await file_system_.GetAttributes(file_system_.root()));
  while (true) {
    const std::string_view name = TakeComponent(path);
    if (name.empty()) co_return at;
    base::Result<fss::Attributes> next = co_await file_system_.Lookup(at.inode, name);
    if (!next) co_return next.error().Within(name);
    lookups_.push_back(next->inode);
    at = *next;
  }
}

SplitPath SplitLast(std::string_view path) {
  while (path.ends_with('/')) path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return {{}, path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

base::Task<base::Status> ListDirectory(fss::FileSystem& file_system, fss::InodeNumber directory,
                                       std::vector<ListedEntry>& entries) {
  EntryCollector collector(entries);
  const base::Status read = co_await file_system.ReadDirectory(directory, 0, collector);
  co_return read;
}

}  // namespace stratad
