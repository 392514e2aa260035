#include "fs/daemon/request_buffers.h"

#include <sys/mman.h>

#include "fs/base/check.h"

namespace stratad {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kMappingBytes = kPageBytes + RequestBuffers::kReceiveBytes;
constexpr size_t kLeadBytes = kPageBytes - RequestBuffers::kHeaderBytes;

std::byte* Map() {
  void* memory = mmap(nullptr, kMappingBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<std::byte*>(memory) + kLeadBytes;
}

void Unmap(std::byte* buffer) {
  munmap(buffer - kLeadBytes, kMappingBytes);
}

}  // namespace

RequestBuffers::~RequestBuffers() {
  CHECK(in_use_count() == 0);
  Trim(0);
}

std::byte* RequestBuffers::Take() {
  if (!free_.empty()) {
    std::byte* buffer = free_.back();
    free_.pop_back();
    return buffer;
  }
  if (made_count_ == count_max_) return nullptr;
  std::byte* buffer = Map();
  if (buffer) ++made_count_;
  return buffer;
}

void RequestBuffers::Return(std::byte* buffer) {
  CHECK(in_use_count() > 0);
  free_.push_back(buffer);
}

void RequestBuffers::Trim(size_t keep_count) {
  while (!free_.empty() && made_count_ > keep_count) {
    Unmap(free_.back());
    free_.pop_back();
    --made_count_;
  }
}

}  // namespace stratad
