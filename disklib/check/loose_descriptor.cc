#include "disklib/check/loose_descriptor.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_edit.h"
#include "disklib/descriptor_lines.h"

namespace disklib::check {
namespace {

using base::Result;

// What a create type may be made of.
struct TypeRule {
  std::string_view create_type;
  std::array<ExtentType, 2> types;
  bool is_single;  // one extent only
};

using enum ExtentType;

constexpr std::array<TypeRule, 19> kTypeRules = {{
    {"monolithicSparse", {kSparse, kSparse}, true},
    {"monolithicFlat", {kFlat, kFlat}, true},
    {"twoGbMaxExtentSparse", {kSparse, kSparse}, false},
    {"2GbMaxExtentSparse", {kSparse, kSparse}, false},
    {"twoGbMaxExtentFlat", {kFlat, kFlat}, false},
    {"2GbMaxExtentFlat", {kFlat, kFlat}, false},
    {"streamOptimized", {kSparse, kSparse}, true},
    {"vmfs", {kVmfs, kVmfs}, true},
    {"vmfsPreallocated", {kVmfs, kVmfs}, true},
    {"vmfsEagerZeroedThick", {kVmfs, kVmfs}, true},
    {"vmfsThin", {kVmfs, kVmfs}, true},
    {"vmfsThick", {kVmfs, kVmfs}, true},
    {"vmfsSparse", {kVmfsSparse, kVmfsSparse}, true},
    {"seSparse", {kSeSparse, kSeSparse}, true},
    {"vmfsSeSparse", {kSeSparse, kSeSparse}, true},
    {"vsanSparse", {kVsanSparse, kVsanSparse}, true},
    {"vmfsRawDeviceMap", {kVmfsRdm, kVmfsRdm}, true},
    {"vmfsPassthroughRawDeviceMap", {kVmfsRdm, kVmfsRdm}, true},
    {"fullDevice", {kFlat, kVmfsRaw}, false},
}};

constexpr std::array<std::string_view, 4> kNeededKeys = {"version", "CID", "parentCID",
                                                         "createType"};

bool IsNeeded(std::string_view key) {
  return std::ranges::any_of(
      kNeededKeys, [key](std::string_view needed) { return EqualsIgnoringCase(key, needed); });
}

std::optional<uint32_t> ParseContentId(std::string_view text) {
  const std::optional<uint64_t> value = ParseNumber(text, 16);
  if (!value || text.size() > 8) return std::nullopt;
  return static_cast<uint32_t>(*value);
}

// Reads a text line by line and builds the mended one.
class Mender {
 public:
  Mender(std::string_view text, DescriptorHints hints) : text_(text), hints_(hints) {}

  void Run(LooseDescriptor& result) {
    std::string_view rest = text_;
    while (const std::optional<Line> line = TakeLine(rest)) {
      ending_ = line->ending.empty() ? ending_ : std::string(line->ending);
      Take(*line);
    }
    if (!seen("version")) AddKey("version", "1", "1");
    AddContentId();
    AddParentContentId();
    AddCreateType();
    result.mended = body_.insert(insert_at_, header_);
    result.problems = std::move(problems_);
    Result<Descriptor> parsed = ParseDescriptor(result.mended);
    result.is_usable = parsed.has_value();
    if (parsed) {
      result.descriptor = *std::move(parsed);
    } else if (!has_unmended_) {
      result.problems.push_back({Invariant::kD2, parsed.error().message(), ""});
    }
  }

 private:
  bool seen(std::string_view key) const {
    return std::ranges::any_of(
        seen_, [key](std::string_view other) { return EqualsIgnoringCase(key, other); });
  }

  void Keep(const Line& line) {
    body_ += line.whole;
    if (body_.size() == line.whole.size() && line.kind == LineKind::kComment) {
      insert_at_ = body_.size();
    }
  }

  // Leaves the line as a comment.
  void Quiet(const Line& line) { body_ += fmt::format("#{}", line.whole); }

  void Problem(Invariant id, std::string text, std::string repair_text) {
    has_unmended_ = has_unmended_ || repair_text.empty();
    problems_.push_back({id, std::move(text), std::move(repair_text)});
  }

  void Take(const Line& line) {
    switch (line.kind) {
      case LineKind::kBlank:
      case LineKind::kComment: Keep(line); return;
      case LineKind::kDatabase: TakeDatabase(line); return;
      case LineKind::kHeader: TakeHeader(line); return;
      case LineKind::kExtent: TakeExtent(line); return;
      case LineKind::kOther: break;
    }
    Problem(Invariant::kD1, fmt::format("nothing known in line \"{}\"", line.text.substr(0, 120)),
            "the line becomes a comment");
    Quiet(line);
  }

  void TakeDatabase(const Line& line) {
    if (EqualsIgnoringCase(line.key, "ddb.longContentID") && line.value.size() == 32) {
      long_content_id_ = ParseContentId(line.value.substr(24));
    }
    Keep(line);
  }

  void TakeHeader(const Line& line) {
    if (EqualsIgnoringCase(line.key, "parentFileNameHint")) has_hint_ = true;
    if (!IsNeeded(line.key)) {
      Keep(line);
      return;
    }
    const std::string_view wrong = WrongWith(line);
    if (!wrong.empty()) {
      Problem(Invariant::kD1, fmt::format("{} in line \"{}\"", wrong, line.text.substr(0, 120)),
              "the line becomes a comment");
      Quiet(line);
      return;
    }
    seen_.emplace_back(line.key);
    Keep(line);
    if (EqualsIgnoringCase(line.key, "version")) insert_at_ = body_.size();
  }

