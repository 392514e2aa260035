// `RequestBuffers`: the memory FUSE requests are received into and their data is answered from.
//
// A request starts 80 bytes before a page boundary, which is the size of a write request's headers:
// the payload of every write lies page aligned and can go to a device with O_DIRECT, uncopied. A
// read is answered from the same place of its own request's buffer. A buffer belongs to its request
// until that is answered. At most `count_max` exist, which bounds the session's memory; the last
// one returned is the next one taken, so that a light load stays in few, warm pages.
// Thread rule: the executor's thread. Place in the stack: a part of `FuseSession`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace stratad {

class RequestBuffers {
 public:
  static constexpr size_t kHeaderBytes = 80;  // fuse_in_header and fuse_write_in
  static constexpr size_t kPayloadBytesMax = 1 << 20;
  static constexpr size_t kReceiveBytes = kPayloadBytesMax + 4096;  // what libfuse reads at most

  explicit RequestBuffers(size_t count_max) : count_max_(count_max) {}

  RequestBuffers(const RequestBuffers&) = delete;
  RequestBuffers& operator=(const RequestBuffers&) = delete;

  // All buffers have been returned.
  ~RequestBuffers();

  // Where to receive the next request; nullptr while all buffers are in use.
  std::byte* Take();

  void Return(std::byte* buffer);

  static std::byte* PayloadOf(std::byte* buffer) { return buffer + kHeaderBytes; }

  // Gives the memory of unused buffers back until `keep_count` are left.
  void Trim(size_t keep_count);

  size_t in_use_count() const { return made_count_ - free_.size(); }

  size_t made_count() const { return made_count_; }

 private:
  const size_t count_max_;
  size_t made_count_ = 0;
  std::vector<std::byte*> free_;
};

}  // namespace stratad
