#include "tests/support/volume_history.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "fs/base/random.h"

namespace vmfs {
namespace {

base::Task<base::Status> WriteAll(VolumeClient client, std::string_view path,
                                  uint64_t offset_bytes, std::span<const std::byte> source) {
  CO_TRY(const uint64_t done, co_await client.Write(path, offset_bytes, source));
  if (done != source.size()) co_return base::Error(base::Code::kNoSpace, "write: short");
  co_return base::Ok();
}

base::Task<void> Pass(base::Executor& executor, uint64_t microseconds) {
  co_await executor.Sleep(microseconds);
}

}  // namespace

std::vector<std::byte> SeededBytes(uint64_t seed, size_t size) {
  base::Random random(seed);
  std::vector<std::byte> bytes(size);
  for (size_t at = 0; at < size; at += 8) {
    const uint64_t word = random.Next() | 0x0101010101010101;  // no byte is zero
    std::memcpy(bytes.data() + at, &word, std::min<size_t>(8, size - at));
  }
  return bytes;
}

std::string SeededText(uint64_t seed, size_t size) {
  const std::vector<std::byte> bytes = SeededBytes(seed, size);
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

VolumeHistory::VolumeHistory(base::SimExecutor& executor, SimVolume& volume)
    : executor_(executor), volume_(volume) {
  steps_.push_back({"start", 0, 0, 0, {}});
  marks_.push_back({0, 0});
}

void VolumeHistory::StartOver() {
  steps_ = {{"start", 0, 0, 0, steps_.back().after}};
  marks_ = {{0, 0}};
}

void VolumeHistory::AddStep(const std::string& what, size_t begin, const base::Status& status) {
  if (!status && failure_.empty()) failure_ = what + ": " + status.error().message();
  Step step;
  step.what = what;
  step.begin = begin;
  step.end = volume_.disk().log().size();
  step.after = steps_.back().after;
  steps_.push_back(std::move(step));
}

Tree& VolumeHistory::Run(const std::string& what, base::Task<base::Status> task) {
  const size_t begin = volume_.disk().log().size();
  AddStep(what, begin, base::RunSync(executor_, std::move(task)));
  return steps_.back().after;
}

base::Task<void> VolumeHistory::Await(const char* what, base::Task<base::Status>* task) {
  const size_t begin = volume_.disk().log().size();
  const base::Status status = co_await std::move(*task);
  AddStep(what, begin, status);
}

void VolumeHistory::KeepOpen(const std::string& path, fss::OpenMode mode) {
  auto opened = base::RunSync(executor_, VolumeClient(volume_.volume()).Open(path, mode));
  if (opened) {
    kept_.push_back(std::move(*opened));
  } else if (failure_.empty()) {
    failure_ = "open " + path + ": " + opened.error().message();
  }
}

void VolumeHistory::CloseKept() {
  for (const auto& file : kept_) Run("close", file->Close());
  kept_.clear();
}

void VolumeHistory::MarkDurable(size_t step) {
  marks_.push_back({volume_.disk().log().size(), step});
}

void VolumeHistory::Create(const std::string& path) {
  Tree& tree = Run("create " + path, VolumeClient(volume_.volume()).Create(path));
  tree[path].id = next_id_++;
}

void VolumeHistory::MakeDirectory(const std::string& path) {
  Tree& tree = Run("mkdir " + path, VolumeClient(volume_.volume()).MakeDirectory(path));
  tree[path].type = fss::FileType::kDirectory;
}

void VolumeHistory::MakeSymlink(const std::string& path, const std::string& target) {
  Tree& tree = Run("symlink " + path, VolumeClient(volume_.volume()).MakeSymlink(path, target));
  tree[path].type = fss::FileType::kSymlink;
  tree[path].target = target;
}

void VolumeHistory::Unlink(const std::string& path) {
  Run("unlink " + path, VolumeClient(volume_.volume()).Unlink(path)).erase(path);
}

void VolumeHistory::RemoveDirectory(const std::string& path) {
  Run("rmdir " + path, VolumeClient(volume_.volume()).RemoveDirectory(path)).erase(path);
}

void VolumeHistory::Rename(const std::string& from, const std::string& to) {
  Tree& tree = Run("rename " + from + " " + to, VolumeClient(volume_.volume()).Rename(from, to));
  MoveInTree(tree, from, to);
}

void VolumeHistory::Truncate(const std::string& path, uint64_t size_bytes) {
  Tree& tree = Run(fmt::format("truncate {} {}", path, size_bytes),
                   VolumeClient(volume_.volume()).Truncate(path, size_bytes));
  tree[path].Resize(size_bytes);
  steps_.back().touched_id = tree[path].id;
}

void VolumeHistory::Write(const std::string& path, uint64_t offset_bytes, size_t length_bytes) {
  const std::vector<std::byte> bytes = SeededBytes(steps_.size() * 7919, length_bytes);
  Tree& tree = Run(fmt::format("write {} {}+{}", path, offset_bytes, length_bytes),
                   WriteAll(VolumeClient(volume_.volume()), path, offset_bytes, bytes));
  tree[path].Write(offset_bytes, bytes);
  steps_.back().touched_id = tree[path].id;
}

void VolumeHistory::Punch(const std::string& path, uint64_t offset_bytes, uint64_t length_bytes) {
  Tree& tree = Run(fmt::format("punch {} {}+{}", path, offset_bytes, length_bytes),
                   VolumeClient(volume_.volume())
                       .Allocate(path, fss::AllocateMode::kPunchHole, offset_bytes, length_bytes));
  tree[path].Zero(offset_bytes, length_bytes);
  steps_.back().touched_id = tree[path].id;
}

void VolumeHistory::Allocate(const std::string& path, uint64_t offset_bytes,
                             uint64_t length_bytes) {
  Tree& tree = Run(fmt::format("allocate {} {}+{}", path, offset_bytes, length_bytes),
                   VolumeClient(volume_.volume())
                       .Allocate(path, fss::AllocateMode::kAllocate, offset_bytes, length_bytes));
  tree[path].size_bytes = std::max(tree[path].size_bytes, offset_bytes + length_bytes);
  steps_.back().touched_id = tree[path].id;
}

void VolumeHistory::Reserve(const std::string& path, uint64_t offset_bytes,
                            uint64_t length_bytes) {
  Run(fmt::format("reserve {} {}+{}", path, offset_bytes, length_bytes),
      VolumeClient(volume_.volume())
          .Allocate(path, fss::AllocateMode::kAllocateKeepSize, offset_bytes, length_bytes));
}

void VolumeHistory::Replace(const std::vector<std::pair<std::string, size_t>>& files) {
  std::vector<std::pair<std::string, std::string>> texts;
  for (const auto& [path, length_bytes] : files) {
    texts.emplace_back(path, SeededText(steps_.size() * 7919 + texts.size(), length_bytes));
  }
  Tree& tree = Run(fmt::format("replace {} files, the first {}", files.size(), files[0].first),
                   VolumeClient(volume_.volume()).Replace(texts));
  for (const auto& [path, text] : texts) {
    tree[path].Resize(0);
    tree[path].Write(0, std::as_bytes(std::span(text)));
  }
  MarkDurable(steps_.size() - 1);
}

void VolumeHistory::Wait(uint64_t microseconds) {
  base::RunSync(executor_, Pass(executor_, microseconds));
}

void VolumeHistory::Sync(const std::string& path) {
  Run("sync " + path, VolumeClient(volume_.volume()).Sync(path));
  MarkSynced(path);
}

void VolumeHistory::MarkSynced(const std::string& path) {
  const uint64_t id = steps_.back().after[path].id;
  size_t step = steps_.size() - 1;
  // A sync speaks for its file alone; the journal's order makes everything before it durable too.
  while (step > 0 && steps_[step].touched_id != id && FindId(step - 1, id) != nullptr) --step;
  MarkDurable(step);
}

void VolumeHistory::SyncData(const std::string& path) {
  auto opened = base::RunSync(
      executor_, VolumeClient(volume_.volume()).Open(path, fss::OpenMode::kWrite));
  CHECK(opened.has_value());
  Run("sync data of " + path, (*opened)->Sync(/*data_only=*/true));
  MarkSynced(path);
  CHECK(base::RunSync(executor_, (*opened)->Close()).has_value());
}

void VolumeHistory::SyncAll() {
  Run("sync all", VolumeClient(volume_.volume()).SyncAll());
  MarkDurable(steps_.size() - 1);
}

void VolumeHistory::Unmount() {
  const base::Status status = volume_.Unmount();
  if (!status && failure_.empty()) failure_ = "unmount: " + status.error().message();
  MarkDurable(steps_.size() - 1);
}

const TreeNode* VolumeHistory::FindId(size_t step, uint64_t id) const {
  for (const auto& [path, node] : steps_[step].after) {
    if (node.id == id && id != 0) return &node;
  }
  return nullptr;
}

// Whether a step behind `step`, up to `last_step`, changed the file's data or length.
bool VolumeHistory::IsTouched(size_t step, size_t last_step, uint64_t id) const {
  for (size_t i = step + 1; i <= last_step; ++i) {
    if (steps_[i].touched_id == id && id != 0) return true;
  }
  return false;
}

std::string VolumeHistory::CompareFile(size_t step, size_t last_step, const std::string& path,
                                       const TreeNode& found) const {
  const TreeNode& expected = steps_[step].after.at(path);
  const bool half_way = step < last_step && steps_[step + 1].touched_id == expected.id;
  uint64_t least = expected.size_bytes;
  uint64_t most = expected.size_bytes;
  if (half_way) {
    const TreeNode* next = FindId(step + 1, expected.id);
    least = std::min(least, next->size_bytes);
    most = std::max(most, next->size_bytes);
  }
  if (found.size_bytes < least || found.size_bytes > most) {
    return fmt::format("{}: has {} bytes, expected {} to {}", path, found.size_bytes, least, most);
  }
  const uint64_t size = found.size_bytes;
  if (!IsTouched(step, last_step, expected.id)) {
    const uint64_t wrong = FirstDifference(expected.bytes, found.bytes, size);
    return wrong == size ? "" : fmt::format("{}: byte {} of {} is wrong", path, wrong, size);
  }
  const uint64_t at = FirstUnexplained(step, last_step, expected.id, found);
  return at == size ? "" : fmt::format("{}: byte {} of {} was never there", path, at, size);
}

// The first byte that no version of the file from `step` to `last_step` has there. Zeros need no
// explanation: a change that is under way.
uint64_t VolumeHistory::FirstUnexplained(size_t step, size_t last_step, uint64_t id,
                                         const TreeNode& found) const {
  std::vector<base::MapRun> runs;
  found.bytes.Map(0, found.size_bytes, runs);
  for (const base::MapRun& run : runs) {
    if (run.state != base::MapState::kData) continue;
    std::vector<std::byte> open(run.length_bytes);  // what no version has explained yet
    found.bytes.Read(run.offset_bytes, open);
    std::vector<std::byte> version(run.length_bytes);
    for (size_t i = step; i <= last_step; ++i) {
      const TreeNode* node = FindId(i, id);
      if (node == nullptr) continue;
      node->bytes.Read(run.offset_bytes, version);
      if (version == open) std::fill(open.begin(), open.end(), std::byte{0});
      for (size_t j = 0; j < open.size(); ++j) {
        if (open[j] == version[j]) open[j] = std::byte{0};
      }
    }
    const auto wrong = std::find_if(open.begin(), open.end(),
                                    [](std::byte byte) { return byte != std::byte{0}; });
    if (wrong != open.end()) return run.offset_bytes + static_cast<uint64_t>(wrong - open.begin());
  }
  return found.size_bytes;
}

std::string VolumeHistory::Compare(size_t step, size_t last_step, const Tree& found) const {
  const Tree& expected = steps_[step].after;
  for (const auto& [path, node] : found) {
    if (!expected.contains(path)) return path + ": should not be there";
  }
  for (const auto& [path, node] : expected) {
    const auto at = found.find(path);
    if (at == found.end()) return path + ": is missing";
    if (at->second.type != node.type) return path + ": is of another type";
    if (at->second.target != node.target) return path + ": points elsewhere";
    if (node.type != fss::FileType::kRegular) continue;
    std::string text = CompareFile(step, last_step, path, at->second);
    if (!text.empty()) return text;
  }
  return {};
}

std::string VolumeHistory::Judge(size_t prefix_length, const Tree& found) const {
  size_t first = 0;
  for (const DurableMark& mark : marks_) {
    if (mark.log_length <= prefix_length) first = std::max(first, mark.step);
  }
  size_t last = first;
  while (last + 1 < steps_.size() && steps_[last + 1].begin <= prefix_length) ++last;
  std::string text;
  for (size_t step = first; step <= last; ++step) {
    const std::string wrong = Compare(step, last, found);
    if (wrong.empty()) return {};
    text += fmt::format("\n  not as after \"{}\": {}", steps_[step].what, wrong);
  }
  return fmt::format("the volume is in none of {} possible states:{}", last - first + 1, text);
}

}  // namespace vmfs
