// Random operations on a mounted volume and on a model in memory, which must agree.
//
// Several workers are in flight at once, each in a directory of its own and in one they share;
// remounts come at random, and after each unmount the full check must find nothing. The volumes are
// small, so that they run full. SEED=s runs another schedule, ROUNDS=n that many of them.

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include "fs/base/log.h"
#include "tests/support/crash_sweep.h"
#include "tests/support/volume_history.h"
#include "vmfs/mkfs/mkfs.h"

namespace vmfs {
namespace {

using base::Code;

constexpr std::nullopt_t kNoError = std::nullopt;
using Answer = std::optional<Code>;  // the error that is expected, if any

constexpr uint64_t kMiB = uint64_t{1} << 20;

// One worker: its part of the model, and what it does next.
class Worker {
 public:
  Worker(uint64_t seed, uint64_t number)
      : random_(seed * 977 + number), top_(fmt::format("/w{}", number)) {
    shared_prefix_ = fmt::format("/shared/{}-", number);
  }

  const Tree& tree() const { return tree_; }
  const std::string& failure() const { return failure_; }
  const std::string& top() const { return top_; }

  base::Task<void> MakeTop(fss::FileSystem& volume) {
    VolumeClient client(volume);
    const base::Status made = co_await client.MakeDirectory(top_);
    Expect(made, kNoError, "mkdir " + top_);
    tree_[top_].type = fss::FileType::kDirectory;
  }

  base::Task<void> Run(fss::FileSystem& volume, uint64_t count) {
    for (uint64_t i = 0; i < count && failure_.empty(); ++i) co_await Step(volume);
    co_await CloseAll();
  }

  // Removes everything, the top included.
  base::Task<void> RemoveAll(fss::FileSystem& volume) {
    VolumeClient client(volume);
    while (!tree_.empty() && failure_.empty()) {
      const std::string path = tree_.rbegin()->first;
      const bool is_directory = tree_.rbegin()->second.type == fss::FileType::kDirectory;
      base::Status status;
      if (is_directory) {
        status = co_await client.RemoveDirectory(path);
      } else {
        status = co_await client.Unlink(path);
      }
      Expect(status, kNoError, "remove " + path);
      tree_.erase(path);
    }
  }

 private:
  struct Nameless {
    std::unique_ptr<fss::File> file;
    TreeNode node;
  };

  void Fail(const std::string& text) {
    if (failure_.empty()) failure_ = text;
  }

  // Whether the operation took place. Running out of space is an answer too.
  bool Expect(const base::Status& status, Answer expected, const std::string& what) {
    Answer answer;
    if (!status) answer = status.error().code();
    if (answer == Code::kNoSpace && !expected) return false;
    if (answer == expected) return !answer;
    Fail(fmt::format("{}: {}, expected code {}", what, status ? "ok" : status.error().message(),
                     expected ? static_cast<int>(*expected) : 0));
    return false;
  }

  template <typename Choose>
  std::string Pick(Choose choose) {
    std::vector<std::string> found;
    for (const auto& [path, node] : tree_) {
      if (choose(node)) found.push_back(path);
    }
    return found.empty() ? "" : found[random_.Below(found.size())];
  }

  std::string PickFile() {
    return Pick([](const TreeNode& node) { return node.type == fss::FileType::kRegular; });
  }

  std::string PickName() {
    if (random_.OneIn(5)) return shared_prefix_ + std::to_string(random_.Below(6));
    const std::string parent =
        Pick([](const TreeNode& node) { return node.type == fss::FileType::kDirectory; });
    return fmt::format("{}/n{}", parent, random_.Below(8));
  }

