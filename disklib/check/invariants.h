// The invariants of virtual disks, as data: what the checker looks for, how bad it is when it does
// not hold, and what can be done.
//
// One row per invariant: disklib/FORMAT.md, "Check", prints the same table. The checker's findings
// name a row; `--explain` prints its explanation; `--fix C1` names it to a repair. Thread rule:
// constant data.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace disklib {

enum class Invariant : uint8_t {
  kD1, kD2, kD3, kD4, kD5, kD6, kD7, kD8, kD9, kD10,
  kC1, kC2, kC3, kC4, kC5, kC6, kC7, kC8,
  kH1, kH2, kH3, kH4, kH5, kH6, kH7,
  kS1, kS2,
  kV1, kV2, kV3, kV4, kV5, kV6,
  kX1, kX2, kX3, kX4, kX5, kX6, kX7, kX8, kX9,
  kT1,
  kR1,
};

enum class CheckSeverity : uint8_t {
  kInfo,     // worth saying, nothing is wrong
  kLeak,     // space that nothing refers to
  kWarning,  // a rule is broken that harms nobody yet
  kError,    // data is lost or will be, or the disk is not what it says
};

// What a repair may do about a finding.
enum class RepairClass : uint8_t {
  kNone,       // nothing, or nothing without a person
  kOnRequest,  // it changes what the disk means: only when confirmed one by one, or named
  kAutomatic,  // nothing that anything refers to changes
};

struct InvariantInfo {
  Invariant id;
  std::string_view name;   // "C1"
  std::string_view scope;  // "chain"
  CheckSeverity severity;  // of most findings; single ones may be less
  RepairClass repair;      // at best; a finding says what is offered for it
  std::string_view sentence;
  std::string_view explanation;
};

// Every row, in the order of the enumeration.
std::span<const InvariantInfo> Invariants();

const InvariantInfo& InfoOf(Invariant id);

// The row called `name` ("C1", any case).
std::optional<Invariant> ParseInvariant(std::string_view name);

// "error", "automatic": stable, for programs.
std::string_view NameOf(CheckSeverity severity);
std::string_view NameOf(RepairClass repair);

}  // namespace disklib
