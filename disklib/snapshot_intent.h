// `SnapshotIntent`: what a snapshot operation has decided and not yet done. Text codec, pure.
//
// The file `RECORD.strata-intent` beside a .vmsd (disklib/FORMAT.md, "Snapshots") says which small
// files get which contents, and which links go. Whoever finds it finishes it: the contents are
// all there, doing it twice is doing it once. Names are relative to the intent's folder. Thread
// rule: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"

namespace disklib {

inline constexpr std::string_view kIntentSuffix = ".strata-intent";
inline constexpr size_t kIntentBytesMax = size_t{8} << 20;

// What a file held or is to hold, told by length and CRC32C.
struct ContentMark {
  uint64_t size_bytes = 0;
  uint32_t crc = 0;

  friend bool operator==(const ContentMark&, const ContentMark&) = default;
};

ContentMark MarkOf(std::string_view contents);

struct IntentReplacement {
  std::string name;
  std::optional<ContentMark> old_mark;  // unset: the file was not there
  std::string contents;

  friend bool operator==(const IntentReplacement&, const IntentReplacement&) = default;
};

// A link that goes with all its files, if it still is a child of `parent`.
struct IntentRemoval {
  std::string name;    // of the descriptor
  std::string parent;  // what its descriptor must name as its parent, for it to be this link
  std::vector<std::string> files = {};  // its extents and what a cut may have left of them

  friend bool operator==(const IntentRemoval&, const IntentRemoval&) = default;
};

struct SnapshotIntent {
  // Files of disks that the operation keeps open while it runs: whoever can have them alone knows
  // that it runs no more.
  std::vector<std::string> guards;
  std::vector<IntentReplacement> replacements;
  std::vector<IntentRemoval> removals;

  bool is_empty() const { return replacements.empty() && removals.empty(); }

  friend bool operator==(const SnapshotIntent&, const SnapshotIntent&) = default;
};

// Errors: kNameInvalid (a name with a quote or a control character), kTooLarge.
base::Result<std::string> WriteIntent(const SnapshotIntent& intent);

// Errors: kNotRecognized, kVersionUnsupported, kTooLarge, kChecksumMismatch, kParseError.
base::Result<SnapshotIntent> ParseIntent(std::string_view text);

}  // namespace disklib
