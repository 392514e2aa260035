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

Result<std::string> LinkTree::BaseOf(std::string_view path) const {
  TRY(const std::vector<const TreeLink*> chain, ChainOf(path));
  return chain.back()->path;
}

std::vector<const TreeLink*> LinkTree::LinksOn(std::string_view base_path) const {
  std::vector<const TreeLink*> links;
  for (const auto& [name, link] : links_) {
    const Result<std::vector<const TreeLink*>> chain = ChainOf(name);
    const auto is_base = [base_path](const TreeLink* below) { return below->path == base_path; };
    if (chain && std::any_of(chain->begin(), chain->end(), is_base)) links.push_back(&link);
  }
  return links;
}

std::string NumberedLinkPath(std::string_view base_path, uint32_t number) {
  std::string_view stem = base_path;
  if (stem.ends_with(kDescriptorSuffix)) stem.remove_suffix(kDescriptorSuffix.size());
  return fmt::format("{}-{:06}{}", stem, number, kDescriptorSuffix);
}

}  // namespace disklib
