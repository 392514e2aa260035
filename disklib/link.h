// `Link`: one descriptor and its extents, opened. The field calls it a layer or an image of a
// chain.
//
// Splits requests at the borders of extents; a request inside one extent is that extent's task,
// untouched. Offsets are bytes of the disk; ranges lie within the link (the chain sees to that).
// Place in the stack: Lib > Chain > Link > Extent. Thread rule: the executor of the files below.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "disklib/descriptor.h"
#include "disklib/descriptor_text.h"
#include "disklib/extent.h"
#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "fs/fds/grain_map.h"

namespace disklib {

class Link {
 public:
  // `extents` in the order of the descriptor, at least one.
  Link(std::string path, uint64_t object_id, Descriptor descriptor,
       std::vector<std::unique_ptr<Extent>> extents);

  const std::string& path() const { return path_; }

  const Descriptor& descriptor() const { return descriptor_; }

  uint64_t object_id() const { return object_id_; }

  uint64_t size_bytes() const { return size_bytes_; }

  // The descriptor's file was replaced by one that says `descriptor`.
  void SetDescriptor(uint64_t object_id, Descriptor descriptor);

  // Where the descriptor stands inside the file of the first extent, if it does.
  const EmbeddedPlace& embedded() const { return embedded_; }

  void SetEmbedded(EmbeddedPlace embedded) { embedded_ = embedded; }

  // The last extent is longer now, and `added` stand behind it; their files exist.
  void Grow(uint64_t last_extent_bytes, std::vector<std::unique_ptr<Extent>> added);

  // The range as one piece of a file, for callers that go straight to it.
  FlatRange FlatRangeOf(uint64_t offset_bytes, uint64_t length_bytes) const;

  // Bytes moved; fewer than asked only where a file ended early or the volume ran full.
  // Errors: as Extent.
  base::Task<base::Result<uint64_t>> Read(base::IoRequest request);
  base::Task<base::Result<uint64_t>> Write(base::IoRequest request);

  base::Task<base::Status> WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                       bool may_unmap);

  // The next data or hole from `offset_bytes`; the link's size when there is none.
  base::Task<base::Result<uint64_t>> Seek(fss::SeekKind kind, uint64_t offset_bytes);

  // Appends runs in order, adjacent ones of different state.
  base::Task<base::Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                     std::vector<base::MapRun>& runs);

  base::Task<base::Status> Sync();

  // Closes every extent; the first error is answered.
  base::Task<base::Status> Close();

  // Appends what this link alone holds of a range inside it, in order, without gaps. A flat extent
  // is one run of kData, a ZERO one of kZero; no run passes the border of an extent. File offsets
  // are those of the extent's file. Errors: as GrainMap::Lookup.
  base::Task<base::Status> Lookup(uint64_t offset_bytes, uint64_t length_bytes,
                                  std::vector<fds::GrainRun>& runs);

  // Where a piece of a range lies: the extent, the place in it, and how much of the range is there.
  struct Piece {
    Extent* extent;
    size_t index;          // of the extent in the link
    uint64_t start_bytes;  // of the extent on the disk
    uint64_t offset_bytes;
    uint64_t length_bytes;
  };

  // The piece of a range inside the link that begins at `offset_bytes`.
  Piece PieceAt(uint64_t offset_bytes, uint64_t length_bytes) const;

  const std::vector<std::unique_ptr<Extent>>& extents() const { return extents_; }

  uint64_t start_bytes(size_t extent_index) const { return starts_bytes_[extent_index]; }

  // Whether every extent holds all of its range itself, so that nothing is read from below.
  bool is_flat() const;

 private:
  enum class Direction : uint8_t { kRead, kWrite };
  base::Task<base::Result<uint64_t>> Transfer(base::IoRequest request, Direction direction);

  void PlaceExtents();

  std::string path_;
  uint64_t object_id_;
  Descriptor descriptor_;
  EmbeddedPlace embedded_;
  std::vector<std::unique_ptr<Extent>> extents_;
  std::vector<uint64_t> starts_bytes_;  // of each extent
  uint64_t size_bytes_ = 0;
};

}  // namespace disklib
