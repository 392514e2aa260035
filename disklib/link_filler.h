// `LinkFiller`: fills the files of a new link with a device's content before they get their names.
//
// Opens the unfinished extents as the link they will be, copies, syncs, closes. Place: between
// `new_extents.h`, which makes the files, and `copy.h`. Thread rule: the executor of the Lib.
#pragma once

#include <memory>
#include <vector>

#include "disklib/copy.h"
#include "disklib/lib.h"
#include "disklib/link.h"
#include "disklib/new_extents.h"
#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

class LinkFiller : public ExtentFiller {
 public:
  // `direct` may be null.
  LinkFiller(Lib& lib, const Descriptor& descriptor, base::BlockDevice& source,
             const DirectSource* direct)
      : lib_(lib), descriptor_(descriptor), source_(source), direct_(direct) {}

  // Errors: those of the files, kTooLarge (data behind what 32-bit sectors reach), kInterrupted.
  base::Task<base::Status> Fill(NewExtentsPlan& plan, Progress* progress) override;

  const CopyCounts& counts() const { return counts_; }

 private:
  base::Task<base::Result<std::unique_ptr<Extent>>> OpenUnfinished(const NewExtent* extent);
  base::Task<base::Result<std::unique_ptr<Link>>> OpenLink(NewExtentsPlan& plan);

  Lib& lib_;
  const Descriptor& descriptor_;
  base::BlockDevice& source_;
  const DirectSource* direct_;
  uint64_t granule_bytes_ = 512;  // of the sparse extents, the largest
  CopyCounts counts_;
};

// Fills the one file of a streamOptimized disk.
class StreamFiller : public ExtentFiller {
 public:
  // `descriptor` says adapter, hardware version and content id of the stream.
  StreamFiller(Lib& lib, const Descriptor& descriptor, base::BlockDevice& source)
      : lib_(lib), descriptor_(descriptor), source_(source) {}

  // Errors: those of the file and of StreamWriter, kInterrupted.
  base::Task<base::Status> Fill(NewExtentsPlan& plan, Progress* progress) override;

  const CopyCounts& counts() const { return counts_; }

 private:
  base::Task<base::Status> WriteStream(Object& object, Progress* progress);

  Lib& lib_;
  const Descriptor& descriptor_;
  base::BlockDevice& source_;
  CopyCounts counts_;
};

}  // namespace disklib
