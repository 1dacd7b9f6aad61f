#pragma once
#include <zlib.h>

#include <string>

namespace vitrine::testing {

/// The bytes of a PNG with another size in its header, whose checksum is made right.
inline std::string png_with_size(std::string png, uint32_t width, uint32_t height) {
  constexpr size_t kName = 12, kWidth = 16, kSum = 29;  // "IHDR", its first number, and the sum of both and the rest
  const auto put = [&](size_t at, uint32_t x) {
    for (size_t k = 0; k < 4; ++k) png[at + k] = char(x >> (24 - 8 * k));
  };
  put(kWidth, width), put(kWidth + 4, height);
  put(kSum, uint32_t(crc32(0, reinterpret_cast<const Bytef*>(png.data()) + kName, kSum - kName)));
  return png;
}

}  // namespace vitrine::testing
