// `ProofDevice`: hashes a disk's content while somebody copies it: the first half of a proof.
//
// Stands over the source of a copy whose reads ascend but may be in flight together; a read is
// answered when all before it has been hashed, so that nothing is kept aside. What the map calls
// zero counts as zeros without being read. Thread rule: as the device below. Place in the stack:
// between the source of an import or export and the copy engine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fs/base/device_filter.h"
#include "fs/base/digest.h"
#include "fs/base/sync.h"

namespace disklib {

class ProofDevice final : public base::DeviceFilter {
 public:
  // `child` outlives the proof.
  ProofDevice(base::Executor& executor, base::BlockDevice& child)
      : DeviceFilter(child), changed_(executor), digest_(base::DigestKind::kSha256) {}

  base::Task<base::Status> Read(base::IoRequest request) override;
  base::Task<base::Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                     std::vector<base::MapRun>& runs) override;

  // SHA-256 of the whole content, as `sha256sum` of the raw image says it. Error kInternal:
  // something that is not known to be zeros was never read. No call may follow.
  base::Result<std::string> Finish();

 private:
  struct Range {
    uint64_t start_bytes;
    uint64_t end_bytes;
  };

  // Counts known zeros up to `end_bytes`; answers whether all before it is hashed now.
  bool HashZerosUpTo(uint64_t end_bytes);

  base::AsyncCondition changed_;
  base::Digest digest_;
  uint64_t hashed_bytes_ = 0;  // everything before it is in the digest
  std::vector<Range> zeros_;   // known, ascending, not behind `hashed_bytes_` alone
  bool has_failed_ = false;    // a read failed: nobody waits for it
};

}  // namespace disklib
