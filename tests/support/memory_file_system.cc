#include "tests/support/memory_file_system.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "fs/base/check.h"

namespace fss {

using base::Code;
using base::Error;
using base::IoRequest;
using base::IoVec;
using base::MapRun;
using base::MapState;
using base::Result;
using base::Status;
using base::Task;

// An open file of the model.
class MemoryFile : public File {
 public:
  MemoryFile(MemoryFileSystem& file_system, InodeNumber inode, bool can_write)
      : file_system_(file_system), inode_(inode), can_write_(can_write) {}

  ~MemoryFile() override { CHECK(is_closed_ || file_system_.is_cut_); }

  InodeNumber inode() const override { return inode_; }

  uint64_t size_bytes() const override { return node().attributes.size_bytes; }

  Task<Result<uint64_t>> Read(IoRequest request) override {
    CO_TRY_STATUS(file_system_.Count());
    const uint64_t size = size_bytes();
    uint64_t done_bytes = 0;
    for (const IoVec& piece : request.buffers) {
      const uint64_t at = request.offset_bytes + done_bytes;
      const uint64_t length = at >= size ? 0 : std::min<uint64_t>(piece.size_bytes, size - at);
      MemoryFileSystem::ReadBytes(node(), at, {piece.data, length});
      done_bytes += length;
    }
    co_return done_bytes;
  }

  Task<Result<uint64_t>> Write(IoRequest request) override {
    CO_TRY_STATUS(CountWrite());
    uint64_t done_bytes = 0;
    for (const IoVec& piece : request.buffers) {
      const Status written = file_system_.WriteBytes(node(), request.offset_bytes + done_bytes,
                                                     {piece.data, piece.size_bytes});
      if (!written && done_bytes > 0) break;
      if (!written) co_return written.error();
      done_bytes += piece.size_bytes;
    }
    if (request.fua) MakeDurable();
    co_return done_bytes;
  }

  Task<Status> Sync(bool) override {
    CO_TRY_STATUS(file_system_.Count());
    MakeDurable();
    co_return base::Ok();
  }

  Task<Status> Allocate(AllocateMode mode, uint64_t offset_bytes, uint64_t length_bytes) override {
    CO_TRY_STATUS(CountWrite());
    if (length_bytes == 0) co_return Error(Code::kInvalidArgument, "allocate: no length");
    co_return AllocateNow(mode, offset_bytes, length_bytes);
  }

  Task<Result<uint64_t>> Seek(SeekKind kind, uint64_t offset_bytes) override {
    CO_TRY_STATUS(file_system_.Count());
    const uint64_t size = size_bytes();
    if (offset_bytes >= size) co_return Error(Code::kNoData);
    for (uint64_t at = offset_bytes; at < size;) {
      const uint64_t index = at / MemoryFileSystem::kBlockBytes;
      const bool is_data = MemoryFileSystem::StateAt(node(), index) == MapState::kData;
      if (is_data == (kind == SeekKind::kData)) co_return at;
      at = NextChange(index) * MemoryFileSystem::kBlockBytes;
    }
    if (kind == SeekKind::kData) co_return Error(Code::kNoData);
    co_return size;
  }

  Task<Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                         std::vector<MapRun>& runs) override {
    CO_TRY_STATUS(file_system_.Count());
    const size_t first = runs.size();
    const uint64_t end_bytes = offset_bytes + length_bytes;
    for (uint64_t at = offset_bytes; at < end_bytes;) {
      const uint64_t index = at / MemoryFileSystem::kBlockBytes;
      const MapState state = MemoryFileSystem::StateAt(node(), index);
      const uint64_t stop = std::min(
          end_bytes, std::max(NextChange(index), index + 1) * MemoryFileSystem::kBlockBytes);
      if (runs.size() > first && runs.back().state == state) {
        runs.back().length_bytes += stop - at;
      } else {
        runs.push_back({at, stop - at, state});
      }
      at = stop;
    }
    co_return base::Ok();
  }

