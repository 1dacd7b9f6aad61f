#include "data/checkpoint/sha256.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace vitrine::data {
namespace {

/// The first 32 bits of the fractional parts of a root of the first primes.
template <size_t count, class Root>
std::array<uint32_t, count> prime_roots(Root root) {
  std::array<uint32_t, count> words;
  size_t made = 0;
  for (int n = 2; made < count; ++n) {
    bool prime = true;
    for (int d = 2; d * d <= n; ++d) prime = prime && n % d != 0;
    if (!prime) continue;
    const long double r = root(static_cast<long double>(n));
    words[made++] = static_cast<uint32_t>((r - std::floor(r)) * 4294967296.0L);
  }
  return words;
}

const std::array<uint32_t, 64> kConstants = prime_roots<64>([](long double n) { return std::cbrt(n); });

}  // namespace

const std::array<uint32_t, 8> Sha256::kStart = prime_roots<8>([](long double n) { return std::sqrt(n); });

void Sha256::compress(const std::byte* block) {
  uint32_t w[64];
  for (size_t i = 0; i < 16; ++i) {
    const std::byte* p = block + 4 * i;
    w[i] = uint32_t(p[0]) << 24 | uint32_t(p[1]) << 16 | uint32_t(p[2]) << 8 | uint32_t(p[3]);
  }
  for (size_t i = 16; i < 64; ++i) {
    const uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[i - 7] +
           (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
  }
  std::array<uint32_t, 8> s = state_;
  for (size_t i = 0; i < 64; ++i) {
    const uint32_t choose = (s[4] & s[5]) ^ (~s[4] & s[6]), majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
    const uint32_t one =
        s[7] + (std::rotr(s[4], 6) ^ std::rotr(s[4], 11) ^ std::rotr(s[4], 25)) + choose + kConstants[i] + w[i];
    const uint32_t two = (std::rotr(s[0], 2) ^ std::rotr(s[0], 13) ^ std::rotr(s[0], 22)) + majority;
    std::copy_backward(s.begin(), s.end() - 1, s.end());
    s[0] = one + two;
    s[4] += one;
  }
  for (size_t i = 0; i < s.size(); ++i) state_[i] += s[i];
}

void Sha256::update(std::span<const std::byte> bytes) {
  const size_t held = bytes_ % kBlock;
  bytes_ += bytes.size();
  const size_t taken = std::min(bytes.size(), held > 0 ? kBlock - held : 0);
  std::copy_n(bytes.begin(), taken, rest_.begin() + std::ptrdiff_t(held));
  if (held > 0 && held + taken == kBlock) compress(rest_.data());
  bytes = bytes.subspan(taken);
  for (; bytes.size() >= kBlock; bytes = bytes.subspan(kBlock)) compress(bytes.data());
  std::copy(bytes.begin(), bytes.end(), rest_.begin());
}

std::string Sha256::finish() {
  const uint64_t bits = bytes_ * 8;
  std::array<std::byte, 2 * kBlock> end = {std::byte{0x80}};
  size_t n = 1;  // up to 8 bytes before the end of a block, then the number of bits
  while ((bytes_ + n) % kBlock != kBlock - 8) ++n;
  for (int shift = 56; shift >= 0; shift -= 8) end[n++] = std::byte(bits >> shift);
  update(std::span(end).first(n));
  std::string hex;
  for (const uint32_t word : state_)
    for (int shift = 28; shift >= 0; shift -= 4) hex += "0123456789abcdef"[word >> shift & 15];
  return hex;
}

std::string sha256(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

}  // namespace vitrine::data
