// What the tests of the checker share: a chain of disks, damage done by hand, and what the checker
// says of it.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "disklib/check/check.h"
#include "disklib/check/repair.h"
#include "tests/disklib/support.h"

namespace disklib {

using Names = std::set<std::string>;

// The invariants a report names, notes left out.
inline Names NamesIn(const CheckReport& report) {
  Names names;
  for (const CheckFinding& finding : report.findings) {
    if (finding.severity == CheckSeverity::kInfo) continue;
    names.emplace(InfoOf(finding.id).name);
  }
  return names;
}

inline std::string TextOf(const CheckReport& report) {
  std::string text;
  for (const CheckFinding& finding : report.findings) {
    text += fmt::format("{} {} {}: {} [{}]\n", InfoOf(finding.id).name, NameOf(finding.severity),
                        finding.place.file, finding.text, finding.repair_text);
  }
  return text;
}

struct CheckBench : Bench {
  CheckReport Check(std::string_view path, CheckOptions options = {}) {
    auto report = Run(CheckDisk(lib, path, options, nullptr));
    EXPECT_TRUE(report) << report.error().message();
    return report ? *std::move(report) : CheckReport();
  }

  CheckReport CheckAll(CheckOptions options = {}) {
    auto report = Run(CheckFolder(lib, "", options, nullptr));
    EXPECT_TRUE(report) << report.error().message();
    return report ? *std::move(report) : CheckReport();
  }

  // Repairs with these invariants named, and nothing confirmed.
  DiskRepairReport Repair(std::string_view path, std::set<Invariant> fix = {}) {
    DiskRepairOptions options;
    options.fix = std::move(fix);
    auto report = Run(RepairDisk(lib, path, options, nullptr));
    EXPECT_TRUE(report) << report.error().message();
    return report ? *std::move(report) : DiskRepairReport();
  }

  // Replaces the one place where `from` stands in a file.
  void Edit(std::string_view path, std::string_view from, std::string_view to) {
    std::string text = Load(path);
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << path << " has no " << from << ":\n" << text;
    text.replace(at, from.size(), to);
    Store(path, text);
  }

  // Overwrites bytes of a file in place.
  void Poke(std::string_view path, uint64_t offset_bytes, std::string_view bytes) {
    auto object = Run(backend.Open(path, fss::OpenMode::kWrite));
    ASSERT_TRUE(object) << object.error().message();
    EXPECT_TRUE(Run(WriteWhole(**object, offset_bytes, bytes)));
    EXPECT_TRUE(Run((*object)->Close()));
  }

  // A flat disk with something in it, as a base or a child of `parent`.
  void MakeFlat(std::string_view path, std::string_view parent = {},
                uint64_t size_bytes = 4 * kMebi) {
    Create(path, {.size_bytes = size_bytes, .provisioning = Provisioning::kEagerZeroedThick});
    if (parent.empty()) return;
    Edit(path, "parentCID=ffffffff", "parentCID=fffffffe");
    Edit(path, "createType=\"vmfs\"\n",
         fmt::format("createType=\"vmfs\"\nparentFileNameHint=\"{}\"\n", parent));
  }
};

}  // namespace disklib
