// Cryptographic digests: SHA-256 of a disk's content, SHA-1 of older manifests, a keyed identity.
//
// The only place that names OpenSSL. Thread rule: one owner each. Place in the stack: the ground.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace base {

enum class DigestKind : uint8_t { kSha1, kSha256, kSha512 };

// FIPS 180-4: 40, 64 and 128 hex digits.
size_t HexDigitsOf(DigestKind kind);

// "SHA1", "SHA256", "SHA512".
std::string_view NameOf(DigestKind kind);

// A digest over bytes that come piece by piece.
class Digest {
 public:
  explicit Digest(DigestKind kind);
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;
  ~Digest();

  void Add(std::span<const std::byte> bytes);

  void Add(std::string_view text) { Add(std::as_bytes(std::span(text.data(), text.size()))); }

  // The same as adding `length_bytes` zero bytes.
  void AddZeros(uint64_t length_bytes);

  // Lower-case hex digits of everything added. No call may follow.
  std::string Finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// The digest of one text, in hex.
std::string DigestOf(DigestKind kind, std::string_view text);

// HMAC-SHA-256 (RFC 2104).
std::array<std::byte, 32> KeyedDigest(std::string_view key, std::string_view text);

}  // namespace base
