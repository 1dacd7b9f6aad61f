#pragma once
#include <algorithm>
#include <array>

#include "data/image/image.h"

namespace vitrine::data {

/// True if the bytes begin as a PNG file does.
inline bool is_png(const std::vector<uint8_t>& bytes) {
  constexpr std::array<uint8_t, 8> kSignature = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  return bytes.size() > kSignature.size() && std::equal(kSignature.begin(), kSignature.end(), bytes.begin());
}

/// Decodes with libpng, row by row, checksums verified. There only in builds that found it (VITRINE_PNG). Errors as
/// decode_image.
Image decode_png(const std::string& file, const std::vector<uint8_t>& bytes, const ImageLimits& limits);

}  // namespace vitrine::data
