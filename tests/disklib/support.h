// What the tests of disklib share: a Lib over a file system in memory, and buffers to do I/O with.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "disklib/file_backend.h"
#include "disklib/lib.h"
#include "disklib/open_disks.h"
#include "disklib/operations.h"
#include "fs/base/sim_executor.h"
#include "tests/support/memory_file_system.h"

namespace disklib {

inline constexpr uint64_t kMebi = uint64_t{1} << 20;

// Bytes that tell their place: no two of these buffers agree by accident.
inline std::vector<std::byte> Pattern(uint64_t seed, size_t size_bytes) {
  base::Random random(seed);
  std::vector<std::byte> bytes(size_bytes);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.Below(255) + 1);
  return bytes;
}

// Everything a test needs on one executor. Members go in the reverse order.
struct Bench {
  base::SimExecutor executor{1, /*in_order=*/true};
  fss::MemoryFileSystem files;
  FileBackend backend{files};
  OpenDisks open_disks;
  Lib lib{executor, backend, open_disks};

  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(executor, std::move(task));
  }

  void Store(std::string_view path, std::string_view text) {
    const auto stored = Run(backend.ReplaceContents(path, text));
    ASSERT_TRUE(stored) << stored.error().message();
  }

  // The whole content, or "" with a failure when there is none.
  std::string Load(std::string_view path) {
    const auto text = Run(ReadObject(backend, path, 1 << 30));
    EXPECT_TRUE(text) << text.error().message();
    return text ? *text : std::string();
  }

  // Paths of the root folder and the sizes of the files.
  std::map<std::string, uint64_t> Listing();

  void Create(std::string_view path, NewDisk disk) {
    const base::Status created = Run(CreateDisk(lib, path, disk, nullptr));
    ASSERT_TRUE(created) << created.error().message();
  }

  std::unique_ptr<Chain> Open(std::string_view path, bool writable) {
    auto opened = Run(lib.Open(path, {.writable = writable, .user = "test"}));
    EXPECT_TRUE(opened) << opened.error().message();
    return opened ? *std::move(opened) : nullptr;
  }
};

// One transfer of one buffer, for callers that do not care about vectors.
template <typename Device>
auto ReadBytes(Bench& bench, Device& device, uint64_t offset_bytes, std::vector<std::byte>& bytes) {
  const base::IoVec piece{bytes.data(), bytes.size()};
  return bench.Run(device.Read({.offset_bytes = offset_bytes, .buffers = {&piece, 1}}));
}

template <typename Device>
auto WriteBytes(Bench& bench, Device& device, uint64_t offset_bytes,
                std::vector<std::byte>& bytes) {
  const base::IoVec piece{bytes.data(), bytes.size()};
  return bench.Run(device.Write({.offset_bytes = offset_bytes, .buffers = {&piece, 1}}));
}

class ListingSink : public ObjectSink {
 public:
  void Add(const ObjectEntry& entry) override { names.emplace_back(entry.name); }

  std::vector<std::string> names;
};

inline std::map<std::string, uint64_t> Bench::Listing() {
  ListingSink sink;
  EXPECT_TRUE(Run(backend.List("", sink)));
  std::map<std::string, uint64_t> listing;
  for (const std::string& name : sink.names) {
    listing[name] = Run(backend.GetInfo(name))->size_bytes;
  }
  return listing;
}

}  // namespace disklib
