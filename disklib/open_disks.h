// `OpenDisks`: which files of one file system belong to disks that are open, and who opened them.
//
// The rule of ESX: while a disk is open for writing, the descriptor and extents of its leaf cannot
// be opened in another way, not even to read (a copy of a live disk is none); the links below are
// frozen: everybody may read them, nobody write. A disk cannot be opened while one of its files is
// open for writing as a plain file. Refusals name the holder. The mount asks here in its truncate,
// unlink and rename (`HolderOf`), and reports plain files that are opened (`OpenFile`,
// `CloseFile`). Thread rule: one executor. Files are named by inode number within one file system.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fs/base/result.h"
#include "fs/fss/file_system.h"

namespace disklib {

struct DiskHolder {
  std::string disk;       // path of the descriptor: "vm/vm.vmdk"
  std::string user = {};  // who uses it, for people: "devices/vdisks", "strata disk extend"
  bool writes = false;
  bool is_closing = false;  // its last user has closed it; it goes within moments
  bool is_parent = false;   // holds files of links below the leaf: frozen, readable by everybody
  bool is_elsewhere = false;  // the disk itself is on another file system

  // "disk vm/vm.vmdk is open for writing (devices/vdisks)"; of a parent's files: "disk
  // vm/vm-000001.vmdk stands on it (devices/vdisks)"
  std::string Describe() const;
};

class OpenDisks {
 public:
  OpenDisks() = default;
  OpenDisks(const OpenDisks&) = delete;
  OpenDisks& operator=(const OpenDisks&) = delete;
  ~OpenDisks();

  // One open disk's hold on its files; destroying it lets go. Must not outlive the OpenDisks.
  class Claim {
   public:
    Claim() = default;

    Claim(Claim&& other) noexcept
        : disks_(other.disks_),
          holder_(std::move(other.holder_)),
          elsewhere_(std::move(other.elsewhere_)) {}

    Claim& operator=(Claim&& other) noexcept;

    ~Claim() { Release(); }

    bool held() const { return holder_ != nullptr; }

    const DiskHolder& holder() const { return *holder_; }

    void Release();

    // Turns a reading claim into a writing one. Errors: kBusy; the claim then stays as it was.
    base::Status AllowWrites();

    void ForbidWrites() { holder_->writes = false; }

    // The disk is being closed: whoever is refused may wait for that.
    void BeginClosing();

    // Takes the files of another claim over; that one lets go. Both are of one disk, and the other
    // one may have been writing.
    void TakeOver(Claim&& other);

    // Keeps a claim on files of another file system, to be let go of together with this one.
    void Keep(Claim elsewhere) { elsewhere_.push_back(std::move(elsewhere)); }

    // Adds a file to the claim: a new extent. Errors: kBusy.
    base::Status Add(fss::InodeNumber inode);

    // A file of the claim was replaced by another inode. Errors: kBusy.
    base::Status Replace(fss::InodeNumber old_inode, fss::InodeNumber new_inode);

   private:
    friend class OpenDisks;

    Claim(OpenDisks& disks, DiskHolder holder)
        : disks_(&disks), holder_(std::make_unique<DiskHolder>(std::move(holder))) {}

    OpenDisks* disks_ = nullptr;
    std::unique_ptr<DiskHolder> holder_;  // stable address: the table points here
    std::vector<Claim> elsewhere_;
  };

  // Claims the files of a disk. Many disks may read one file; a disk that writes has it alone.
  // Errors: kBusy with the holder's description.
  base::Result<Claim> ClaimFiles(std::span<const fss::InodeNumber> inodes, DiskHolder holder);

  // The disk that has this file open for writing, else one that has it open for reading, else null.
  // Valid until the next call.
  const DiskHolder* HolderOf(fss::InodeNumber inode) const;

  // Reports that a plain file is opened. To read: refused while a writing disk holds it. To write:
  // refused while any disk holds it, and no disk can be opened over it until `CloseFile`. Errors:
  // kBusy with the holder's description.
  base::Status OpenFile(fss::InodeNumber inode, bool writes);
  void CloseFile(fss::InodeNumber inode, bool writes);

  // Whether it is open for writing as a plain file.
  bool IsPlainlyWritten(fss::InodeNumber inode) const {
    return plain_writer_counts_.contains(inode);
  }

  // Whether a disk is being closed.
  bool has_closing() const { return closing_count_ > 0; }

  bool empty() const { return holders_.empty(); }

  // Every disk that is open, once each, for listings: the claims of leaves, and of disks elsewhere
  // that have parents here.
  std::vector<DiskHolder> List() const;

 private:
  base::Status CheckFree(fss::InodeNumber inode, const DiskHolder& wanted) const;
  base::Status CheckNoPlainWriter(fss::InodeNumber inode, const DiskHolder& wanted) const;
  void ReleaseAll(const DiskHolder* holder);

  std::multimap<fss::InodeNumber, const DiskHolder*> holders_;
  std::unordered_map<fss::InodeNumber, uint32_t> plain_writer_counts_;
  uint32_t closing_count_ = 0;
};

}  // namespace disklib
