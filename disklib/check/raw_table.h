// `RawTable`: a grain table or directory as it lies in the file, entry by entry. Internal to
// `disklib/check`.
//
// Thread rule: a plain value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "disklib/descriptor.h"
#include "fs/base/on_disk.h"

namespace disklib::check {

// `Entry` is base::Le32 or base::Le64.
template <typename Entry>
class RawTable {
 public:
  explicit RawTable(size_t count = 0) : bytes_(count * sizeof(Entry)) {}

  size_t count() const { return bytes_.size() / sizeof(Entry); }

  auto Get(size_t index) const {
    const Entry entry = base::LoadAs<Entry>(bytes_, index * sizeof(Entry));
    return +entry;
  }

  template <typename Value>
  void Set(size_t index, Value value) {
    Assume(index, value);
    changed_sectors_.insert(index * sizeof(Entry) / kSectorBytes);
  }

  // Takes an entry for another value in memory only: it is not written.
  template <typename Value>
  void Assume(size_t index, Value value) {
    base::StoreAs(std::span<std::byte>(bytes_), index * sizeof(Entry), Entry(value));
  }

  std::span<std::byte> bytes() { return bytes_; }

  // Sectors of the table that Set was called in since the last Reset.
  const std::set<size_t>& changed_sectors() const { return changed_sectors_; }

  void Reset() { changed_sectors_.clear(); }

 private:
  std::vector<std::byte> bytes_;
  std::set<size_t> changed_sectors_;
};

}  // namespace disklib::check
