#include "disklib/folder_disks.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

namespace disklib {
namespace {

using Names = std::set<std::string, std::less<>>;

struct Family {
  std::map<std::string, Names, std::less<>> children;  // snapshots only, no clones
  Names roots;
};

Family Sort(std::span<const FolderLink> links) {
  Names names;
  for (const FolderLink& link : links) names.insert(link.name);
  Family family;
  for (const FolderLink& link : links) {
    const bool is_root = link.is_clone || !names.contains(link.parent_name);
    if (is_root) {
      family.roots.insert(link.name);
    } else {
      family.children[link.parent_name].insert(link.name);
    }
  }
  return family;
}

// The link and everything that stands on it.
Names LinksOf(const Family& family, const std::string& root) {
  Names found = {root};
  std::vector<std::string> waiting = {root};
  while (!waiting.empty()) {
    const std::string name = waiting.back();
    waiting.pop_back();
    const auto children = family.children.find(name);
    if (children == family.children.end()) continue;
    for (const std::string& child : children->second) {
      if (found.insert(child).second) waiting.push_back(child);
    }
  }
  return found;
}

// Those of `names` that are links of the disk.
Names Among(const Names& links, std::span<const std::string> names) {
  Names found;
  for (const std::string& name : names) {
    if (links.contains(name)) found.insert(name);
  }
  return found;
}

void Choose(const Names& candidates, std::string_view source, FolderDisk& disk) {
  if (candidates.size() == 1) {
    disk.leaf = *candidates.begin();
  } else {
    disk.trouble = fmt::format("{}: {} names {} current links: {}", disk.name, source,
                               candidates.size(), fmt::join(candidates, ", "));
  }
}

void ChooseLeaf(const Family& family, const Names& links, const FolderRecords& records,
                FolderDisk& disk) {
  const Names by_vmx = Among(links, records.vmx_names);
  if (!by_vmx.empty()) return Choose(by_vmx, "the .vmx", disk);
  const Names by_vmsd = Among(links, records.vmsd_names);
  if (!by_vmsd.empty()) return Choose(by_vmsd, "the .vmsd", disk);
  Names leaves;
  for (const std::string& name : links) {
    if (!family.children.contains(name)) leaves.insert(name);
  }
  if (leaves.size() == 1) {
    disk.leaf = *leaves.begin();
  } else {
    disk.trouble = fmt::format("{}: nothing says which of {} links is the current one: {}",
                               disk.name, leaves.size(), fmt::join(leaves, ", "));
  }
}

}  // namespace

std::vector<FolderDisk> FindFolderDisks(std::span<const FolderLink> links,
                                        const FolderRecords& records) {
  const Family family = Sort(links);
  std::vector<FolderDisk> disks;
  for (const std::string& root : family.roots) {
    const Names members = LinksOf(family, root);
    FolderDisk disk;
    disk.name = root;
    ChooseLeaf(family, members, records, disk);
    for (const std::string& name : members) {
      if (name != disk.leaf) disk.frozen.push_back(name);
    }
    disks.push_back(std::move(disk));
  }
  return disks;
}

}  // namespace disklib