  uint64_t PickLength() {
    switch (random_.Below(8)) {
      case 0: return 1 + random_.Below(3 * kMiB);
      case 1:
      case 2: return 1 + random_.Below(200'000);
      case 3:
      case 4: return 512 * (1 + random_.Below(64));
      default: return 1 + random_.Below(5000);
    }
  }

  uint64_t PickOffset(const TreeNode& node) {
    switch (random_.Below(12)) {
      case 0: return random_.Below(8 * kMiB);
      case 1: return 512 * random_.Below(1000);
      case 2: return node.size_bytes + random_.Below(100'000);
      case 3: return random_.OneIn(12) ? random_.Below(kMiB * kMiB) : node.size_bytes;
      case 4: return random_.OneIn(20) ? random_.Below(60 * kMiB * kMiB) : 0;
      case 5:
      case 6: return node.size_bytes;
      default: return random_.Below(node.size_bytes + 1);
    }
  }

  base::Task<void> Step(fss::FileSystem& volume) {
    VolumeClient client(volume);
    const uint64_t draw = random_.Below(100);
    if (draw < 14) {
      co_await Create(client);
    } else if (draw < 40) {
      co_await Write(client);
    } else if (draw < 50) {
      co_await Truncate(client);
    } else if (draw < 62) {
      co_await Allocate(client);
    } else if (draw < 70) {
      co_await Rename(client);
    } else if (draw < 78) {
      co_await Remove(client);
    } else if (draw < 82) {
      co_await RemoveWhileOpen(client);
    } else if (draw < 92) {
      co_await Verify(client);
    } else if (draw < 94) {
      co_await Replace(client);
    } else if (draw < 95) {
      co_await CheckNameless();
    } else if (draw < 97) {
      const base::Status synced = co_await client.SyncAll();
      Expect(synced, kNoError, "sync all");
    } else {
      co_await Seek(client);
    }
  }

  base::Task<void> Create(VolumeClient& client) {
    const std::string path = PickName();
    const Answer expected = tree_.contains(path) ? Answer(Code::kExists) : kNoError;
    const uint64_t kind = random_.Below(8);
    TreeNode node;
    base::Status status;
    if (kind == 0) {
      node.type = fss::FileType::kDirectory;
      status = co_await client.MakeDirectory(path);
    } else if (kind == 1) {
      node.type = fss::FileType::kSymlink;
      node.target = std::string(1 + random_.Below(3000), 't');
      status = co_await client.MakeSymlink(path, node.target);
    } else {
      status = co_await client.Create(path);
    }
    if (Expect(status, expected, "create " + path)) tree_[path] = std::move(node);
  }

  base::Task<void> Write(VolumeClient& client) {
    const std::string path = PickFile();
    if (path.empty()) co_return;
    const std::vector<std::byte> bytes = SeededBytes(random_.Next(), PickLength());
    const uint64_t offset = PickOffset(tree_[path]);
    const base::Result<uint64_t> done = co_await client.Write(path, offset, bytes);
    const std::string what = fmt::format("write {} {}+{}", path, offset, bytes.size());
    if (done) {
      if (*done == 0 || *done > bytes.size()) Fail(what + ": answered " + std::to_string(*done));
      tree_[path].Write(offset, std::span(bytes).first(*done));
    } else if (done.error().code() != Code::kNoSpace) {
      Fail(what + ": " + done.error().message());
    }
    if (random_.OneIn(8)) {
      const base::Status synced = co_await client.Sync(path);
      Expect(synced, kNoError, "sync " + path);
    }
  }

  base::Task<void> Truncate(VolumeClient& client) {
    const std::string path = PickFile();
    if (path.empty()) co_return;
    uint64_t size = PickOffset(tree_[path]);
    if (random_.OneIn(4)) size = 0;
    const base::Status status = co_await client.Truncate(path, size);
    if (Expect(status, kNoError, fmt::format("truncate {} {}", path, size))) {
      tree_[path].Resize(size);
    }
  }

  // All of the files named, or none, whatever they were before.
  base::Task<void> Replace(VolumeClient& client) {
    std::vector<std::pair<std::string, std::string>> files;
    for (uint64_t i = 0; i < 3; ++i) {
      const std::string path = PickFile();
      const bool named = std::any_of(files.begin(), files.end(),
                                     [&](const auto& file) { return file.first == path; });
      if (path.empty() || named) continue;
      files.emplace_back(path, SeededText(random_.Next(), random_.Below(22'000)));
    }
    if (files.empty()) co_return;
    const base::Status status = co_await client.Replace(files);
    if (!status && status.error().code() == Code::kTooLarge) co_return;  // pointer blocks
    if (!Expect(status, kNoError, "replace " + files[0].first)) co_return;
    for (const auto& [path, text] : files) {
      tree_[path].Resize(0);
      tree_[path].Write(0, std::as_bytes(std::span(text)));
    }
  }

  base::Task<void> Allocate(VolumeClient& client) {
    using Mode = fss::AllocateMode;
    static constexpr std::array kModes{Mode::kPunchHole, Mode::kPunchHole, Mode::kAllocate,
                                       Mode::kAllocateKeepSize, Mode::kZeroRange,
                                       Mode::kZeroRangeKeepSize};
    const std::string path = PickFile();
    if (path.empty()) co_return;
    const Mode mode = kModes[random_.Below(kModes.size())];
    const uint64_t offset = PickOffset(tree_[path]);
    const uint64_t length = PickLength();
    const base::Status status = co_await client.Allocate(path, mode, offset, length);
    const bool done = Expect(status, kNoError,
                             fmt::format("allocate ({}) {} {}+{}", static_cast<int>(mode), path,
                                         offset, length));
    TreeNode& node = tree_[path];
    const bool zeroes = mode != Mode::kAllocate && mode != Mode::kAllocateKeepSize;
    if (!done) {
      if (zeroes) co_await AdoptZeros(client, path, offset, length);
      co_return;
    }
    if (mode == Mode::kAllocate || mode == Mode::kZeroRange) {
      node.size_bytes = std::max(node.size_bytes, offset + length);
    }
    if (zeroes) node.Zero(offset, length);
  }

  // A range that could not be zeroed whole may be zeroed in part.
  base::Task<void> AdoptZeros(VolumeClient& client, std::string_view path, uint64_t offset,
                              uint64_t length) {
    TreeNode& node = tree_.find(path)->second;
    const uint64_t end = std::min(node.size_bytes, offset + length);
    if (offset >= end) co_return;
    std::vector<std::byte> now(end - offset);
    std::vector<std::byte> before(end - offset);
    const base::Result<uint64_t> done = co_await client.Read(path, offset, now);
    if (!done) co_return Fail(done.error().message());
    node.bytes.Read(offset, before);
    for (size_t i = 0; i < now.size(); ++i) {
      if (now[i] != before[i] && now[i] != std::byte{0}) Fail("a failed zeroing wrote something");
    }
    node.bytes.Write(offset, now);
  }

  Answer RenameAnswer(const std::string& from, const std::string& to) const {
    const auto source = tree_.find(from);
    const auto target = tree_.find(to);
    if (source == tree_.end()) return Code::kNotFound;
    if (from == to) return kNoError;
    const bool directory = source->second.type == fss::FileType::kDirectory;
    if (directory && to.starts_with(from + "/")) return Code::kInvalidArgument;
    if (target == tree_.end()) return kNoError;
    const bool onto_directory = target->second.type == fss::FileType::kDirectory;
    if (onto_directory && !directory) return Code::kIsDirectory;
    if (directory && !onto_directory) return Code::kNotDirectory;
    return onto_directory && HasChildren(tree_, to) ? Answer(Code::kNotEmpty) : kNoError;
  }

  base::Task<void> Rename(VolumeClient& client) {
    const std::string from = PickName();
    const std::string to = PickName();
    const Answer expected = RenameAnswer(from, to);
    const base::Status status = co_await client.Rename(from, to);
    if (Expect(status, expected, "rename " + from + " " + to) && from != to) {
      MoveInTree(tree_, from, to);
    }
  }

  base::Task<void> Remove(VolumeClient& client) {
    const std::string path = PickName();
    const auto found = tree_.find(path);
    const bool there = found != tree_.end();
    const bool directory = there && found->second.type == fss::FileType::kDirectory;
    const bool as_directory = random_.OneIn(8) ? !directory : directory;
    Answer expected;
    base::Status status;
    if (as_directory) {
      if (directory && HasChildren(tree_, path)) expected = Code::kNotEmpty;
      if (!directory) expected = Code::kNotDirectory;
      status = co_await client.RemoveDirectory(path);
    } else {
      if (directory) expected = Code::kIsDirectory;
      status = co_await client.Unlink(path);
    }
    if (!there) expected = Code::kNotFound;
    if (Expect(status, expected, "remove " + path)) tree_.erase(path);
    // Removing must not need space.
    if (!status && status.error().code() == Code::kNoSpace) Fail("remove " + path + ": no space");
  }

  base::Task<void> RemoveWhileOpen(VolumeClient& client) {
    const std::string path = PickFile();
    if (path.empty() || nameless_.size() >= 3) co_return;
    auto opened = co_await client.Open(path, fss::OpenMode::kWrite);
    if (!opened) co_return Fail("open " + path + ": " + opened.error().message());
    nameless_.push_back({*std::move(opened), std::move(tree_[path])});
    tree_.erase(path);
    const base::Status status = co_await client.Unlink(path);
    Expect(status, kNoError, "unlink " + path);
  }

  // A file without a name still holds what was written, and can be written.
  base::Task<void> CheckNameless() {
    if (nameless_.empty()) co_return;
    Nameless nameless = std::move(nameless_.back());
    nameless_.pop_back();
    TreeNode found;
    const base::Status read = co_await VolumeClient::ReadContents(*nameless.file, found);
    if (!read) Fail("read a file without a name: " + read.error().message());
    const uint64_t size = nameless.node.size_bytes;
    if (found.size_bytes != size ||
        FirstDifference(found.bytes, nameless.node.bytes, size) != size) {
      Fail("a file without a name holds something else");
    }
    const base::Status closed = co_await nameless.file->Close();
    if (!closed) Fail("close a file without a name: " + closed.error().message());
  }

  base::Task<void> CloseAll() {
    while (!nameless_.empty()) co_await CheckNameless();
  }

  base::Task<void> Verify(VolumeClient& client) {
    const std::string path = PickFile();
    if (path.empty()) co_return;
    const auto opened = co_await client.Open(path, fss::OpenMode::kRead);
    if (!opened) co_return Fail("open " + path + ": " + opened.error().message());
    TreeNode found;
    const base::Status read = co_await VolumeClient::ReadContents(**opened, found);
    const base::Status closed = co_await (*opened)->Close();
    if (!read || !closed) Fail("read " + path);
    Tree expected_tree;
    Tree found_tree;
    expected_tree[path] = tree_[path];
    found_tree[path] = std::move(found);
    const std::string wrong = DescribeDifference(expected_tree, found_tree);
    if (!wrong.empty()) Fail(wrong);
  }

  // What lies behind a hole that SEEK_HOLE found must be zeros in the model.
  base::Task<void> Seek(VolumeClient& client) {
    const std::string path = PickFile();
    if (path.empty() || tree_[path].size_bytes == 0) co_return;
    const TreeNode& node = tree_[path];
    const uint64_t from = random_.Below(node.size_bytes);
    const base::Result<uint64_t> data = co_await client.Seek(path, fss::SeekKind::kData, from);
    const bool none = !data && data.error().code() == Code::kNoData;
    if (!data && !none) co_return Fail("seek " + path + ": " + data.error().message());
    const uint64_t end = none ? node.size_bytes : *data;
    base::SparseStore zeros;
    TreeNode before = node;
    before.bytes.Zero(0, from);
    if (FirstDifference(before.bytes, zeros, end) < end) {
      Fail(fmt::format("seek {} from {}: passed data before {}", path, from, end));
    }
  }

  base::Random random_;
  std::string top_;
  std::string shared_prefix_;
  Tree tree_;
  std::vector<Nameless> nameless_;
  std::string failure_;
};

struct ModelOptions {
  uint64_t seed = 1;
  uint64_t volume_bytes = uint64_t{256} << 20;
  uint64_t latency_us_max = 0;
  uint64_t workers = 3;
  uint64_t mounts = 4;
  uint64_t operations = 60;   // of each worker in each mount
  uint64_t fill_blocks = 0;  // taken away by a file of its own, so that space runs out
};

class ModelRun {
 public:
  explicit ModelRun(const ModelOptions& options)
      : options_(options), executor_(options.seed) {
    base::SetLogLevel(base::LogLevel::kOff);
    base::SimDisk::Options disk;
    disk.size_bytes = ImageBytesFor(options.volume_bytes);
    disk.logging = false;
    disk.latency_us_max = options.latency_us_max;
    volume_ = std::make_unique<SimVolume>(
        executor_, std::make_unique<base::SimDisk>(executor_, disk));
    for (uint64_t i = 0; i < options.workers; ++i) {
      workers_.push_back(std::make_unique<Worker>(options.seed, i));
    }
  }

  // What went wrong; empty when nothing did.
  std::string Go() {
    if (const auto made = volume_->MakeFileSystem(); !made) return made.error().message();
    const base::Result<FsckReport> fresh = volume_->Report();
    for (uint64_t mount = 0; mount <= options_.mounts; ++mount) {
      const bool last = mount == options_.mounts;
      std::string wrong = OneMount(mount == 0, last);
      if (!wrong.empty()) return fmt::format("mount {}: {}", mount, wrong);
    }
    return CompareUse(*fresh);
  }

 private:
  base::Task<void> Prepare() {
    VolumeClient client(volume_->volume());
    const base::Status made = co_await client.MakeDirectory("/shared");
    CHECK(made.has_value());
    for (const auto& worker : workers_) co_await worker->MakeTop(volume_->volume());
    if (options_.fill_blocks == 0) co_return;
    const base::Status created = co_await client.Create("/fill");
    CHECK(created.has_value());
    const base::Status filled = co_await client.Allocate(
        "/fill", fss::AllocateMode::kAllocate, 0, options_.fill_blocks * kMiB);
    CHECK(filled.has_value());
  }

  base::Task<void> WorkTogether(uint64_t operations) {
    base::TaskGroup group(executor_);
    for (const auto& worker : workers_) group.Add(worker->Run(volume_->volume(), operations));
    co_await group.Join();
  }

  base::Task<void> RemoveAll() {
    for (const auto& worker : workers_) co_await worker->RemoveAll(volume_->volume());
    VolumeClient client(volume_->volume());
    base::Status removed = co_await client.RemoveDirectory("/shared");
    if (removed && options_.fill_blocks > 0) removed = co_await client.Unlink("/fill");
    if (!removed) failure_ = "rmdir /shared: " + removed.error().message();
  }

  std::string OneMount(bool first, bool last) {
    if (const auto mounted = volume_->Mount(); !mounted) return mounted.error().message();
    if (first) base::RunSync(executor_, Prepare());
    std::string wrong = CompareTrees();
    if (wrong.empty() && last) base::RunSync(executor_, RemoveAll());
    if (wrong.empty() && !last) base::RunSync(executor_, WorkTogether(options_.operations));
    for (const auto& worker : workers_) {
      if (wrong.empty()) wrong = worker->failure();
    }
    if (wrong.empty()) wrong = failure_;
    if (wrong.empty() && !last) wrong = CompareTrees();
    const base::Status unmounted = volume_->Unmount();
    if (wrong.empty() && !unmounted) wrong = unmounted.error().message();
    if (wrong.empty()) wrong = volume_->Check();
    return wrong;
  }

  std::string CompareTrees() {
    Tree found;
    const base::Status read =
        base::RunSync(executor_, VolumeClient(volume_->volume()).ReadTree("", found));
    if (!read) return "read the tree: " + read.error().message();
    found.erase("/shared");
    found.erase("/fill");
    Tree expected;
    for (const auto& worker : workers_) {
      expected.insert(worker->tree().begin(), worker->tree().end());
    }
    return DescribeDifference(expected, found);
  }

  // With everything removed, only what resource files and the root have grown by is in use.
  std::string CompareUse(const FsckReport& fresh) {
    const base::Result<FsckReport> now = volume_->Report();
    const FsckCounters& before = fresh.counters;
    const FsckCounters& after = now->counters;
    if (after.descriptors_used != before.descriptors_used) {
      return fmt::format("{} descriptors are used, at first {}", after.descriptors_used,
                         before.descriptors_used);
    }
    if (after.sub_blocks_used != before.sub_blocks_used) {
      return fmt::format("{} sub-blocks are used, at first {}", after.sub_blocks_used,
                         before.sub_blocks_used);
    }
    const bool grew =
        after.sub_blocks != before.sub_blocks || after.descriptors != before.descriptors;
    if (!grew && after.blocks_used != before.blocks_used) {
      return fmt::format("{} blocks are used, at first {}", after.blocks_used, before.blocks_used);
    }
    return {};
  }

  const ModelOptions options_;
  base::SimExecutor executor_;
  std::unique_ptr<SimVolume> volume_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::string failure_;
};

void RunSeeds(const char* test, ModelOptions options, uint64_t fixed_count) {
  const uint64_t first = base::SeedFromEnvironment(1);
  const uint64_t count = base::RoundsFromEnvironment(fixed_count);
  for (uint64_t seed = first; seed < first + count; ++seed) {
    options.seed = seed;
    ModelRun run(options);
    const std::string wrong = run.Go();
    ASSERT_EQ(wrong, "") << "replay: SEED=" << seed
                         << " ROUNDS=1 vmfs_model_test --gtest_filter=VolumeModel." << test;
  }
}

TEST(VolumeModel, AgreesWithOneWorker) {
  ModelOptions options;
  options.workers = 1;
  options.operations = 150;
  RunSeeds("AgreesWithOneWorker", options, 3);
}

TEST(VolumeModel, AgreesWithManyWorkersAtOnce) {
  ModelOptions options;
  options.workers = 5;
  options.latency_us_max = 3000;
  RunSeeds("AgreesWithManyWorkersAtOnce", options, 2);
}

TEST(VolumeModel, AgreesOverManyRemounts) {
  ModelOptions options;
  options.mounts = 25;
  options.operations = 8;
  options.latency_us_max = 200;
  RunSeeds("AgreesOverManyRemounts", options, 2);
}

TEST(VolumeModel, AgreesWhileSpaceRunsOut) {
  ModelOptions options;
  options.latency_us_max = 500;
  options.fill_blocks = 160;
  RunSeeds("AgreesWhileSpaceRunsOut", options, 2);
}

}  // namespace
}  // namespace vmfs
