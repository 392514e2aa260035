// `LooseDescriptor`: a descriptor read as far as it goes, with everything that is wrong in it.
//
// The parser (`descriptor.h`) refuses at the first fault. A check needs all of them, and as much of
// the disk as the rest of the text still says: so the text is mended in memory, line by line, every
// other byte kept, and the mended text is what the check goes on with and what a repair would
// write. Thread rule: plain values, pure. Internal to `disklib/check`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/check/invariants.h"
#include "disklib/descriptor.h"

namespace disklib::check {

// One thing wrong in the text.
struct DescriptorProblem {
  Invariant id = Invariant::kD1;
  std::string text;
  std::string repair_text;  // what the mended text does about it; empty: it could not be mended
};

// What others know of a descriptor that has lost it.
struct DescriptorHints {
  std::optional<uint32_t> content_id;         // that its children name
  std::optional<uint32_t> parent_content_id;  // of the disk its hint names
};

struct LooseDescriptor {
  bool is_descriptor = false;  // the bytes are meant as one
  bool is_usable = false;      // `descriptor` says what the disk is
  std::string text;            // as read, without padding
  std::string mended;          // the same with the problems mended
  Descriptor descriptor;       // of the mended text
  std::vector<DescriptorProblem> problems;
};

// Never fails: bytes that are no descriptor answer is_descriptor false.
LooseDescriptor ReadLoosely(std::string_view bytes, DescriptorHints hints);

// The create type that a disk of these extents has: "vmfs", "seSparse", "custom".
std::string_view CreateTypeFor(const Descriptor& descriptor);

// Whether `create_type` may have extents like these. What is not known may have any.
bool CreateTypeAllows(std::string_view create_type, const Descriptor& descriptor);

}  // namespace disklib::check
