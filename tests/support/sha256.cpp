#include "tests/support/sha256.h"

#include <bit>
#include <cmath>
#include <vector>

namespace vitrine::testing {
namespace {

/// The first 32 bits of the fractional part of a root of the n-th prime.
template <class Root>
std::vector<uint32_t> prime_roots(size_t count, Root root) {
  std::vector<uint32_t> words;
  for (int n = 2; words.size() < count; ++n) {
    bool prime = true;
    for (int d = 2; d * d <= n; ++d) prime = prime && n % d != 0;
    if (!prime) continue;
    const long double r = root(static_cast<long double>(n));
    words.push_back(static_cast<uint32_t>((r - std::floor(r)) * 4294967296.0L));
  }
  return words;
}

}  // namespace

std::string sha256(std::span<const std::byte> bytes) {
  static const auto constants = prime_roots(64, [](long double n) { return std::cbrt(n); });
  std::vector<uint32_t> hash = prime_roots(8, [](long double n) { return std::sqrt(n); });
  std::vector<uint8_t> text;
  for (std::byte b : bytes) text.push_back(uint8_t(b));
  text.push_back(0x80);
  while (text.size() % 64 != 56) text.push_back(0);
  for (int shift = 56; shift >= 0; shift -= 8) text.push_back(uint8_t(uint64_t(bytes.size()) * 8 >> shift));

  for (size_t block = 0; block < text.size(); block += 64) {
    uint32_t w[64];
    for (size_t i = 0; i < 16; ++i) {
      const uint8_t* p = &text[block + 4 * i];
      w[i] = uint32_t(p[0]) << 24 | uint32_t(p[1]) << 16 | uint32_t(p[2]) << 8 | p[3];
    }
    for (size_t i = 16; i < 64; ++i) {
      const uint32_t a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[i - 7] +
             (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
    }
    uint32_t s[8];
    std::copy(hash.begin(), hash.end(), s);
    for (size_t i = 0; i < 64; ++i) {
      const uint32_t choose = (s[4] & s[5]) ^ (~s[4] & s[6]), majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
      const uint32_t one =
          s[7] + (std::rotr(s[4], 6) ^ std::rotr(s[4], 11) ^ std::rotr(s[4], 25)) + choose + constants[i] + w[i];
      const uint32_t two = (std::rotr(s[0], 2) ^ std::rotr(s[0], 13) ^ std::rotr(s[0], 22)) + majority;
      std::copy_backward(s, s + 7, s + 8);
      s[0] = one + two;
      s[4] += one;
    }
    for (size_t i = 0; i < 8; ++i) hash[i] += s[i];
  }
  std::string hex;
  for (uint32_t word : hash)
    for (int shift = 28; shift >= 0; shift -= 4) hex += "0123456789abcdef"[word >> shift & 15];
  return hex;
}

}  // namespace vitrine::testing