  Task<Status> Close() override {
    CHECK(!is_closed_);
    is_closed_ = true;
    --file_system_.open_counts_[inode_];
    file_system_.DropIfUnused(inode_);
    co_return file_system_.Count();
  }

 private:
  MemoryFileSystem::Node& node() const { return file_system_.nodes_.at(inode_); }

  Status CountWrite() {
    TRY_STATUS(file_system_.CountChange());
    if (!can_write_) return Error(Code::kPermission, "write: opened for reading");
    file_system_.Touch(node(), /*content=*/true);
    return base::Ok();
  }

  // The first block behind `index` that may be in another state.
  uint64_t NextChange(uint64_t index) const {
    const auto& blocks = node().blocks;
    const uint64_t block_count =
        (size_bytes() + MemoryFileSystem::kBlockBytes - 1) / MemoryFileSystem::kBlockBytes;
    if (blocks.contains(index)) return index + 1;
    const auto next = blocks.upper_bound(index);
    return next == blocks.end() ? std::max(block_count, index + 1) : next->first;
  }

  void MakeDurable() {
    const auto found = file_system_.durable_.find(inode_);
    if (found != file_system_.durable_.end()) {
      found->second = node();
    } else {
      file_system_.durable_.emplace(inode_, node());
    }
  }

  Status AllocateNow(AllocateMode mode, uint64_t offset_bytes, uint64_t length_bytes) {
    const uint64_t end_bytes = offset_bytes + length_bytes;
    const bool grows = mode == AllocateMode::kAllocate || mode == AllocateMode::kZeroRange;
    if (mode == AllocateMode::kPunchHole) return Punch(offset_bytes, end_bytes);
    for (uint64_t index = offset_bytes / MemoryFileSystem::kBlockBytes;
         index * MemoryFileSystem::kBlockBytes < end_bytes; ++index) {
      if (!node().blocks.contains(index)) {
        TRY_STATUS(file_system_.PutBlock(node(), index, nullptr));
      }
    }
    if (mode == AllocateMode::kZeroRange || mode == AllocateMode::kZeroRangeKeepSize) {
      TRY_STATUS(file_system_.ZeroBytes(node(), offset_bytes, length_bytes));
    }
    if (grows && end_bytes > size_bytes()) node().attributes.size_bytes = end_bytes;
    return base::Ok();
  }

  Status Punch(uint64_t offset_bytes, uint64_t end_bytes) {
    end_bytes = std::min(end_bytes, size_bytes());
    if (offset_bytes >= end_bytes) return base::Ok();
    TRY_STATUS(file_system_.ZeroBytes(node(), offset_bytes, end_bytes - offset_bytes));
    constexpr uint64_t kBlock = MemoryFileSystem::kBlockBytes;
    const uint64_t last =
        end_bytes == size_bytes() ? (end_bytes + kBlock - 1) / kBlock : end_bytes / kBlock;
    const uint64_t first = (offset_bytes + kBlock - 1) / kBlock;
    auto at = node().blocks.lower_bound(first);
    while (at != node().blocks.end() && at->first < last) {
      const uint64_t index = at->first;
      ++at;
      file_system_.DropBlock(node(), index);
    }
    return base::Ok();
  }

  MemoryFileSystem& file_system_;
  InodeNumber inode_;
  bool can_write_;
  bool is_closed_ = false;
};

MemoryFileSystem::MemoryFileSystem(std::string label, uint64_t blocks_max)
    : label_(std::move(label)), blocks_max_(blocks_max) {
  Node& root = nodes_[kRoot];
  root.attributes = {.inode = kRoot, .type = FileType::kDirectory, .mode = 0755, .link_count = 2};
  root.parent = kRoot;
  durable_ = nodes_;
}

MemoryFileSystem::~MemoryFileSystem() = default;

void MemoryFileSystem::FailAt(uint64_t call_number, Code code) {
  StopFailing();
  fail_at_ = call_number;
  fail_code_ = code;
}

void MemoryFileSystem::CutAt(uint64_t call_number) {
  FailAt(call_number, Code::kDeviceLost);
  is_cut_ = true;
}

