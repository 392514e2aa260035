#include "disklib/disk_list.h"

#include <map>
#include <memory>
#include <set>
#include <utility>

#include "disklib/children.h"
#include "disklib/descriptor.h"
#include "disklib/descriptor_lines.h"
#include "disklib/descriptor_text.h"
#include "disklib/names.h"
#include "disklib/object_backend.h"
#include "disklib/vm_folder/vmsd.h"
#include "disklib/vm_folder/vmx.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

// Larger files are data: descriptors that anybody writes stay far below.
constexpr uint64_t kListedBytesMax = 64 * 1024;
constexpr size_t kKnownMax = 4'096;
constexpr std::string_view kChildrenSuffix = ".vmdk.children";

bool IsOfDisks(std::string_view name) {
  for (const std::string_view suffix :
       {kDescriptorSuffix, kVmxSuffix, kVmsdSuffix, kChildrenSuffix}) {
    if (EndsWithIgnoringCase(name, suffix)) return true;
  }
  return false;
}

// What a name found in a file of the folder means there; empty: something in another folder.
std::string NameInFolder(std::string_view name) {
  const Result<std::string> path = ResolveName("folder", name);
  return path && FolderOf(*path) == "folder" ? std::string(NameOf(*path)) : std::string();
}

std::vector<std::string> NamesInVmx(std::string_view text) {
  std::vector<std::string> names;
  const Result<Vmx> vmx = Vmx::Parse(text);
  if (!vmx) return names;
  for (const VmxDisk& disk : vmx->disks()) names.push_back(NameInFolder(disk.file_name));
  return names;
}

std::vector<std::string> NamesInVmsd(std::string_view text) {
  std::vector<std::string> names;
  const Result<SnapshotList> list = ParseSnapshotList(text);
  if (!list) return names;
  for (const std::string& name : list->current_disks) names.push_back(NameInFolder(name));
  return names;
}

std::vector<std::string> NamesInChildren(std::string_view text) {
  std::vector<std::string> names;
  for (const std::string& entry : ParseChildren(text)) names.push_back(NameInFolder(entry));
  return names;
}

class DescriptorNames : public fss::DirectorySink {
 public:
  bool Add(const fss::DirectoryEntry& entry) override {
    cursor_ = entry.next_cursor;
    has_progress_ = true;
    if (entry.type == fss::FileType::kRegular && IsOfDisks(entry.name)) {
      names_.emplace(entry.name);
    }
    return true;
  }

  bool TakeProgress() { return std::exchange(has_progress_, false); }

  uint64_t cursor() const { return cursor_; }

  const std::set<std::string>& names() const { return names_; }

 private:
  std::set<std::string> names_;
  uint64_t cursor_ = 0;
  bool has_progress_ = false;
};

}  // namespace

// What the files of one folder say, put together.
struct DiskLister::Findings {
  std::map<std::string, FolderLink> links;
  std::map<std::string, std::pair<fss::InodeNumber, uint64_t>> sizes;  // inode and capacity
  std::set<std::string> extents;
  std::set<std::string> clones;
  FolderRecords records;
};

DiskLister::Known DiskLister::Examine(std::string_view name, std::string_view text) {
  Known known;
  if (EndsWithIgnoringCase(name, kVmxSuffix)) known.names = NamesInVmx(text);
  if (EndsWithIgnoringCase(name, kVmsdSuffix)) known.names = NamesInVmsd(text);
  if (EndsWithIgnoringCase(name, kChildrenSuffix)) known.names = NamesInChildren(text);
  if (!EndsWithIgnoringCase(name, kDescriptorSuffix)) return known;
  Result<Descriptor> descriptor = ParseDescriptor(text);
  if (!descriptor) return known;
  known.is_descriptor = true;
  if (descriptor->has_parent()) {
    known.parent_name = NameInFolder(descriptor->parent_file_name_hint);
  }
  known.capacity_bytes = descriptor->capacity_sectors() * kSectorBytes;
  for (ExtentLine& extent : descriptor->extents) {
    if (extent.file_name != name) known.names.push_back(std::move(extent.file_name));
  }
  return known;
}

