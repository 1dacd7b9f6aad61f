#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>

namespace vitrine::data {

/// SHA-256 (FIPS 180-4) of bytes that come in parts.
class Sha256 {
 public:
  void update(std::span<const std::byte> bytes);
  /// In lower-case hexadecimal, of everything so far; nothing may follow.
  std::string finish();

 private:
  static constexpr size_t kBlock = 64;
  void compress(const std::byte* block);

  static const std::array<uint32_t, 8> kStart;
  std::array<uint32_t, 8> state_ = kStart;
  std::array<std::byte, kBlock> rest_ = {};  // what does not fill a block yet
  uint64_t bytes_ = 0;
};

/// Of bytes in one piece.
std::string sha256(std::span<const std::byte> bytes);

}  // namespace vitrine::data