void MemoryFileSystem::StopFailing() {
  call_count_ = 0;
  fail_at_ = 0;
  is_cut_ = false;
  has_failed_ = false;
}

Status MemoryFileSystem::Count() {
  ++call_count_;
  const bool fails = fail_at_ != 0 && (is_cut_ ? call_count_ >= fail_at_ : call_count_ == fail_at_);
  if (!fails) return base::Ok();
  has_failed_ = true;
  return Error(fail_code_, fmt::format("planted fault at call {}", call_count_));
}

Status MemoryFileSystem::CountChange() {
  TRY_STATUS(Count());
  if (is_read_only_) return Error(Code::kReadOnly);
  return base::Ok();
}

void MemoryFileSystem::Recover(Crash crash) {
  StopFailing();
  if (crash == Crash::kLosesAllUnsynced) nodes_ = durable_;
  if (crash == Crash::kLosesUnsyncedData) {
    for (auto& [inode, node] : nodes_) {
      if (node.attributes.type != FileType::kRegular) continue;
      const auto found = durable_.find(inode);
      node.blocks.clear();
      node.attributes.size_bytes = 0;
      if (found == durable_.end()) continue;
      node.blocks = found->second.blocks;
      node.attributes = found->second.attributes;
    }
  }
  lookup_counts_.clear();
  open_counts_.clear();
  std::set<InodeNumber> named = {kRoot};
  for (const auto& [inode, node] : nodes_) {
    for (const auto& [name, entry] : node.entries) named.insert(entry.inode);
  }
  std::erase_if(nodes_, [&named](const auto& entry) { return !named.contains(entry.first); });
  blocks_used_ = 0;
  for (auto& [inode, node] : nodes_) {
    blocks_used_ += node.blocks.size();
    node.attributes.allocated_bytes = node.blocks.size() * kBlockBytes;
  }
  durable_ = nodes_;
}

uint64_t MemoryFileSystem::lookups_held() const {
  uint64_t sum = 0;
  for (const auto& [inode, count] : lookup_counts_) sum += count;
  return sum;
}

MemoryFileSystem::Node* MemoryFileSystem::Find(InodeNumber inode) {
  const auto found = nodes_.find(inode);
  return found == nodes_.end() ? nullptr : &found->second;
}

Result<MemoryFileSystem::Node*> MemoryFileSystem::FindDirectory(InodeNumber inode) {
  Node* const node = Find(inode);
  if (node == nullptr) return Error(Code::kStale);
  if (node->attributes.type != FileType::kDirectory) return Error(Code::kNotDirectory);
  return node;
}

void MemoryFileSystem::Touch(Node& node, bool content) {
  node.attributes.changed_us = ++clock_us_;
  if (content) node.attributes.modified_us = clock_us_;
}

void MemoryFileSystem::DropIfUnused(InodeNumber inode) {
  const auto found = nodes_.find(inode);
  if (found == nodes_.end() || found->second.attributes.link_count > 0) return;
  if (lookup_counts_.contains(inode)) return;
  const auto open = open_counts_.find(inode);
  if (open != open_counts_.end() && open->second > 0) return;
  open_counts_.erase(inode);
  blocks_used_ -= found->second.blocks.size();
  nodes_.erase(found);
}

Result<Attributes> MemoryFileSystem::Make(InodeNumber parent, std::string_view name,
                                          NewInode attributes, FileType type,
                                          std::string_view target) {
  TRY_STATUS(CountChange());
  TRY(Node* const folder, FindDirectory(parent));
  if (name.empty() || name.find('/') != std::string_view::npos) return Error(Code::kNameInvalid);
  if (name.size() > kNameBytesMax) return Error(Code::kNameTooLong);
  if (folder->entries.contains(name)) return Error(Code::kExists);
  if (folder->attributes.link_count == 0) return Error(Code::kNotFound);
  const InodeNumber inode = next_inode_++;
  Node& node = nodes_[inode];
  node.attributes = {.inode = inode,
                     .type = type,
                     .mode = attributes.mode,
                     .uid = attributes.uid,
                     .gid = attributes.gid};
  node.target = target;
  if (type == FileType::kSymlink) node.attributes.size_bytes = target.size();
  if (type == FileType::kDirectory) {
    node.attributes.link_count = 2;
    node.parent = parent;
    ++folder->attributes.link_count;
  }
  Touch(node, true);
  folder->entries.emplace(name, Entry{.inode = inode, .cursor = next_cursor_++});
  Touch(*folder, true);
  ++lookup_counts_[inode];
  return node.attributes;
}

