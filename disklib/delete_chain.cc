#include "disklib/delete_chain.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "disklib/children.h"
#include "disklib/extent_places.h"
#include "disklib/link_tree.h"
#include "disklib/names.h"
#include "disklib/operations.h"
#include "disklib/snapshot_record.h"
#include "disklib/vm_folder/vm_state.h"

namespace disklib {
namespace {

using base::Result;
using base::Status;
using base::Task;

// Descriptors, and what a cut delete left of some.
class Names : public ObjectSink {
 public:
  void Add(const ObjectEntry& entry) override {
    const bool is_deleted = entry.name == DeletedPath(PlainName(entry.name));
    if (is_deleted || entry.name.ends_with(kDescriptorSuffix)) names.emplace_back(entry.name);
  }

  // "vm.vmdk.strata-deleted" -> "vm.vmdk"; others stay.
  static std::string_view PlainName(std::string_view name) {
    const size_t ending = name.rfind(kDescriptorSuffix);
    return ending == std::string_view::npos ? name
                                            : name.substr(0, ending + kDescriptorSuffix.size());
  }

  std::vector<std::string> names;
};

// The links of a folder. What is no descriptor is left out.
Task<Status> ReadTree(Lib& lib, std::string_view folder, LinkTree& tree) {
  Names found;
  CO_TRY_STATUS(co_await lib.backend().List(folder, found));
  for (const std::string& name : found.names) {
    const std::string found_path = JoinPath(folder, name);
    const Result<LoadedDescriptor> loaded = co_await lib.Load(found_path, /*need_extents=*/false);
    if (!loaded) continue;
    TreeLink link{.path = JoinPath(folder, Names::PlainName(name)),
                  .parent_path = {},
                  .descriptor = loaded->descriptor};
    if (link.descriptor.has_parent()) {
      const Result<std::string> parent = ParentPathOf(lib.backend(), link.descriptor, link.path);
      if (parent) link.parent_path = *parent;
    }
    tree.Add(std::move(link));
  }
  co_return co_await MarkClones(lib, folder, tree);
}

// A link and all that stands on it, what stands on others first.
void AppendLeavesFirst(const LinkTree& tree, std::string_view path,
                       std::vector<std::string>& paths) {
  if (std::find(paths.begin(), paths.end(), path) != paths.end()) return;
  for (const TreeLink* const child : tree.BranchesOf(path)) {
    AppendLeavesFirst(tree, child->path, paths);
  }
  paths.emplace_back(path);
}

// Whether every link may go: nobody uses one, and no linked clone stands on it.
Task<Status> CheckAllFree(Lib& lib, std::vector<std::string>& paths) {
  std::vector<OpenDisks::Claim> claims;
  for (const std::string& path : paths) {
    CO_TRY_STATUS(co_await CheckNoLivingChildren(lib.backend(), path, "delete"));
    CO_TRY(const bool is_whole, co_await Exists(lib.backend(), path));
    const std::string found_path = is_whole ? path : DeletedPath(path);
    CO_TRY(const LoadedDescriptor loaded, co_await lib.Load(found_path, /*need_extents=*/false));
    const OpenOptions options{.writable = true, .user = "strata disk delete"};
    CO_TRY(OpenDisks::Claim claim, lib.ClaimDisk(loaded, options));
    claims.push_back(std::move(claim));
  }
  co_return base::Ok();
}

}  // namespace

Task<Result<DeleteChainResult>> DeleteChain(Lib& lib, std::string_view path) {
  CO_TRY(const std::string plain_path, ResolveName("", path));
  CO_TRY_STATUS(co_await FinishIntents(lib, FolderOf(plain_path)));
  LinkTree tree;
  CO_TRY_STATUS(co_await ReadTree(lib, FolderOf(plain_path), tree));
  DeleteChainResult result;
  std::vector<std::string> paths;
  CO_TRY(const bool is_whole, co_await Exists(lib.backend(), plain_path));
  if (!is_whole || tree.Find(plain_path) == nullptr) {
    paths.push_back(plain_path);  // gone, or cut in the middle of its own delete
  } else {
    CO_TRY(const std::string base_path, tree.DiskBaseOf(plain_path));
    AppendLeavesFirst(tree, base_path, paths);
    CO_TRY_STATUS(co_await CheckAllFree(lib, paths));
  }
  for (const std::string& link_path : paths) {
    CO_TRY_STATUS(co_await DeleteDisk(lib, link_path));
    result.deleted_paths.push_back(link_path);
  }
  co_return result;
}

}  // namespace disklib
