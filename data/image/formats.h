#pragma once
#include "data/image/image.h"

/// Files told by their content, and those that no library reads. Private to this folder.
namespace vitrine::data {

/// What decode_image reads.
inline constexpr const char* kFormats = "a JPEG, PNG, BMP, GIF, PSD or PNM image";

/// What the bytes are, if they begin as files do that people take for pictures and that cannot be read: "a WebP image",
/// "a TIFF image", "an HTML page". Empty if nothing is known of them.
std::string other_format(const std::vector<uint8_t>& bytes);

/// True if the bytes begin as a GIF file does.
bool is_gif(const std::vector<uint8_t>& bytes);
/// True if the bytes begin as a file of Photoshop does.
bool is_psd(const std::vector<uint8_t>& bytes);

/// True if the bytes begin as a binary PGM or PPM file does.
bool is_pnm(const std::vector<uint8_t>& bytes);

/// Decodes the first picture of a binary PGM or PPM file. Values from 0 to its largest, which may be up to 65535,
/// become 0 to 255: round(255 value / largest), halves to even, as Pillow does it with colour. Errors as decode_image.
Image decode_pnm(const std::string& file, const std::vector<uint8_t>& bytes, const ImageLimits& limits);

}  // namespace vitrine::data