// Takes a name out of its folder and a link off what it named.
void MemoryFileSystem::Detach(Node& parent, std::string_view name) {
  const auto found = parent.entries.find(name);
  const InodeNumber inode = found->second.inode;
  parent.entries.erase(found);
  Touch(parent, true);
  Node& node = nodes_.at(inode);
  if (node.attributes.type == FileType::kDirectory) {
    --parent.attributes.link_count;
    node.attributes.link_count = 0;
  } else {
    --node.attributes.link_count;
  }
  Touch(node, false);
  DropIfUnused(inode);
}

Status MemoryFileSystem::Remove(InodeNumber parent, std::string_view name, bool is_directory) {
  TRY_STATUS(CountChange());
  TRY(Node* const folder, FindDirectory(parent));
  const auto found = folder->entries.find(name);
  if (found == folder->entries.end()) return Error(Code::kNotFound);
  const Node& node = nodes_.at(found->second.inode);
  const bool is_folder = node.attributes.type == FileType::kDirectory;
  if (is_directory && !is_folder) return Error(Code::kNotDirectory);
  if (!is_directory && is_folder) return Error(Code::kIsDirectory);
  if (!node.entries.empty()) return Error(Code::kNotEmpty);
  Detach(*folder, name);
  return base::Ok();
}

MapState MemoryFileSystem::StateAt(const Node& node, uint64_t index) {
  const auto found = node.blocks.find(index);
  if (found == node.blocks.end()) return MapState::kHole;
  return found->second == nullptr ? MapState::kZero : MapState::kData;
}

Status MemoryFileSystem::PutBlock(Node& node, uint64_t index, std::shared_ptr<const Block> block) {
  const auto found = node.blocks.find(index);
  if (found != node.blocks.end()) {
    found->second = std::move(block);
    return base::Ok();
  }
  if (blocks_used_ >= blocks_max_) return Error(Code::kNoSpace);
  ++blocks_used_;
  node.blocks.emplace(index, std::move(block));
  node.attributes.allocated_bytes = node.blocks.size() * kBlockBytes;
  return base::Ok();
}

void MemoryFileSystem::DropBlock(Node& node, uint64_t index) {
  if (node.blocks.erase(index) == 0) return;
  --blocks_used_;
  node.attributes.allocated_bytes = node.blocks.size() * kBlockBytes;
}

Status MemoryFileSystem::WriteBytes(Node& node, uint64_t offset_bytes,
                                    std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const uint64_t index = offset_bytes / kBlockBytes;
    const uint64_t from = offset_bytes % kBlockBytes;
    const size_t length = std::min<size_t>(bytes.size(), kBlockBytes - from);
    const auto found = node.blocks.find(index);
    auto block = found == node.blocks.end() || found->second == nullptr
                     ? std::make_shared<Block>()
                     : std::make_shared<Block>(*found->second);
    std::memcpy(block->data() + from, bytes.data(), length);
    TRY_STATUS(PutBlock(node, index, std::move(block)));
    offset_bytes += length;
    bytes = bytes.subspan(length);
    node.attributes.size_bytes = std::max(node.attributes.size_bytes, offset_bytes);
  }
  return base::Ok();
}

