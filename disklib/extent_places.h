// Where the extents of a disk and its parent are: from the descriptor's names to paths, also in the
// middle of a rename. Pure.
//
// A rename moves several files and may be cut between them. Its mark in the descriptor
// (disklib/FORMAT.md, "Rename") says from where to where, so that the disk opens at every moment.
// Thread rule: pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/descriptor.h"
#include "disklib/object_backend.h"
#include "fs/base/result.h"

namespace disklib {

inline constexpr std::string_view kRenamingFromKey = "ddb.strata.renamingFrom";
inline constexpr std::string_view kRenamingToKey = "ddb.strata.renamingTo";

// A rename that has begun: descriptor paths.
struct RenameMark {
  std::string from;
  std::string to;
};

// What the keys say: each path as seen from the folder of the other, so that the mark holds
// whichever folder is served as the datastore.
struct RenameMarkNames {
  std::string from;
  std::string to;
};

RenameMarkNames NamesOfMark(const RenameMark& mark);

// The mark in the descriptor at `path`, if it is this descriptor's: copies carry it in vain.
std::optional<RenameMark> FindRenameMark(const Descriptor& descriptor, std::string_view path);

// The parent that the hint of the descriptor at `path` means, a plain path of `backend`. Errors:
// those of ResolveName.
base::Result<std::string> ParentPathOf(ObjectBackend& backend, const Descriptor& descriptor,
                                       std::string_view path);

struct ExtentPlace {
  std::string path;         // empty for ZERO and device nodes
  std::string moved_path;   // where it is when a rename has moved it; empty without a mark
  std::string device_path;  // of a device node of this machine: "/dev/disk/by-id/…"
};

// Whether a line's bytes are a device node, outside of every datastore.
bool NamesDeviceNode(const ExtentLine& extent);

// One place per extent line, in order. Errors: those of ResolveName, with the extent's name.
base::Result<std::vector<ExtentPlace>> PlacesOfExtents(const Descriptor& descriptor,
                                                       std::string_view descriptor_path);

// Where a rename takes each extent; ZERO and extents that stay have no moved_path.
// Errors: kUnsupported (an extent in another folder than the descriptor, and the folder changes).
base::Result<std::vector<ExtentPlace>> PlanRename(const Descriptor& descriptor,
                                                  const RenameMark& rename);

}  // namespace disklib
