// Every directory's contents, against the descriptors its names stand for.
#include <string>
#include <utility>
#include <vector>

#include "vmfs/fsck/directory_bytes.h"
#include "vmfs/fsck/state.h"

namespace vmfs::fsck {
namespace {

using base::Status;
using base::Task;

constexpr uint64_t kDirectoryBytesMax = uint64_t{64} << 20;

class EntryCheck final : public DirectorySink {
 public:
  EntryCheck(State& state, FdAddress self) : state_(state), self_(self) {}

  void Problem(FindingSeverity severity, FindingCode code, std::string text) override {
    state_.Add(severity, code, "directory " + self_.ToString() + ": " + std::move(text),
               PlaceOf(self_));
  }

  void OwnRecords(const DirectoryRecord& dot, const DirectoryRecord& dot_dot) override {
    const InodeSummary& self = state_.inodes[state_.InodeIndex(self_)];
    if (dot.address() != self_ || dot.generation != self.generation) {
      Problem(FindingSeverity::kError, FindingCode::kParent,
              "\".\" is " + dot.address().ToString());
    }
    const FdAddress parent = self.parent == 0 ? kRootFd : FdAddress(self.parent);
    if (dot_dot.address() != parent) {
      Problem(FindingSeverity::kError, FindingCode::kParent,
              "\"..\" is " + dot_dot.address().ToString() + ", its parent " + parent.ToString());
    }
  }

  void Entry(const DirectoryRecord& record) override {
    ++state_.report().counters.names;
    const std::string name(record.name());
    const FdAddress fd = record.address();
    const uint64_t index = state_.InodeIndex(fd);
    if (state_.collects_names) {
      state_.names.push_back({self_.raw(), fd.raw(), record.generation, record.type_value,
                              record.file_offset});
    }
    const bool is_in_range = fd.item() < 256 && index < state_.inodes.size();
    if (is_in_range && !state_.fds.marked.Get(index)) {
      unmarked_.push_back(record);
      return;
    }
    if (!is_in_range || state_.inodes[index].type == 0) {
      Problem(FindingSeverity::kError, FindingCode::kDanglingEntry,
              "\"" + name + "\" is " + fd.ToString() + ", which does not exist");
      return;
    }
    InodeSummary& inode = state_.inodes[index];
    ++inode.name_count;
    if (inode.generation != record.generation || inode.type != record.type_value) {
      Problem(FindingSeverity::kError, FindingCode::kDanglingEntry,
              fmt::format("\"{}\" is {} of generation {} and type {}; it has {} and {}", name,
                          fd.ToString(), uint32_t{record.generation}, uint32_t{record.type_value},
                          inode.generation, inode.type));
    }
    // System files say 0 instead of the root.
    const FdAddress parent = inode.parent == 0 ? kRootFd : FdAddress(inode.parent);
    if (parent != self_) {
      Problem(FindingSeverity::kError, FindingCode::kParent,
              "\"" + name + "\" says its directory is " + parent.ToString());
    }
    if (inode.is_directory() || fd == kSddFd) {
      ++state_.inodes[state_.InodeIndex(self_)].subdirectory_count;
    }
  }

  // Names of descriptors that are marked free. One that is alive was marked so by mistake.
  Task<Status> FinishUnmarked() {
    for (const DirectoryRecord& record : unmarked_) {
      const FdAddress fd = record.address();
      MetadataBytes block;
      const Status read = co_await state_.volume().ReadInodeBlock(fd, block);
      const auto inode = DecodeInode(block, fd);
      const bool is_alive = read && inode && inode->generation == record.generation &&
                            inode->type_value == record.type_value && inode->link_count > 0;
      if (is_alive) {
        state_.unmarked_fds.push_back(fd);
        state_.Error(PlaceOf(fd), FindingCode::kBlockNotMarked,
                     "{}: \"{}\" in directory {}, but marked free", fd.ToString(), record.name(),
                     self_.ToString());
      } else {
        Problem(FindingSeverity::kError, FindingCode::kDanglingEntry,
                fmt::format("\"{}\" is {}, which does not exist", record.name(), fd.ToString()));
      }
    }
    co_return base::Ok();
  }

 private:
  State& state_;
  const FdAddress self_;
  std::vector<DirectoryRecord> unmarked_;
};

Task<Status> CheckDirectory(State& state, FdAddress fd) {
  MetadataBytes block;
  const Status read = co_await state.volume().ReadInodeBlock(fd, block);
  if (!read) {
    state.Error(PlaceOf(fd), FindingCode::kUnreadable, "{}: {}", fd.ToString(),
                read.error().message());
    co_return base::Ok();
  }
  const auto inode = DecodeInode(block, fd);
  if (!inode) co_return base::Ok();  // reported with the descriptors
  const InodeMetadata metadata = *inode;
  auto bytes = co_await state.volume().ReadFile(&metadata, &block, kDirectoryBytesMax);
  if (!bytes) {
    state.Error(PlaceOf(fd), FindingCode::kUnreadable, "directory {}: {}", fd.ToString(),
                bytes.error().message());
    co_return base::Ok();
  }
  EntryCheck check(state, fd);
  DirectoryTraits traits;
  traits.is_root = fd == kRootFd;
  traits.is_ours = state.report().is_ours;
  CheckDirectoryBytes(*bytes, traits, check);
  co_return co_await check.FinishUnmarked();
}

}  // namespace

Task<Status> CheckDirectories(State& state) {
  const uint64_t total = state.inodes.size();
  for (uint64_t index = 0; index < total; ++index) {
    if (index % 256 == 0) CO_TRY_STATUS(state.Progress("directories", index, total));
    const FdAddress fd = FdAddress::Make(static_cast<uint32_t>(index / 256),
                                         static_cast<uint32_t>(index % 256));
    const bool is_directory =
        state.inodes[index].type == static_cast<uint8_t>(InodeType::kDirectory) ||
        (fd == kSddFd && state.inodes[index].type != 0);
    if (is_directory) CO_TRY_STATUS(co_await CheckDirectory(state, fd));
  }
  co_return base::Ok();
}

}  // namespace vmfs::fsck