void MemoryFileSystem::ReadBytes(const Node& node, uint64_t offset_bytes,
                                 std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const uint64_t from = offset_bytes % kBlockBytes;
    const size_t length = std::min<size_t>(bytes.size(), kBlockBytes - from);
    const auto found = node.blocks.find(offset_bytes / kBlockBytes);
    if (found == node.blocks.end() || found->second == nullptr) {
      std::memset(bytes.data(), 0, length);
    } else {
      std::memcpy(bytes.data(), found->second->data() + from, length);
    }
    offset_bytes += length;
    bytes = bytes.subspan(length);
  }
}

// Makes bytes zero in blocks that hold data; whole blocks become allocated zeros.
Status MemoryFileSystem::ZeroBytes(Node& node, uint64_t offset_bytes, uint64_t length_bytes) {
  const uint64_t end_bytes = offset_bytes + length_bytes;
  for (auto at = node.blocks.lower_bound(offset_bytes / kBlockBytes);
       at != node.blocks.end() && at->first * kBlockBytes < end_bytes; ++at) {
    if (at->second == nullptr) continue;
    const uint64_t start = at->first * kBlockBytes;
    const uint64_t from = std::max(offset_bytes, start) - start;
    const uint64_t to = std::min(end_bytes, start + kBlockBytes) - start;
    if (to - from == kBlockBytes) {
      at->second = nullptr;
      continue;
    }
    auto block = std::make_shared<Block>(*at->second);
    std::memset(block->data() + from, 0, to - from);
    at->second = std::move(block);
  }
  return base::Ok();
}

Status MemoryFileSystem::SetSize(Node& node, uint64_t size_bytes) {
  if (node.attributes.type == FileType::kDirectory) return Error(Code::kIsDirectory);
  if (node.attributes.type != FileType::kRegular) return Error(Code::kInvalidArgument);
  const uint64_t old_bytes = node.attributes.size_bytes;
  if (size_bytes < old_bytes) {
    TRY_STATUS(ZeroBytes(node, size_bytes, old_bytes - size_bytes));
    const uint64_t keep_count = (size_bytes + kBlockBytes - 1) / kBlockBytes;
    while (!node.blocks.empty() && node.blocks.rbegin()->first >= keep_count) {
      DropBlock(node, node.blocks.rbegin()->first);
    }
  }
  node.attributes.size_bytes = size_bytes;
  Touch(node, true);
  return base::Ok();
}

Task<Result<Attributes>> MemoryFileSystem::Lookup(InodeNumber parent, std::string_view name) {
  CO_TRY_STATUS(Count());
  CO_TRY(Node* const folder, FindDirectory(parent));
  if (name.size() > kNameBytesMax) co_return Error(Code::kNameTooLong);
  const auto found = folder->entries.find(name);
  if (found == folder->entries.end()) co_return Error(Code::kNotFound);
  ++lookup_counts_[found->second.inode];
  co_return nodes_.at(found->second.inode).attributes;
}

void MemoryFileSystem::Forget(InodeNumber inode, uint64_t count) {
  const auto found = lookup_counts_.find(inode);
  CHECK(found != lookup_counts_.end() && found->second >= count);
  found->second -= count;
  if (found->second != 0) return;
  lookup_counts_.erase(found);
  DropIfUnused(inode);
}

Task<Result<Attributes>> MemoryFileSystem::GetAttributes(InodeNumber inode) {
  CO_TRY_STATUS(Count());
  const Node* const node = Find(inode);
  if (node == nullptr) co_return Error(Code::kStale);
  co_return node->attributes;
}

Task<Result<Attributes>> MemoryFileSystem::SetAttributes(InodeNumber inode,
                                                         AttributeChange change) {
  CO_TRY_STATUS(CountChange());
  Node* const node = Find(inode);
  if (node == nullptr) co_return Error(Code::kStale);
  if (change.size_bytes) CO_TRY_STATUS(SetSize(*node, *change.size_bytes));
  Attributes& attributes = node->attributes;
  Touch(*node, /*content=*/false);
  attributes.mode = change.mode.value_or(attributes.mode);
  attributes.uid = change.uid.value_or(attributes.uid);
  attributes.gid = change.gid.value_or(attributes.gid);
  attributes.modified_us = change.modified_us.value_or(attributes.modified_us);
  attributes.accessed_us = change.accessed_us.value_or(attributes.accessed_us);
  attributes.changed_us = change.changed_us.value_or(attributes.changed_us);
  co_return attributes;
}

