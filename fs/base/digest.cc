#include "fs/base/digest.h"

#include <algorithm>
#include <vector>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "fs/base/check.h"

namespace base {

struct Digest::Context {
  Context() : evp(EVP_MD_CTX_new()) { CHECK(evp != nullptr); }

  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  ~Context() { EVP_MD_CTX_free(evp); }

  EVP_MD_CTX* evp;
};

namespace {

const EVP_MD* AlgorithmOf(DigestKind kind) {
  switch (kind) {
    case DigestKind::kSha1: return EVP_sha1();
    case DigestKind::kSha256: return EVP_sha256();
    case DigestKind::kSha512: return EVP_sha512();
  }
  return EVP_sha256();
}

}  // namespace

size_t HexDigitsOf(DigestKind kind) {
  return 2 * static_cast<size_t>(EVP_MD_get_size(AlgorithmOf(kind)));
}

std::string_view NameOf(DigestKind kind) {
  switch (kind) {
    case DigestKind::kSha1: return "SHA1";
    case DigestKind::kSha256: return "SHA256";
    case DigestKind::kSha512: return "SHA512";
  }
  return "SHA256";
}

Digest::Digest(DigestKind kind) : context_(std::make_unique<Context>()) {
  CHECK(EVP_DigestInit_ex(context_->evp, AlgorithmOf(kind), nullptr) == 1);
}

Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;
Digest::~Digest() = default;

void Digest::Add(std::span<const std::byte> bytes) {
  CHECK(EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size()) == 1);
}

void Digest::AddZeros(uint64_t length_bytes) {
  static const std::vector<std::byte> zeros(size_t{64} << 10);
  while (length_bytes > 0) {
    const uint64_t piece_bytes = std::min<uint64_t>(length_bytes, zeros.size());
    Add(std::span(zeros).first(piece_bytes));
    length_bytes -= piece_bytes;
  }
}

std::string Digest::Finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned int count = 0;
  CHECK(EVP_DigestFinal_ex(context_->evp, bytes.data(), &count) == 1);
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

std::string DigestOf(DigestKind kind, std::string_view text) {
  Digest digest(kind);
  digest.Add(text);
  return digest.Finish();
}

std::array<std::byte, 32> KeyedDigest(std::string_view key, std::string_view text) {
  std::array<std::byte, 32> bytes{};
  unsigned int count = 0;
  const unsigned char* const made =
      HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
           reinterpret_cast<const unsigned char*>(text.data()), text.size(),
           reinterpret_cast<unsigned char*>(bytes.data()), &count);
  CHECK(made != nullptr && count == bytes.size());
  return bytes;
}

}  // namespace base