void DiskLister::Note(const std::string& name, fss::InodeNumber inode, const Known& known,
                      Findings& findings) {
  if (known.is_descriptor) {
    findings.links[name] = {.name = name, .parent_name = known.parent_name};
    findings.sizes[name] = {inode, known.capacity_bytes};
    findings.extents.insert(known.names.begin(), known.names.end());
    return;
  }
  for (const std::string& found : known.names) {
    if (EndsWithIgnoringCase(name, kVmxSuffix)) findings.records.vmx_names.push_back(found);
    if (EndsWithIgnoringCase(name, kVmsdSuffix)) findings.records.vmsd_names.push_back(found);
    if (EndsWithIgnoringCase(name, kChildrenSuffix)) findings.clones.insert(found);
  }
}

// Of a large file only a descriptor inside counts; `text` stays empty without one.
Task<Status> DiskLister::ReadText(fss::InodeNumber inode, std::string_view name,
                                  uint64_t size_bytes, std::string& text) {
  const bool is_large = size_bytes > kListedBytesMax;
  if (size_bytes == 0 || (is_large && !EndsWithIgnoringCase(name, kDescriptorSuffix))) {
    co_return base::Ok();
  }
  CO_TRY(const std::unique_ptr<fss::File> file,
         co_await file_system_.Open(inode, fss::OpenMode::kRead));
  Result<DescriptorText> read = co_await ReadDescriptorText(*file);
  const Status closed = co_await file->Close();
  if (!closed) co_return closed;
  if (!read && read.error().code() == Code::kIo) co_return read.error();
  if (read && (!is_large || read->embedded.room_bytes > 0)) text = std::move(read->text);
  co_return base::Ok();
}

// What is known of one name, read anew if it has changed; null when it is too large.
Task<Result<const DiskLister::Known*>> DiskLister::Look(fss::InodeNumber folder,
                                                        std::string_view name,
                                                        fss::InodeNumber& inode) {
  CO_TRY(const fss::Attributes attributes, co_await file_system_.Lookup(folder, name));
  inode = attributes.inode;
  const auto found = known_.find(inode);
  if (found != known_.end() && found->second.size_bytes == attributes.size_bytes &&
      found->second.modified_us == attributes.modified_us &&
      found->second.changed_us == attributes.changed_us) {
    file_system_.Forget(inode, 1);
    co_return &found->second;
  }
  std::string text;
  const Status read = co_await ReadText(inode, name, attributes.size_bytes, text);
  file_system_.Forget(inode, 1);
  if (!read) co_return read.error();
  if (known_.size() >= kKnownMax) known_.clear();
  Known& known = known_[inode] = Examine(name, text);
  known.size_bytes = attributes.size_bytes;
  known.modified_us = attributes.modified_us;
  known.changed_us = attributes.changed_us;
  co_return &known;
}

Task<Status> DiskLister::ListDisks(fss::InodeNumber folder, DiskSink& sink) {
  DescriptorNames names;
  do {
    CO_TRY_STATUS(co_await file_system_.ReadDirectory(folder, names.cursor(), names));
  } while (names.TakeProgress());
  Findings findings;
  for (const std::string& name : names.names()) {
    fss::InodeNumber inode = 0;
    const Result<const Known*> looked = co_await Look(folder, name, inode);
    if (looked) Note(name, inode, **looked, findings);
  }
  std::vector<FolderLink> links;
  for (auto& [name, link] : findings.links) {
    if (findings.extents.contains(name)) continue;
    link.is_clone = findings.clones.contains(name);
    links.push_back(std::move(link));
  }
  for (FolderDisk& disk : FindFolderDisks(links, findings.records)) {
    const auto& [inode, capacity_bytes] = findings.sizes.at(disk.name);
    ListedDisk listed{.disk = {}, .inode = inode, .capacity_bytes = capacity_bytes};
    listed.disk = std::move(disk);
    sink.Add(listed);
  }
  co_return base::Ok();
}

}  // namespace disklib