Task<Result<std::unique_ptr<File>>> MemoryFileSystem::Open(InodeNumber inode, OpenMode mode) {
  CO_TRY_STATUS(Count());
  const Node* const node = Find(inode);
  if (node == nullptr) co_return Error(Code::kStale);
  if (node->attributes.type == FileType::kDirectory) co_return Error(Code::kIsDirectory);
  const bool can_write = Writes(mode);
  if (can_write && is_read_only_) co_return Error(Code::kReadOnly);
  ++open_counts_[inode];
  co_return std::make_unique<MemoryFile>(*this, inode, can_write);
}

Task<Status> MemoryFileSystem::ReadDirectory(InodeNumber inode, uint64_t cursor,
                                             DirectorySink& sink) {
  CO_TRY_STATUS(Count());
  CO_TRY(Node* const folder, FindDirectory(inode));
  std::map<uint64_t, DirectoryEntry> ordered;
  ordered[1] = {.name = ".", .inode = inode, .type = FileType::kDirectory, .next_cursor = 1};
  ordered[2] = {
      .name = "..", .inode = folder->parent, .type = FileType::kDirectory, .next_cursor = 2};
  for (const auto& [name, entry] : folder->entries) {
    ordered[entry.cursor] = {.name = name,
                             .inode = entry.inode,
                             .type = nodes_.at(entry.inode).attributes.type,
                             .next_cursor = entry.cursor};
  }
  for (auto at = ordered.upper_bound(cursor); at != ordered.end(); ++at) {
    if (!sink.Add(at->second)) break;
  }
  co_return base::Ok();
}

Task<Result<StatFs>> MemoryFileSystem::GetStatFs() {
  CO_TRY_STATUS(Count());
  const uint64_t total = std::min(blocks_max_, uint64_t{1} << 40);
  const StatFs answer{.block_size_bytes = kBlockBytes,
                      .blocks_total = total,
                      .blocks_free = total - std::min(total, blocks_used_),
                      .files_total = uint64_t{1} << 32,
                      .files_free = (uint64_t{1} << 32) - nodes_.size(),
                      .name_bytes_max = kNameBytesMax};
  co_return answer;
}

Status MemoryFileSystem::CheckReplacements(std::span<const Replacement> replacements) {
  std::set<InodeNumber> inodes;
  uint64_t total_bytes = 0;
  for (const Replacement& replacement : replacements) {
    const Node* node = Find(replacement.inode);
    if (node == nullptr) return Error(Code::kStale);
    if (node->attributes.type == FileType::kDirectory) return Error(Code::kIsDirectory);
    if (node->attributes.type != FileType::kRegular) return Error(Code::kInvalidArgument);
    if (!inodes.insert(replacement.inode).second) return Error(Code::kInvalidArgument);
    total_bytes += replacement.contents.size();
  }
  return total_bytes > kReplacementBytesMax ? Status(Error(Code::kTooLarge)) : base::Ok();
}

Task<Status> MemoryFileSystem::ReplaceContents(std::span<const Replacement> replacements) {
  if (!replaces_contents_) co_return Error(Code::kUnsupported);
  CO_TRY_STATUS(CountChange());
  CO_TRY_STATUS(CheckReplacements(replacements));
  for (const Replacement& replacement : replacements) {
    Node& node = *Find(replacement.inode);
    CO_TRY_STATUS(SetSize(node, 0));
    CO_TRY_STATUS(WriteBytes(node, 0, std::as_bytes(std::span(replacement.contents))));
    durable_.insert_or_assign(replacement.inode, node);
  }
  co_return base::Ok();
}

Task<Status> MemoryFileSystem::SyncAll() {
  CO_TRY_STATUS(Count());
  durable_ = nodes_;
  co_return base::Ok();
}

Task<Status> MemoryFileSystem::Unmount() {
  return SyncAll();
}

}  // namespace fss
