// `SparseStore`: the bytes of a simulated disk, up to 64 TiB, of which only touched pages exist.
//
// A store may stand on another one that no longer changes; it then holds what differs. Copies share
// pages until one of them writes. Plain value, one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "fs/base/block_device.h"

namespace base {

class SparseStore {
 public:
  SparseStore() = default;

  explicit SparseStore(std::shared_ptr<const SparseStore> below) : below_(std::move(below)) {}

  void Read(uint64_t offset_bytes, std::span<std::byte> target) const;
  void Write(uint64_t offset_bytes, std::span<const std::byte> source);

  // The range reads as zeros; whole pages of it take no room any more.
  void Zero(uint64_t offset_bytes, uint64_t length_bytes);

  // Appends data and holes of the range, by pages.
  void Map(uint64_t offset_bytes, uint64_t length_bytes, std::vector<MapRun>& runs) const;

 private:
  static constexpr uint64_t kPageSize = 4096;
  using Page = std::array<std::byte, kPageSize>;
  // A null page is a hole that hides a page below.
  using Pages = std::map<uint64_t, std::shared_ptr<Page>>;

  const Page* Find(uint64_t number) const;
  Page& Writable(uint64_t number);
  void DropPages(uint64_t begin, uint64_t end);
  uint64_t NextKnown(uint64_t number, uint64_t end) const;

  std::shared_ptr<const SparseStore> below_;  // shared: many stores may stand on one
  Pages pages_;
};

}  // namespace base
