#include "disklib/link_tree.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "disklib/chain.h"
#include "disklib/names.h"

namespace disklib {

using base::Code;
using base::Error;
using base::Result;

void LinkTree::Add(TreeLink link) {
  std::string path = link.path;
  links_.insert_or_assign(std::move(path), std::move(link));
}

void LinkTree::MarkClone(std::string_view path, std::string_view parent_path) {
  const auto found = links_.find(path);
  if (found == links_.end() || found->second.parent_path != parent_path) return;
  found->second.is_clone = true;
}

const TreeLink* LinkTree::Find(std::string_view path) const {
  const auto found = links_.find(path);
  return found == links_.end() ? nullptr : &found->second;
}

std::vector<const TreeLink*> LinkTree::ChildrenOf(std::string_view path) const {
  std::vector<const TreeLink*> children;
  for (const auto& [name, link] : links_) {
    if (link.parent_path == path) children.push_back(&link);
  }
  return children;
}

std::vector<const TreeLink*> LinkTree::BranchesOf(std::string_view path) const {
  std::vector<const TreeLink*> branches = ChildrenOf(path);
  std::erase_if(branches, [path](const TreeLink* link) {
    return link->is_clone || FolderOf(link->path) != FolderOf(path);
  });
  return branches;
}

Result<std::vector<const TreeLink*>> LinkTree::ChainOf(std::string_view path) const {
  std::vector<const TreeLink*> chain;
  for (std::string_view at = path;;) {
    const TreeLink* const link = Find(at);
    if (link == nullptr) {
      return Error(Code::kNotFound, fmt::format("chain of {}: {} is no link that is there", path,
                                                at.empty() ? "the parent" : at));
    }
    if (std::find(chain.begin(), chain.end(), link) != chain.end()) {
      return Error(Code::kLoop, fmt::format("chain of {}: {} comes twice", path, at));
    }
    if (chain.size() == kChainLinksMax) {
      return Error(Code::kTooManyLinks,
                   fmt::format("chain of {}: more than {} links", path, kChainLinksMax));
    }
    chain.push_back(link);
    if (link->is_base()) return chain;
    at = link->parent_path;
  }
}

Result<std::string> LinkTree::DiskBaseOf(std::string_view path) const {
  std::string_view at = path;
  for (size_t depth = 0; depth < kChainLinksMax; ++depth) {
    const TreeLink* const link = Find(at);
    if (link == nullptr) {
      return Error(Code::kNotFound, fmt::format("disk of {}: {} is no link that is there", path,
                                                at.empty() ? "the parent" : at));
    }
    const bool is_lowest =
        link->is_base() || link->is_clone ||
        (!link->parent_path.empty() && FolderOf(link->parent_path) != FolderOf(path));
    if (is_lowest) return link->path;
    at = link->parent_path;
  }
  return Error(Code::kTooManyLinks,
               fmt::format("disk of {}: more than {} links", path, kChainLinksMax));
}

std::vector<const TreeLink*> LinkTree::LinksOn(std::string_view base_path) const {
  std::vector<const TreeLink*> links;
  for (const auto& [name, link] : links_) {
    if (FolderOf(name) != FolderOf(base_path)) continue;
    const Result<std::string> base = DiskBaseOf(name);
    if (base && *base == base_path) links.push_back(&link);
  }
  return links;
}

std::vector<const TreeLink*> LinkTree::Clones() const {
  std::vector<const TreeLink*> clones;
  for (const auto& [name, link] : links_) {
    if (link.is_clone) clones.push_back(&link);
  }
  return clones;
}

std::string NumberedLinkPath(std::string_view base_path, uint32_t number) {
  std::string_view stem = base_path;
  if (stem.ends_with(kDescriptorSuffix)) stem.remove_suffix(kDescriptorSuffix.size());
  return fmt::format("{}-{:06}{}", stem, number, kDescriptorSuffix);
}

}  // namespace disklib
