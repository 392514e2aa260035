// Verbs that copy, compare or re-shape the content of disks.
#include <array>

#include "disklib/attach.h"
#include "disklib/clone.h"
#include "disklib/compare.h"
#include "disklib/defragment.h"
#include "disklib/linked_clone.h"
#include "disklib/provision.h"
#include "disklib/rebase.h"
#include "fs/daemon/disk_actions.h"

namespace stratad {
namespace {

using base::Result;
using base::Task;

Task<Result<Json>> Clone(DiskCall& call) {
  CO_TRY(const std::string source, PathIn(call.request, "disk"));
  CO_TRY(const std::string target, PathIn(call.request, "to"));
  CO_TRY(const WantedFormat format, FormatIn(call.request));
  const std::string adapter = StringOf(call.request, "adapter").value_or("");
  disklib::CloneOptions options;
  options.layout = format.layout;
  options.provisioning = format.provisioning.value_or(disklib::Provisioning::kThin);
  options.grain_bytes = NumberOf(call.request, "grain_bytes").value_or(0);
  options.all_tables = FlagOf(call.request, "all_tables");
  options.adapter_type = adapter;
  options.reads_all = FlagOf(call.request, "reads_all");
  CO_TRY(const disklib::CloneResult result,
         co_await disklib::CloneDisk(call.lib, source, call.other_lib, target, options,
                                     call.progress));
  Json json = Json::object();
  json["size_bytes"] = result.size_bytes;
  json["data_bytes"] = result.data_bytes;
  json["zero_bytes"] = result.zero_bytes;
  json["content_id"] = result.content_id;
  co_return json;
}

Task<Result<Json>> CloneLinked(DiskCall& call) {
  CO_TRY(const std::string parent, PathIn(call.request, "disk"));
  CO_TRY(const std::string path, PathIn(call.request, "to"));
  CO_TRY(const WantedFormat format, FormatIn(call.request));
  disklib::LinkedCloneOptions options;
  if (call.request.contains("format")) options.layout = format.layout;
  options.grain_bytes = NumberOf(call.request, "grain_bytes").value_or(0);
  options.all_tables = FlagOf(call.request, "all_tables");
  CO_TRY(const disklib::LinkedCloneResult result,
         co_await disklib::CreateLinkedClone(call.lib, parent, path, options));
  Json json = Json::object();
  json["disk"] = result.path;
  json["parent"] = result.parent_path;
  json["size_bytes"] = result.size_bytes;
  json["content_id"] = result.content_id;
  co_return json;
}

Task<Result<Json>> Compare(DiskCall& call) {
  CO_TRY(const std::string first, PathIn(call.request, "disk"));
  CO_TRY(const std::string second, PathIn(call.request, "other"));
  const disklib::CompareOptions options;
  CO_TRY(const disklib::CompareResult result,
         co_await disklib::CompareDisks(call.lib, first, call.other_lib, second, options,
                                        call.progress));
  Json json = Json::object();
  json["same"] = result.is_same();
  json["first_size_bytes"] = result.first_size_bytes;
  json["second_size_bytes"] = result.second_size_bytes;
  json["differing_sectors"] = result.differing_sectors;
  if (result.first_difference_bytes) {
    json["first_difference_bytes"] = *result.first_difference_bytes;
  }
  co_return json;
}

Task<Result<Json>> Hash(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  CO_TRY(const disklib::HashResult result,
         co_await disklib::HashDisk(call.lib, path, call.progress));
  Json json = Json::object();
  json["sha256"] = result.sha256;
  json["size_bytes"] = result.size_bytes;
  json["read_bytes"] = result.read_bytes;
  co_return json;
}

Task<Result<Json>> Defragment(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  CO_TRY(const disklib::DefragmentResult result,
         co_await disklib::DefragmentLink(call.lib, path, call.progress));
  Json json = Json::object();
  json["moved_bytes"] = result.moved_bytes;
  json["allocated_before_bytes"] = result.allocated_before_bytes;
  json["allocated_after_bytes"] = result.allocated_after_bytes;
  co_return json;
}

Task<Result<Json>> Attach(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  CO_TRY(const std::string parent, PathIn(call.request, "parent"));
  const disklib::AttachOptions options{.changes_content = FlagOf(call.request, "force")};
  CO_TRY_STATUS(co_await disklib::AttachLink(call.lib, path, parent, options));
  co_return Json::object();
}

Task<Result<Json>> Detach(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  CO_TRY_STATUS(co_await disklib::DetachLink(call.lib, path, call.progress));
  co_return Json::object();
}

// Errors: kInvalidArgument for both of two ways.
Result<disklib::RebaseMode> RebaseModeIn(const Json& request) {
  const bool copies = FlagOf(request, "copy");
  const bool is_forced = FlagOf(request, "force");
  if (copies && is_forced) return Senseless("rebase: \"copy\" or \"force\", not both");
  if (is_forced) return disklib::RebaseMode::kForce;
  return copies ? disklib::RebaseMode::kCopy : disklib::RebaseMode::kProve;
}

// What lets the link read as before; with "force" nothing does.
const char* ProofOf(const disklib::RebaseResult& result, disklib::RebaseMode mode) {
  if (mode == disklib::RebaseMode::kForce) return "none";
  if (mode == disklib::RebaseMode::kCopy) return "copy";
  return result.was_proven_by_id ? "content id" : "content";
}

Task<Result<Json>> Rebase(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  CO_TRY(const std::string parent, PathIn(call.request, "parent"));
  CO_TRY(const disklib::RebaseMode mode, RebaseModeIn(call.request));
  const disklib::RebaseOptions options{.new_parent = parent, .mode = mode};
  CO_TRY(const disklib::RebaseResult result,
         co_await disklib::RebaseLink(call.lib, path, options, call.progress));
  Json json = Json::object();
  json["disk"] = path;
  json["parent"] = parent;
  json["proof"] = ProofOf(result, mode);
  json["copied_bytes"] = result.copied_bytes;
  co_return json;
}

using SpaceChange = Task<Result<disklib::SpaceResult>> (*)(disklib::Lib& lib, std::string_view path,
                                                           disklib::Progress* progress);

template <SpaceChange kChange>
Task<Result<Json>> ChangeSpace(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  CO_TRY(const disklib::SpaceResult result, co_await kChange(call.lib, path, call.progress));
  Json json = Json::object();
  json["size_bytes"] = result.size_bytes;
  json["allocated_before_bytes"] = result.allocated_before_bytes;
  json["allocated_after_bytes"] = result.allocated_after_bytes;
  co_return json;
}

constexpr std::array kVerbs = {
    DiskVerb{.name = "attach", .run = Attach},
    DiskVerb{.name = "clone", .run = Clone, .crosses_volumes = true},
    DiskVerb{.name = "clone-linked", .run = CloneLinked},
    DiskVerb{.name = "compare", .run = Compare, .only_reads = true, .crosses_volumes = true},
    DiskVerb{.name = "defragment", .run = Defragment},
    DiskVerb{.name = "detach", .run = Detach},
    DiskVerb{.name = "eager-zero", .run = ChangeSpace<disklib::EagerZeroDisk>},
    DiskVerb{.name = "hash", .run = Hash, .only_reads = true},
    DiskVerb{.name = "inflate", .run = ChangeSpace<disklib::InflateDisk>},
    DiskVerb{.name = "punch", .run = ChangeSpace<disklib::PunchDisk>},
    DiskVerb{.name = "rebase", .run = Rebase},
    DiskVerb{.name = "zero", .run = ChangeSpace<disklib::ZeroDisk>},
};

}  // namespace

std::span<const DiskVerb> CopyVerbs() {
  return kVerbs;
}

}  // namespace stratad
