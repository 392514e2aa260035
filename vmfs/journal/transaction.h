// `Transaction`: one operation's part in the running transaction of the journal.
//
// Protocol of every metadata operation: begin with a worst-case number of blocks *before* taking
// the first lock; take locks; read everything; then modify; then let go. An operation that fails
// does so before its first `Modify`, so that nothing half done is ever committed; if it cannot (an
// error behind a modification) it calls `Abort`, and the volume stops writing. Thread rule: the
// volume's executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "vmfs/journal/metadata_cache.h"

namespace vmfs {

class Journal;

class Transaction {
 public:
  Transaction() = default;

  Transaction(Transaction&& other) noexcept
      : journal_(std::exchange(other.journal_, nullptr)),
        credits_(other.credits_),
        modified_any_(other.modified_any_) {}

  Transaction& operator=(Transaction&& other) noexcept {
    End();
    journal_ = std::exchange(other.journal_, nullptr);
    credits_ = other.credits_;
    modified_any_ = other.modified_any_;
    return *this;
  }

  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  ~Transaction() { End(); }

  // Makes the block part of the running transaction and hands out its bytes for writing.
  // `covering_lock` is the volume address of the lock block that protects it. The bytes may be
  // written until the next suspension point.
  std::span<std::byte, kMetadataBlockBytes> Modify(MetadataBlock& block, uint64_t covering_lock);

  // Says that modifications were begun and cannot be completed: the journal stops for good.
  void Abort();

  // Ends the operation: its modifications will be committed together.
  void End();

  bool active() const { return journal_ != nullptr; }

  Journal* journal() const { return journal_; }

  bool modified_any() const { return modified_any_; }

 private:
  friend class Journal;

  Transaction(Journal& journal, uint32_t credits) : journal_(&journal), credits_(credits) {}

  Journal* journal_ = nullptr;
  uint32_t credits_ = 0;  // blocks this operation may still add
  bool modified_any_ = false;
};

}  // namespace vmfs
