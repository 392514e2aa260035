// `MemoryFileSystem`: a complete, simple `fss::FileSystem` in memory. The model of model tests, and
// the file system under tests of what stands on one.
//
// Faults: every call is counted; `FailAt(n)` fails the nth call once, `CutAt(n)` fails it and all
// that follow, as when the power goes. `Recover` gives back what a crash leaves. A write is durable
// after Sync of its file, a name after SyncAll; `Crash` says how much of the rest is lost.
// Thread rule: one thread. Answers at once: nothing here suspends.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "fs/fss/file_system.h"

namespace fss {

class MemoryFileSystem : public FileSystem {
 public:
  static constexpr uint64_t kBlockBytes = 4096;
  static constexpr uint64_t kNameBytesMax = 127;

  enum class Crash : uint8_t {
    kLosesNothing,       // a killed process: the kernel still has everything
    kLosesUnsyncedData,  // names are there, contents go back to their last Sync
    kLosesAllUnsynced,   // names go back to the last SyncAll, too
  };

  explicit MemoryFileSystem(std::string label = "memory", uint64_t blocks_max = UINT64_MAX);
  ~MemoryFileSystem() override;

  // Fails call number `call_number` (counted from 1 since the last of these) with `code`.
  void FailAt(uint64_t call_number, base::Code code = base::Code::kIo);
  // Fails that call and all later ones with kDeviceLost.
  void CutAt(uint64_t call_number);
  void StopFailing();

  // Calls since the last FailAt, CutAt or StopFailing.
  uint64_t call_count() const { return call_count_; }

  // Whether the fault was reached.
  bool has_failed() const { return has_failed_; }

  // After a cut, with every file closed: the state the next mount finds. Faults are off.
  void Recover(Crash crash);

  // Whether ReplaceContents works, as on a driver with a journal, or answers kUnsupported.
  void set_replaces_contents(bool replaces) { replaces_contents_ = replaces; }

  void set_read_only(bool read_only) { is_read_only_ = read_only; }

  // Lookups that were not given back; 0 when every caller keeps the rule.
  uint64_t lookups_held() const;

  InodeNumber root() const override { return kRoot; }

  const std::string& label() const override { return label_; }

  const std::string& uuid() const override { return uuid_; }

  bool read_only() const override { return is_read_only_; }

  base::Task<base::Result<Attributes>> Lookup(InodeNumber parent, std::string_view name) override;
  void Forget(InodeNumber inode, uint64_t count) override;
  base::Task<base::Result<Attributes>> GetAttributes(InodeNumber inode) override;
  base::Task<base::Result<Attributes>> SetAttributes(InodeNumber inode,
                                                     AttributeChange change) override;
  base::Task<base::Result<Attributes>> CreateFile(InodeNumber parent, std::string_view name,
                                                  NewInode attributes) override;
  base::Task<base::Result<Attributes>> MakeDirectory(InodeNumber parent, std::string_view name,
                                                     NewInode attributes) override;
  base::Task<base::Result<Attributes>> MakeSymlink(InodeNumber parent, std::string_view name,
                                                   std::string_view target,
                                                   NewInode attributes) override;
  base::Task<base::Result<std::string>> ReadSymlink(InodeNumber inode) override;
  base::Task<base::Status> Unlink(InodeNumber parent, std::string_view name) override;
  base::Task<base::Status> RemoveDirectory(InodeNumber parent, std::string_view name) override;
  base::Task<base::Status> Rename(InodeNumber from_parent, std::string_view from_name,
                                  InodeNumber to_parent, std::string_view to_name,
                                  bool no_replace) override;
  base::Task<base::Result<std::unique_ptr<File>>> Open(InodeNumber inode, OpenMode mode) override;
  base::Task<base::Status> ReplaceContents(std::span<const Replacement> replacements) override;
  base::Task<base::Status> ReadDirectory(InodeNumber inode, uint64_t cursor,
                                         DirectorySink& sink) override;
  base::Task<base::Result<StatFs>> GetStatFs() override;
  base::Task<base::Status> SyncAll() override;
  base::Task<base::Status> Unmount() override;

 private:
  friend class MemoryFile;
  static constexpr InodeNumber kRoot = 1;

  using Block = std::array<std::byte, kBlockBytes>;

  struct Entry {
    InodeNumber inode = 0;
    uint64_t cursor = 0;  // place in the directory, never used again
  };

  struct Node {
    Attributes attributes;
    std::map<std::string, Entry, std::less<>> entries;        // of a directory
    InodeNumber parent = 0;                                   // of a directory
    std::string target;                                       // of a symlink
    std::map<uint64_t, std::shared_ptr<const Block>> blocks;  // null: allocated, reads as zeros
  };

  using Nodes = std::map<InodeNumber, Node>;

  base::Status Count();        // counts a call, answers its fault
  base::Status CountChange();  // the same for a call that modifies
  Node* Find(InodeNumber inode);
  base::Result<Node*> FindDirectory(InodeNumber inode);
  base::Result<Attributes> Make(InodeNumber parent, std::string_view name, NewInode attributes,
                                FileType type, std::string_view target);
  base::Status Remove(InodeNumber parent, std::string_view name, bool is_directory);
  base::Status CheckReplacements(std::span<const Replacement> replacements);
  base::Status CheckReplace(const Node& source, const Node& target) const;
  bool IsInside(InodeNumber folder, InodeNumber inode);
  void Detach(Node& parent, std::string_view name);
  void DropIfUnused(InodeNumber inode);
  void Touch(Node& node, bool content);
  base::Status SetSize(Node& node, uint64_t size_bytes);
  base::Status PutBlock(Node& node, uint64_t index, std::shared_ptr<const Block> block);
  void DropBlock(Node& node, uint64_t index);
  base::Status WriteBytes(Node& node, uint64_t offset_bytes, std::span<const std::byte> bytes);
  static void ReadBytes(const Node& node, uint64_t offset_bytes, std::span<std::byte> bytes);
  base::Status ZeroBytes(Node& node, uint64_t offset_bytes, uint64_t length_bytes);
  static base::MapState StateAt(const Node& node, uint64_t index);

  std::string label_;
  std::string uuid_ = "00000000-00000000-0000-000000000000";
  bool is_read_only_ = false;
  bool replaces_contents_ = false;
  uint64_t blocks_max_;
  uint64_t blocks_used_ = 0;
  InodeNumber next_inode_ = kRoot + 1;
  uint64_t next_cursor_ = 3;  // 1 and 2 are "." and ".."
  uint64_t clock_us_ = 1'700'000'000'000'000;
  Nodes nodes_;
  Nodes durable_;
  std::map<InodeNumber, uint64_t> lookup_counts_;
  std::map<InodeNumber, uint64_t> open_counts_;
  uint64_t call_count_ = 0;
  uint64_t fail_at_ = 0;
  bool is_cut_ = false;
  bool has_failed_ = false;
  base::Code fail_code_ = base::Code::kIo;
};

}  // namespace fss
