#include "disklib/exchange/manifest.h"

#include <algorithm>
#include <array>
#include <optional>

#include <fmt/format.h>

#include "disklib/descriptor_lines.h"
#include "disklib/names.h"

namespace disklib {
namespace {

using base::Code;
using base::DigestKind;
using base::Error;
using base::Result;
using base::Status;

std::optional<DigestKind> ParseKind(std::string_view word) {
  for (const DigestKind kind : {DigestKind::kSha1, DigestKind::kSha256, DigestKind::kSha512}) {
    if (EqualsIgnoringCase(word, base::NameOf(kind))) return kind;
  }
  return std::nullopt;
}

bool IsHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char letter) {
    return (letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'f');
  });
}

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  for (char& letter : lower) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  }
  return lower;
}

Result<ManifestEntry> ParseLine(std::string_view line, size_t number) {
  const size_t open = line.find('(');
  const size_t equals = line.rfind('=');
  const size_t close = line.substr(0, equals).rfind(')');
  if (open == line.npos || equals == line.npos || close == line.npos || close < open) {
    return Error(Code::kParseError, fmt::format("manifest line {}: not NAME(FILE)= HEX", number));
  }
  const std::optional<DigestKind> kind = ParseKind(Trim(line.substr(0, open)));
  if (!kind) {
    return Error(Code::kUnsupported, fmt::format("manifest line {}: digest \"{}\" is not known",
                                                 number, Trim(line.substr(0, open))));
  }
  ManifestEntry entry;
  entry.kind = *kind;
  entry.file_name = line.substr(open + 1, close - open - 1);
  TRY_STATUS(CheckMemberName(entry.file_name));
  entry.digest = LowerCase(Trim(line.substr(equals + 1)));
  if (entry.digest.size() != base::HexDigitsOf(*kind) || !IsHex(entry.digest)) {
    return Error(Code::kParseError, fmt::format("manifest line {}: the digest of {} is malformed",
                                                number, entry.file_name));
  }
  return entry;
}

}  // namespace

Status CheckMemberName(std::string_view name) {
  if (name.size() > kNameBytesMax) {
    return Error(Code::kNameTooLong, fmt::format("package file \"{}\"…: over {} bytes",
                                                 name.substr(0, 40), kNameBytesMax));
  }
  const bool is_plain = std::all_of(name.begin(), name.end(), [](char letter) {
    const auto byte = static_cast<unsigned char>(letter);
    return byte >= ' ' && byte != 0x7f && letter != '/' && letter != '\\' && letter != '"';
  });
  if (name.empty() || name.starts_with('.') || !is_plain) {
    return Error(Code::kNameInvalid,
                 fmt::format("package file \"{}\": not a plain file name", name));
  }
  return base::Ok();
}

Result<std::vector<ManifestEntry>> ParseManifest(std::string_view text) {
  if (text.size() > kManifestBytesMax) {
    return Error(Code::kTooLarge, fmt::format("manifest: {} bytes", text.size()));
  }
  std::vector<ManifestEntry> entries;
  size_t number = 0;
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = Trim(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    ++number;
    const std::string_view content = line.ends_with('\r') ? line.substr(0, line.size() - 1) : line;
    if (content.empty()) continue;
    TRY(ManifestEntry entry, ParseLine(content, number));
    entries.push_back(std::move(entry));
  }
  std::vector<std::string_view> names;
  for (const ManifestEntry& entry : entries) names.push_back(entry.file_name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return entries;
  return Error(Code::kCorrupt, fmt::format("manifest: {} is named twice", *twice));
}

std::string WriteManifest(const std::vector<ManifestEntry>& entries) {
  std::string text;
  for (const ManifestEntry& entry : entries) {
    text += fmt::format("{}({})= {}\n", base::NameOf(entry.kind), entry.file_name, entry.digest);
  }
  return text;
}

const ManifestEntry* FindEntry(const std::vector<ManifestEntry>& entries,
                               std::string_view file_name) {
  const auto found = std::find_if(
      entries.begin(), entries.end(),
      [file_name](const ManifestEntry& entry) { return entry.file_name == file_name; });
  return found == entries.end() ? nullptr : &*found;
}

Status CheckDigest(const ManifestEntry& entry, std::string_view digest) {
  if (entry.digest == digest) return base::Ok();
  return Error(Code::kChecksumMismatch,
               fmt::format("{}: its {} is {}, the manifest says {}", entry.file_name,
                           base::NameOf(entry.kind), digest, entry.digest));
}

}  // namespace disklib
