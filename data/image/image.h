#pragma once
#include <cstdint>
#include <string>
#include <vector>

/// Pictures of 8 bits a channel: files in and out, and the geometry that evaluation needs. Values are those of Pillow,
/// the imaging library behind the reference programs, bit for bit (JPEG files only where jpeg_decoder() is libjpeg:
/// decoders differ by a few levels).
namespace vitrine::data {

/// A picture in memory. Channels are red, green, blue, or one of grey.
struct Image {
  int64_t height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels;  ///< [height, width, channels]

  const uint8_t* row(int64_t y) const { return pixels.data() + y * width * channels; }
  uint8_t* row(int64_t y) { return pixels.data() + y * width * channels; }
};

/// What a file may cost before it is refused: a small file can name a picture that fills the memory.
struct ImageLimits {
  int64_t file_bytes = int64_t(256) << 20;
  int64_t pixels = 100'000'000;
};

/// Reads JPEG, PNG, BMP, GIF (its first picture, black where it is transparent), Photoshop's PSD (of 3 channels of 8
/// bits) and binary PGM and PPM, by content and not by name, as 3 channels: grey is replicated, palettes, CMYK and YCCK
/// are converted, alpha is dropped, of 16 bits the upper 8 stay. EXIF orientation is ignored, as the reference does.
/// Values of a PNM are scaled to 0 to 255, halves rounded to even.
///
/// @throws IoError naming the file and the reason: missing, not a regular file, empty, above a limit (checked before
///         anything is decoded), not one of these formats, damaged, truncated
Image decode_image(const std::string& file, const ImageLimits& limits = {});

/// What decodes JPEG files in this build: "libjpeg" (then with the pixels of Pillow) or "stb_image".
std::string jpeg_decoder();
/// What decodes PNG files: "libpng", which also verifies checksums, or "stb_image".
std::string png_decoder();

/// The bytes of a PNG file.
/// @param image  of 1 or 3 channels
/// @throws ValueError if the image is empty, has other channels or another number of pixels; OutOfMemory
std::string encode_png(const Image& image);

/// Writes a PNG that appears whole or not at all. @throws as encode_png; IoError naming the file
void write_png(const std::string& file, const Image& image);

/// Luma of ITU-R 601 in all 3 channels:  (19595 R + 38470 G + 7471 B + 32768) >> 16
/// @throws ValueError as write_png
Image to_grey(const Image& image);

enum class Filter { bilinear, bicubic };

/// A part of an image, from its upper left corner.
struct Box {
  int64_t top = 0, left = 0, height = 0, width = 0;
};

/// Resampling with a triangle, or bicubic (Keys 1981, a = -1/2), antialiased: where an axis shrinks, the kernel is as
/// many times wider. Each axis is a pass of its own, columns first (as in Pillow before 13.0), rounded to 8 bits; an
/// axis that keeps its size is left alone.
/// @throws ValueError as write_png, or if height or width is outside [1, 65536]
Image resize_image(const Image& image, int64_t height, int64_t width, Filter filter = Filter::bicubic);

/// The part `to` of what becomes of the part `from` of the image, resized to height x width; pixels outside `from`
/// count nothing, and pixels outside `to` are not computed.
/// @throws ValueError as resize_image, of the part `to`; or if a part is not inside
Image resample(const Image& image, const Box& from, int64_t height, int64_t width, const Box& to, Filter filter);

/// The box of the image, black where it reaches outside. @throws ValueError as resize_image
Image crop(const Image& image, const Box& box);

/// The middle of the image, (H - height) / 2 from its top and (W - width) / 2 from its left, halves rounded to even.
/// Where the image is smaller than the crop, black is put around it.
/// @throws ValueError as resize_image
Image center_crop(const Image& image, int64_t height, int64_t width);

}  // namespace vitrine::data
