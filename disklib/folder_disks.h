// Which disks a folder has, and which link each of them stands on now. Pure.
//
// A disk is named after its base: the link without a parent in this folder, or a registered linked
// clone. Its current leaf is the link that a .vmx of the folder names, else the one the .vmsd
// records, else the only leaf; otherwise nothing is chosen, and the leaves are listed. All other
// links of the disk are frozen. Place: under `DiskLister`. Thread rule: plain values.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace disklib {

// A descriptor of the folder.
struct FolderLink {
  std::string name;
  std::string parent_name;  // of the parent in this folder; empty: a base, or it is elsewhere
  bool is_clone = false;    // registered as a linked clone of its parent
};

// What the files of a VM say about the folder's links: names of descriptors.
struct FolderRecords {
  std::vector<std::string> vmx_names;   // fileName of the disks of every .vmx
  std::vector<std::string> vmsd_names;  // strata.diskM.current of every .vmsd
};

struct FolderDisk {
  std::string name;                 // of the base
  std::string leaf;                 // empty: not known, see `trouble`
  std::vector<std::string> frozen;  // the other links, by name
  std::string trouble;
};

// The disks by name. Links in a cycle belong to none.
std::vector<FolderDisk> FindFolderDisks(std::span<const FolderLink> links,
                                        const FolderRecords& records);

}  // namespace disklib
