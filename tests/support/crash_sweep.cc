#include "tests/support/crash_sweep.h"

#include <cstdlib>

#include <fmt/format.h>

#include "fs/base/random.h"

namespace base {
namespace {

using Fate = SimDisk::Fate;

uint64_t NumberFromEnvironment(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 0) : fallback;
}

const char* NameOf(Fate::Kind kind) {
  switch (kind) {
    case Fate::Kind::kLost: return "lost";
    case Fate::Kind::kKept: return "kept";
    case Fate::Kind::kTorn: return "torn";
  }
  return "?";
}

// How many cases a prefix with `open_count` open changes has, and which case is which.
class CasePlan {
 public:
  CasePlan(const CrashSweepOptions& options, size_t open_count)
      : open_count_(open_count),
        exhaustive_(open_count <= options.all_subsets_max),
        plain_(exhaustive_ ? uint64_t{1} << open_count : options.samples + 2),
        torn_(open_count > 0 ? options.torn_samples : 0) {}

  uint64_t count() const { return plain_ + torn_; }

  std::vector<Fate> FatesOf(uint64_t number, Random& random) const {
    std::vector<Fate> fates(open_count_);
    for (size_t i = 0; i < open_count_; ++i) fates[i] = FateOf(number, i, random);
    return fates;
  }

 private:
  Fate FateOf(uint64_t number, size_t index, Random& random) const {
    if (number >= plain_) {
      const uint64_t draw = random.Below(4);
      if (draw == 0) return {Fate::Kind::kLost, 0};
      if (draw == 1) return {Fate::Kind::kKept, 0};
      return {Fate::Kind::kTorn, random.Next()};
    }
    bool kept = random.OneIn(2);
    if (exhaustive_) kept = (number >> index & 1) != 0;
    if (!exhaustive_ && number < 2) kept = number == 1;
    return {kept ? Fate::Kind::kKept : Fate::Kind::kLost, 0};
  }

  size_t open_count_;
  bool exhaustive_;
  uint64_t plain_;
  uint64_t torn_;
};

// One case: made from the seed, the prefix and its number alone, so that it can be replayed alone.
void RunCase(const CrashSubject& subject, const CrashSweepOptions& options, const CasePlan& plan,
             CrashCase& crash, CrashSweepResult& result) {
  Random random(options.seed * 1'000'003 + crash.prefix_length * 8191 + crash.number);
  crash.fates = plan.FatesOf(crash.number, random);
  SimExecutor executor(random.Next());
  const std::string wrong = subject.run(executor, crash);
  ++result.cases;
  if (wrong.empty()) return;
  if (result.failures++ == 0) {
    result.failure =
        fmt::format("{}: {}\n(seed {}; replay with only_prefix = {}, only_case = {})",
                    crash.ToString(), wrong, options.seed, crash.prefix_length, crash.number);
  }
}

}  // namespace

std::string CrashCase::ToString() const {
  std::string text = fmt::format("prefix {} case {}:", prefix_length, number);
  for (size_t i = 0; i < open.size(); ++i) {
    text += fmt::format(" [{} {}]", open[i], NameOf(fates[i].kind));
  }
  return text;
}

CrashSweepResult SweepCrashSubject(const CrashSubject& subject, const CrashSweepOptions& options,
                                   uint64_t failures_max) {
  CrashSweepResult result;
  const size_t last = subject.log_length;
  for (size_t prefix = options.first_prefix; prefix <= last; ++prefix) {
    const bool skipped = (prefix - options.first_prefix) % options.prefix_step != 0;
    if (options.only_prefix ? prefix != *options.only_prefix : skipped && prefix != last) continue;
    CrashCase crash{prefix, 0, subject.open_changes(prefix), {}};
    const CasePlan plan(options, crash.open.size());
    for (crash.number = 0; crash.number < plan.count(); ++crash.number) {
      if (options.only_case && crash.number != *options.only_case) continue;
      RunCase(subject, options, plan, crash, result);
      if (result.failures >= failures_max) return result;
    }
  }
  return result;
}

CrashSweepResult SweepCrashes(SimDisk& disk, const CrashSweepOptions& options,
                              const CrashCheck& check, uint64_t failures_max) {
  const CrashSubject subject{
      .log_length = disk.log().size(),
      .open_changes = [&](size_t prefix_length) { return disk.OpenChanges(prefix_length); },
      .run =
          [&](SimExecutor& executor, const CrashCase& crash) {
            const auto image = disk.CrashImage(executor, crash.prefix_length, crash.fates);
            return check(executor, *image, crash);
          }};
  return SweepCrashSubject(subject, options, failures_max);
}

uint64_t SeedFromEnvironment(uint64_t fallback) {
  return NumberFromEnvironment("SEED", fallback);
}

uint64_t RoundsFromEnvironment(uint64_t fallback) {
  return NumberFromEnvironment("ROUNDS", fallback);
}

}  // namespace base
