#include "disklib/clone.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_lines.h"
#include "disklib/link_filler.h"
#include "disklib/names.h"
#include "disklib/traits.h"
#include "fs/base/log.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

// Keys that say what one disk is, or what runs beside it, and nothing about a copy: a stale
// `ddb.sidecars` makes other products refuse the disk.
bool IsOwnKey(std::string_view key) {
  constexpr std::array<std::string_view, 6> kOwnKeys = {
      "ddb.adapterType", "ddb.longContentID", "ddb.thinProvisioned",
      "ddb.iofilters",   "ddb.sidecars",      "ddb.objectParentUri"};
  constexpr std::array<std::string_view, 3> kOwnFamilies = {"ddb.uuid", "ddb.strata.",
                                                            "ddb.native"};
  const auto is_key = [key](std::string_view own) { return EqualsIgnoringCase(key, own); };
  const auto is_family = [key](std::string_view own) {
    return EqualsIgnoringCase(key.substr(0, own.size()), own);
  };
  return std::any_of(kOwnKeys.begin(), kOwnKeys.end(), is_key) ||
         std::any_of(kOwnFamilies.begin(), kOwnFamilies.end(), is_family);
}

// The descriptor of the copy: its own identity, the source's traits.
Descriptor DescribeCopy(std::string_view path, const NewLink& what, const DiskContent& content,
                        base::Random& random) {
  Descriptor descriptor = MakeDescriptor(path, what, random);
  // Another adapter counts cylinders in its own way.
  const bool is_same_adapter = what.adapter_type == AdapterOf(content.disk_database);
  for (const KeyValue& pair : content.disk_database) {
    const bool is_geometry = StartsWithIgnoringCase(pair.key, "ddb.geometry.");
    if (IsOwnKey(pair.key) || (is_geometry && !is_same_adapter)) continue;
    SetTrait(descriptor.disk_database, pair);
  }
  // Equal content, equal id, in both lengths.
  const std::string* const long_id = FindTrait(content.disk_database, "ddb.longContentID");
  if (long_id != nullptr && long_id->ends_with(FormatContentId(content.content_id))) {
    SetTrait(descriptor.disk_database, {"ddb.longContentID", *long_id});
  }
  return descriptor;
}

// Ranges of a chain that may be read from their file.
class ChainRanges : public DirectSource {
 public:
  explicit ChainRanges(const Chain& chain) : chain_(chain) {}

  FlatRange DirectRange(uint64_t offset_bytes, uint64_t length_bytes) const override {
    return chain_.DirectRead(offset_bytes, length_bytes);
  }

 private:
  const Chain& chain_;
};

DiskContent ContentOf(Chain& chain, const DirectSource& direct) {
  const Descriptor& descriptor = chain.top().descriptor();
  return {.device = &chain,
          .direct = &direct,
          .content_id = descriptor.content_id,
          .disk_database = TraitsOf(chain),
          .origin = fmt::format("of {} {}", FormatContentId(descriptor.content_id), chain.name())};
}

}  // namespace

Task<Result<CloneResult>> MakeDiskFrom(Lib& lib, std::string_view path, DiskContent& content,
                                       CloneOptions options, Progress* progress) {
  const NewLink what{.size_bytes = content.device->size_bytes(),
                     .layout = options.layout,
                     .provisioning = options.provisioning,
                     .adapter_type = options.adapter_type.empty() ? AdapterOf(content.disk_database)
                                                                  : options.adapter_type,
                     .grain_bytes = options.grain_bytes,
                     .all_tables = options.all_tables,
                     .content_id = content.content_id};
  CO_TRY_STATUS(CheckNewLink(path, what));
  const Descriptor descriptor = DescribeCopy(path, what, content, lib.executor().random());
  LinkFiller link_filler(lib, descriptor, *content.device, content.direct);
  StreamFiller stream_filler(lib, descriptor, *content.device);
  const bool is_stream = options.layout == DiskLayout::kStreamOptimized;
  ExtentFiller* const filler =
      is_stream ? static_cast<ExtentFiller*>(&stream_filler) : &link_filler;
  const FilledLink link{
      .descriptor = descriptor, .what = what, .content = content.origin, .filler = filler};
  CO_TRY_STATUS(co_await CreateFilledLink(lib, path, link, progress));
  const CopyCounts& counts = is_stream ? stream_filler.counts() : link_filler.counts();
  co_return CloneResult{.size_bytes = what.size_bytes,
                        .data_bytes = counts.data_bytes,
                        .zero_bytes = counts.zero_bytes,
                        .content_id = FormatContentId(content.content_id)};
}

Task<Result<CloneResult>> CloneDisk(Lib& source_lib, std::string_view source, Lib& target_lib,
                                    std::string_view target, CloneOptions options,
                                    Progress* progress) {
  const OpenOptions open_options{.writable = false, .user = options.user};
  CO_TRY(const std::unique_ptr<Chain> chain, co_await source_lib.Open(source, open_options));
  const ChainRanges direct(*chain);
  DiskContent content = ContentOf(*chain, direct);
  if (options.reads_all) content.direct = nullptr;
  Result<CloneResult> made = co_await MakeDiskFrom(target_lib, target, content, options, progress);
  const Status closed = co_await chain->Close();
  if (!made) co_return made.error().Within(fmt::format("clone {}", source));
  if (!closed) co_return closed.error();
  co_return made;
}

bool ParseCloneFormat(std::string_view word, CloneOptions& options) {
  if (const std::optional<Provisioning> provisioning = ParseProvisioning(word)) {
    options.layout = DiskLayout::kVmfs;
    options.provisioning = *provisioning;
    return true;
  }
  const bool is_short_name = EqualsIgnoringCase(word, "2gbsparse");
  const std::optional<DiskLayout> layout =
      is_short_name ? DiskLayout::kTwoGbMaxExtentSparse : ParseDiskLayout(word);
  if (!layout) return false;
  options.layout = *layout;
  return true;
}

}  // namespace disklib
