// The chain under check: its links, where each was found, and what their descriptors are to say.
//
// Internal to `disklib/check`. Thread rule: the executor of the Lib.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/check/check_run.h"
#include "disklib/check/folder_scan.h"
#include "disklib/open_disks.h"

namespace disklib::check {

struct ChainLink {
  FolderFile* file = nullptr;
  Folder* folder = nullptr;
  // The descriptor's text when the repairs that were allowed are made; starts as it is.
  std::string wanted;
  std::vector<ObjectInfo> extent_infos;  // per extent; id 0: none
  std::vector<std::string> found_paths;  // per extent
  uint64_t held_bytes = 0;
  uint64_t wanted_sectors = 0;  // that the link is to grow to; 0: it stays
  bool is_whole = true;
  bool is_cut_off = false;  // its parent is not the one it was made of

  const Descriptor& descriptor() const { return file->descriptor.descriptor; }
  bool is_usable() const { return file->descriptor.is_usable; }
};

struct ChainState {
  std::vector<ChainLink> links;  // leaf first
  // The files of all links, as they are held while a repair runs.
  OpenDisks::Claim* claim = nullptr;
};

// Adds the link at `path` and all below it, as far as they are found. Finds C1 (a parent that is
// not there), C2 and C4. Errors: kNotFound, kNotRecognized for the first; kInterrupted.
base::Task<base::Status> WalkChain(CheckRun& run, Folders& folders, std::string_view path,
                                   ChainState& chain);

// The same for one link and its parent, of which only the descriptor is read. For folders.
base::Task<base::Status> WalkOne(CheckRun& run, Folders& folders, std::string_view path,
                                 ChainState& pair);

// What one descriptor says of itself: D1, D2, D6 to D9, T1.
base::Task<base::Status> CheckDescriptor(CheckRun& run, ChainLink& link);

// What the descriptors of the chain say of each other: C1, C3, C5, C6.
void CheckConnections(CheckRun& run, ChainState& chain);

// The extents of one link, each by its format: D3 to D5, D7, D9 and the rows of the formats.
base::Task<base::Status> CheckExtents(CheckRun& run, ChainLink& link);

// An extent that is a device, which is only looked at: D4, D9.
base::Task<base::Status> CheckDevice(CheckRun& run, ChainLink& link, size_t index);

// Writes the descriptor if it is to say something else. Errors: those of the back end.
base::Task<base::Status> StoreWanted(CheckRun& run, ChainState& chain, ChainLink& link);

// Whether a link can be made as large as a larger parent: its extents are sparse files that stand
// beside their descriptor.
bool CanGrow(const ChainLink& link);

// Makes the link as large as it is to be, if it is to grow, after its extents were checked. Errors:
// those of GrowSparse, and of loading the descriptor.
base::Task<base::Status> GrowLink(CheckRun& run, ChainState& chain, ChainLink& link);

// What speaks for and against a child whose parent is not the one it was made of.
void GatherEvidence(CheckRun& run, const ChainLink& child, const ChainLink& parent);

// What belongs to no disk: D10, C7, C8, uuids that stand twice.
base::Task<base::Status> CheckBelongings(CheckRun& run, Folder& folder);

// D10 for a disk whose descriptor is gone: answers whether extents of its name are there.
base::Task<base::Result<bool>> CheckLostDescriptor(CheckRun& run, Folder& folder,
                                                   std::string_view path);

// The whole check of a chain, or of a folder, in order.
base::Task<base::Status> RunChainCheck(CheckRun& run, std::string_view path, ChainState& chain);
base::Task<base::Status> RunFolderCheck(CheckRun& run, std::string_view path);

}  // namespace disklib::check
