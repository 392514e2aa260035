// `ForwardingFileSystem` and `ForwardingFile`: pass everything on; a filter overrides what it
// changes.
//
// Forwarding returns the child's task and is no coroutine: it costs one virtual call. Thread rule:
// as the file system below. Place in the stack: base of filters between drivers and their users.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fs/fss/file_system.h"

namespace fss {

class ForwardingFile : public File {
 public:
  explicit ForwardingFile(std::unique_ptr<File> below) : below_(std::move(below)) {}

  InodeNumber inode() const override { return below_->inode(); }

  uint64_t size_bytes() const override { return below_->size_bytes(); }

  base::Task<base::Result<uint64_t>> Read(base::IoRequest request) override {
    return below_->Read(request);
  }

  base::Task<base::Result<uint64_t>> Write(base::IoRequest request) override {
    return below_->Write(request);
  }

  base::Task<base::Status> Sync(bool data_only) override { return below_->Sync(data_only); }

  base::Task<base::Status> Allocate(AllocateMode mode, uint64_t offset_bytes,
                                    uint64_t length_bytes) override {
    return below_->Allocate(mode, offset_bytes, length_bytes);
  }

  base::Task<base::Status> AllocateKeepingTimes(AllocateMode mode, uint64_t offset_bytes,
                                                uint64_t length_bytes) override {
    return below_->AllocateKeepingTimes(mode, offset_bytes, length_bytes);
  }

  base::Task<base::Result<uint64_t>> Seek(SeekKind kind, uint64_t offset_bytes) override {
    return below_->Seek(kind, offset_bytes);
  }

  base::Task<base::Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                     std::vector<base::MapRun>& runs) override {
    return below_->MapStatus(offset_bytes, length_bytes, runs);
  }

  base::Task<base::Result<uint64_t>> CopyFrom(File& source, uint64_t source_offset_bytes,
                                              uint64_t offset_bytes,
                                              uint64_t length_bytes) override {
    return below_->CopyFrom(source, source_offset_bytes, offset_bytes, length_bytes);
  }

  File& driver_file() override { return below_->driver_file(); }

  base::Task<base::Status> Close() override { return below_->Close(); }

 protected:
  File& below() { return *below_; }

 private:
  std::unique_ptr<File> below_;
};

class ForwardingFileSystem : public FileSystem {
 public:
  // `below` outlives the filter.
  explicit ForwardingFileSystem(FileSystem& below) : below_(below) {}

  InodeNumber root() const override { return below_.root(); }

  const std::string& label() const override { return below_.label(); }

  const std::string& uuid() const override { return below_.uuid(); }

  bool read_only() const override { return below_.read_only(); }

  base::Task<base::Result<Attributes>> Lookup(InodeNumber parent, std::string_view name) override {
    return below_.Lookup(parent, name);
  }

  void Forget(InodeNumber inode, uint64_t count) override { below_.Forget(inode, count); }

  base::Task<base::Result<Attributes>> GetAttributes(InodeNumber inode) override {
    return below_.GetAttributes(inode);
  }

  base::Task<base::Result<Attributes>> SetAttributes(InodeNumber inode,
                                                     AttributeChange change) override {
    return below_.SetAttributes(inode, change);
  }

  base::Task<base::Result<Attributes>> CreateFile(InodeNumber parent, std::string_view name,
                                                  NewInode attributes) override {
    return below_.CreateFile(parent, name, attributes);
  }

  base::Task<base::Result<Attributes>> MakeDirectory(InodeNumber parent, std::string_view name,
                                                     NewInode attributes) override {
    return below_.MakeDirectory(parent, name, attributes);
  }

  base::Task<base::Result<Attributes>> MakeSymlink(InodeNumber parent, std::string_view name,
                                                   std::string_view target,
                                                   NewInode attributes) override {
    return below_.MakeSymlink(parent, name, target, attributes);
  }

  base::Task<base::Result<std::string>> ReadSymlink(InodeNumber inode) override {
    return below_.ReadSymlink(inode);
  }

  base::Task<base::Status> Unlink(InodeNumber parent, std::string_view name) override {
    return below_.Unlink(parent, name);
  }

  base::Task<base::Status> RemoveDirectory(InodeNumber parent, std::string_view name) override {
    return below_.RemoveDirectory(parent, name);
  }

  base::Task<base::Status> Rename(InodeNumber from_parent, std::string_view from_name,
                                  InodeNumber to_parent, std::string_view to_name,
                                  bool no_replace) override {
    return below_.Rename(from_parent, from_name, to_parent, to_name, no_replace);
  }

  base::Task<base::Result<std::unique_ptr<File>>> Open(InodeNumber inode, OpenMode mode) override {
    return below_.Open(inode, mode);
  }

  base::Task<base::Result<Attributes>> MakeRawDeviceMap(InodeNumber parent, std::string_view name,
                                                        RawDevice device,
                                                        NewInode attributes) override {
    return below_.MakeRawDeviceMap(parent, name, device, attributes);
  }

  base::Task<base::Result<std::string>> GetRawDeviceId(InodeNumber inode) override {
    return below_.GetRawDeviceId(inode);
  }

  base::Task<base::Result<LockState>> GetLockState(InodeNumber inode) override {
    return below_.GetLockState(inode);
  }

  base::Task<base::Status> ReplaceContents(std::span<const Replacement> replacements) override {
    return below_.ReplaceContents(replacements);
  }

  base::Task<base::Status> ReadDirectory(InodeNumber inode, uint64_t cursor,
                                         DirectorySink& sink) override {
    return below_.ReadDirectory(inode, cursor, sink);
  }

  base::Task<base::Result<StatFs>> GetStatFs() override { return below_.GetStatFs(); }

  base::Task<base::Status> SyncAll() override { return below_.SyncAll(); }

  base::Task<base::Status> Unmount() override { return below_.Unmount(); }

 protected:
  FileSystem& below() { return below_; }

 private:
  FileSystem& below_;
};

}  // namespace fss