  std::string_view WrongWith(const Line& line) const {
    if (seen(line.key)) return "a key that stands twice";
    if (EqualsIgnoringCase(line.key, "version")) {
      const std::optional<uint64_t> version = ParseNumber(line.value, 10);
      return version && *version >= 1 && *version <= 3 ? "" : "an unknown version";
    }
    if (EqualsIgnoringCase(line.key, "createType")) {
      return line.value.empty() ? "no create type" : "";
    }
    return ParseContentId(line.value) ? "" : "no content id";
  }

  void TakeExtent(const Line& line) {
    const Result<ExtentLine> extent = ParseExtentLine(line.text);
    if (extent) {
      extents_.push_back(*extent);
      Keep(line);
      return;
    }
    std::string_view rest = line.text;
    TakeWord(rest);
    if (ParseNumber(TakeWord(rest), 10) == uint64_t{0}) {
      Problem(Invariant::kD2, fmt::format("an extent of no sectors: \"{}\"", line.text),
              "the line becomes a comment");
      Quiet(line);
      return;
    }
    Problem(Invariant::kD2, extent.error().message(), "");
    Keep(line);
  }

  void AddKey(std::string_view key, std::string_view value, std::string_view shown) {
    Problem(Invariant::kD1, fmt::format("there is no {}", key),
            fmt::format("it becomes {}", shown));
    AddLine(key, value);
  }

  // `version` has to be the first key; what is added stands right behind it, or in its place.
  void AddLine(std::string_view key, std::string_view value) {
    header_ += fmt::format("{}={}{}", key, value, ending_);
  }

  void AddContentId() {
    if (seen("CID")) return;
    std::optional<uint32_t> id = hints_.content_id;
    std::string_view source = "as its child says";
    if (!id && long_content_id_) {
      id = long_content_id_;
      source = "as ddb.longContentID says";
    }
    if (!id) {
      id = kFreshContentId;
      source = "that of a new disk";
    }
    const std::string text = FormatContentId(*id);
    AddKey("CID", text, fmt::format("{}, {}", text, source));
  }

  void AddParentContentId() {
    if (seen("parentCID")) return;
    if (has_hint_ && !hints_.parent_content_id) {
      Problem(Invariant::kD1, "there is no parentCID, and the parent cannot be asked", "");
      AddLine("parentCID", "0");
      return;
    }
    const std::string text =
        FormatContentId(has_hint_ ? *hints_.parent_content_id : kNoParentContentId);
    AddKey("parentCID", text, text);
  }

  void AddCreateType() {
    if (seen("createType")) return;
    Descriptor known;
    known.extents = extents_;
    const std::string_view type = CreateTypeFor(known);
    AddKey("createType", fmt::format("\"{}\"", type), type);
  }

  std::string_view text_;
  DescriptorHints hints_;
  std::string ending_ = "\n";
  std::string header_;  // keys that were missing
  std::string body_;
  size_t insert_at_ = 0;  // of `header_` in `body_`
  std::vector<std::string> seen_;
  std::vector<ExtentLine> extents_;
  std::vector<DescriptorProblem> problems_;
  std::optional<uint32_t> long_content_id_;
  bool has_hint_ = false;
  bool has_unmended_ = false;
};

// Whether the text is meant as a descriptor: its first line says so, or enough of its keys do.
bool IsMeantAsDescriptor(std::string_view text) {
  if (LooksLikeDescriptor(text)) return true;
  size_t count = 0;
  std::string_view rest = text.substr(0, kDescriptorBytesMax);
  while (const std::optional<Line> line = TakeLine(rest)) {
    if (line->kind == LineKind::kHeader && IsNeeded(line->key)) ++count;
    if (line->kind == LineKind::kExtent && ParseExtentLine(line->text)) ++count;
  }
  return count >= 2;
}

}  // namespace

LooseDescriptor ReadLoosely(std::string_view bytes, DescriptorHints hints) {
  LooseDescriptor result;
  result.text = TextBeforePadding(bytes);
  result.is_descriptor =
      bytes.size() <= kDescriptorReadBytesMax && IsMeantAsDescriptor(result.text);
  if (!result.is_descriptor) return result;
  Mender(result.text, hints).Run(result);
  if (!result.is_usable || CreateTypeAllows(result.descriptor.create_type, result.descriptor)) {
    return result;
  }
  const std::string_view type = CreateTypeFor(result.descriptor);
  result.problems.push_back(
      {Invariant::kD2,
       fmt::format("createType is {}, but the extents are {}", result.descriptor.create_type,
                   NameOf(result.descriptor.extents.front().type)),
       fmt::format("createType becomes {}", type)});
  DescriptorEdit edit(result.mended);
  edit.SetHeader("createType", fmt::format("\"{}\"", type));
  result.mended = edit.text();
  result.descriptor.create_type = type;
  return result;
}

std::string_view CreateTypeFor(const Descriptor& descriptor) {
  if (descriptor.extents.empty()) return "custom";
  const auto& extents = descriptor.extents;
  const ExtentType first = extents.front().type;
  const bool is_uniform =
      std::ranges::all_of(extents, [first](const ExtentLine& line) { return line.type == first; });
  if (!is_uniform) return "custom";
  for (const TypeRule& rule : kTypeRules) {
    if (rule.types[0] == first && rule.is_single == (extents.size() == 1)) return rule.create_type;
  }
  return "custom";
}

bool CreateTypeAllows(std::string_view create_type, const Descriptor& descriptor) {
  for (const TypeRule& rule : kTypeRules) {
    if (!EqualsIgnoringCase(rule.create_type, create_type)) continue;
    if (rule.is_single && descriptor.extents.size() != 1) return false;
    return std::ranges::all_of(descriptor.extents, [&rule](const ExtentLine& line) {
      return std::ranges::find(rule.types, line.type) != rule.types.end() ||
             line.type == ExtentType::kZero;
    });
  }
  return true;
}

}  // namespace disklib::check
