// `StreamWriter`: writes a streamOptimized file once, from its first grain to its last.
//
// The shape is the one VMware's importers take: version 3, flags 0x30001, grains of 64 KiB, zero
// grains left out, an embedded descriptor, and nothing behind the end-of-stream sector. Where the
// sink can go back, directory and tables stand in front; into a pipe they follow the grains and a
// footer names them (disklib/FORMAT.md, "streamOptimized"). Compressing a grain takes about two
// milliseconds, and others have their turn between grains. Thread rule: the executor given.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "disklib/object_backend.h"
#include "disklib/sparse/deflate.h"
#include "disklib/sparse/hosted_format.h"
#include "disklib/sparse/stream_format.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

inline constexpr uint64_t kStreamGrainBytes = 64 * 1024;

// Where a stream goes: a file, a member of an archive, a pipe.
class StreamSink {
 public:
  virtual ~StreamSink() = default;

  // Whether Rewrite works; the same answer for the life of the sink.
  virtual bool can_rewrite() const = 0;

  // Takes the next bytes, all of them. Errors: kNoSpace, kIo …
  virtual base::Task<base::Status> Append(std::span<const std::byte> bytes) = 0;

  // Replaces bytes that were appended; offsets count from the first byte of the stream.
  virtual base::Task<base::Status> Rewrite(uint64_t offset_bytes,
                                           std::span<const std::byte> bytes) = 0;
};

// A sink that fills an empty object from its start. The object stays the caller's, who syncs it.
std::unique_ptr<StreamSink> MakeObjectSink(Object& object);

struct NewStream {
  uint64_t size_bytes = 0;          // capacity, whole sectors, up to 62 TiB
  std::string_view file_name = {};  // what the embedded descriptor calls its own file
  std::string_view adapter_type = "lsilogic";
  std::string_view hardware_version = "14";
  int deflate_level = kDeflateLevelDefault;
  std::optional<uint32_t> content_id = std::nullopt;  // unset: a new one is drawn
};

class StreamWriter {
 public:
  // Writes header, descriptor and room for the tables. `sink` outlives the writer. Errors:
  // kInvalidArgument, kTooLarge (the size), kNameInvalid (a value with a quote), and the sink's.
  static base::Task<base::Result<std::unique_ptr<StreamWriter>>> Start(base::Executor& executor,
                                                                       StreamSink& sink,
                                                                       NewStream what);

  // Takes bytes of the disk. `offset_bytes` is a multiple of a grain at or behind what was taken
  // before; what is passed over reads as zeros. `bytes` are whole grains, or end with the disk.
  // Errors: kTooLarge (the file would pass 2 TiB), and the sink's; the stream is then useless.
  base::Task<base::Status> Append(uint64_t offset_bytes, std::span<const std::byte> bytes);

  // Writes what is left; the stream is complete and durable when the sink makes it so. No call may
  // follow. Errors: as Append.
  base::Task<base::Status> Finish();

  // Bytes of the stream so far.
  uint64_t stream_bytes() const { return next_sector_ * kSectorBytes; }

 private:
  using Table = std::array<base::Le32, kHostedTableEntryCount>;

  StreamWriter(base::Executor& executor, StreamSink& sink, const NewStream& what);

  base::Task<base::Status> WriteFront(std::string_view descriptor);
  base::Task<base::Status> AppendGrain(uint64_t grain, std::span<const std::byte> bytes);
  base::Task<base::Status> EndTable();
  base::Task<base::Status> WriteDirectoryAndFooter();
  base::Status CheckRoom(uint64_t sector_count) const;
  void Put(std::span<const std::byte> bytes);  // pads to a sector
  void PutMarker(uint32_t type, uint64_t sector_count);
  base::Task<base::Status> PutZeroSectors(uint64_t sector_count);
  base::Task<base::Status> Drain(size_t kept_bytes_max);
  void FillDirectory(uint64_t first_table_sector);

  base::Executor& executor_;
  StreamSink& sink_;
  const int deflate_level_;
  const bool tables_in_front_;
  const uint64_t size_bytes_;
  HostedHeader header_;
  std::vector<base::Le32> directory_;
  Table table_{};
  uint64_t table_index_ = 0;
  bool table_has_grains_ = false;
  uint64_t next_offset_bytes_ = 0;  // of the disk: nothing before it may come any more
  uint64_t next_sector_ = 0;        // of the file
  std::vector<std::byte> pending_;  // of the file, not in the sink yet
  std::vector<std::byte> record_;
  std::vector<std::byte> grain_;
  std::vector<std::byte> compressed_;
};

}  // namespace disklib
