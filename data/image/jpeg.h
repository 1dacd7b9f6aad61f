#pragma once
#include "data/image/image.h"

namespace vitrine::data {

/// True if the bytes begin as a JPEG file does.
inline bool is_jpeg(const std::vector<uint8_t>& bytes) {
  return bytes.size() > 2 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff;
}

/// Decodes with libjpeg: the pixels of Pillow, bit for bit, where it is libjpeg-turbo. There only in builds that found
/// it (VITRINE_JPEG). Errors as decode_image.
Image decode_jpeg(const std::string& file, const std::vector<uint8_t>& bytes, const ImageLimits& limits);

}  // namespace vitrine::data
