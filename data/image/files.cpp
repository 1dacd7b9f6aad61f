#include "core/files.h"

#include <cerrno>
#include <climits>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

#include "data/image/formats.h"
#include "data/image/image.h"
#include "data/image/image_checks.h"
#include "data/image/jpeg.h"
#include "data/image/png.h"
#include "data/image/stb.h"

namespace vitrine::data {
namespace {

std::vector<uint8_t> read_bytes(const std::string& file, int64_t limit) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(file, error);
  check<IoError>(std::filesystem::exists(status), "{}: {}", file, error.message());
  check<IoError>(std::filesystem::is_regular_file(status), "{}: is not a regular file", file);
  std::ifstream in(file, std::ios::binary);
  check<IoError>(in.good(), "{}: {}", file, std::strerror(errno));
  const int64_t size = int64_t(std::filesystem::file_size(file));
  check<IoError>(size > 0, "{}: is empty", file);
  check<IoError>(size <= limit, "{}: has {} bytes, more than the limit of {}", file, size, limit);
  std::vector<uint8_t> bytes(static_cast<size_t>(size));
  in.read(reinterpret_cast<char*>(bytes.data()), size);
  check<IoError>(in.gcount() == size, "{}: ends early", file);
  return bytes;
}

/// Feeds the decoder and notices when it wants more than there is: on its own it reads zeros behind the end, and makes
/// a picture that is grey from some row on.
struct Source {
  const std::vector<uint8_t>& bytes;
  size_t at = 0;
  const char* buffer = nullptr;  ///< the decoder's own; only what it reads there may be more than it needs
  bool overrun = false;

  static int read(void* user, char* out, int size) {
    Source& source = *static_cast<Source*>(user);
    if (!source.buffer) source.buffer = out;
    const size_t n = std::min(size_t(size), source.bytes.size() - source.at);
    if (n == 0 || (n < size_t(size) && out != source.buffer)) source.overrun = true;
    std::memcpy(out, source.bytes.data() + source.at, n);
    source.at += n;
    return int(n);
  }
  static void skip(void* user, int count) {
    Source& source = *static_cast<Source*>(user);
    const int64_t to = int64_t(source.at) + count;
    if (to > int64_t(source.bytes.size())) source.overrun = true;
    source.at = size_t(std::clamp<int64_t>(to, 0, int64_t(source.bytes.size())));
  }
  static int eof(void* user) {
    const Source& source = *static_cast<Source*>(user);
    return source.at >= source.bytes.size();
  }
};
constexpr stbi_io_callbacks kCallbacks = {Source::read, Source::skip, Source::eof};

std::string reason(const Source& source) {
  if (source.overrun) return format("is truncated, or not {}", kFormats);
  const char* text = stbi_failure_reason();
  const bool known = is_jpeg(source.bytes) || is_png(source.bytes) || is_gif(source.bytes) || is_psd(source.bytes) ||
                     (source.bytes.size() > 1 && source.bytes[0] == 'B' && source.bytes[1] == 'M');
  if (!text || std::strstr(text, "Image not of any known type"))  // as which it has been tried last
    return known ? "is damaged: its header is not understood" : format("is not {}", kFormats);
  return *text ? std::string("is damaged: ") + text : "is damaged";
}

/// Checks the size that a PNG states, of which the decoder only says that it is too large.
void check_png_size(const std::string& file, const std::vector<uint8_t>& bytes, const ImageLimits& limits) {
  constexpr size_t kWidth = 16, kEnd = 24;
  if (!is_png(bytes) || bytes.size() < kEnd) return;
  const auto number = [&](size_t at) {
    return int64_t(bytes[at]) << 24 | bytes[at + 1] << 16 | bytes[at + 2] << 8 | bytes[at + 3];
  };
  const int64_t width = number(kWidth), height = number(kWidth + 4);
  if (width > 0 && height > 0) check_pixels(file, height, width, limits);  // else the decoder has a better reason
}

}  // namespace

std::string jpeg_decoder() {
#ifdef VITRINE_JPEG
  return "libjpeg";
#else
  return "stb_image";
#endif
}

std::string png_decoder() {
#ifdef VITRINE_PNG
  return "libpng";
#else
  return "stb_image";
#endif
}

Image decode_image(const std::string& file, const ImageLimits& limits) {
  const std::vector<uint8_t> bytes = read_bytes(file, limits.file_bytes);
#ifdef VITRINE_JPEG
  if (is_jpeg(bytes)) return decode_jpeg(file, bytes, limits);
#endif
#ifdef VITRINE_PNG
  if (is_png(bytes)) return decode_png(file, bytes, limits);
#endif
  if (is_pnm(bytes)) return decode_pnm(file, bytes, limits);
  const std::string other = other_format(bytes);
  check<IoError>(other.empty(), "{}: is {}, not {}; convert it to one, such as PNG", file, other, kFormats);
  check_png_size(file, bytes, limits);
  int width = 0, height = 0, stored = 0;
  constexpr size_t kSlack = size_t(1) << 20;  // the decoder's own state
  stb::largest_block = kSlack + 2 * bytes.size();
  Source head{bytes};
  const bool known = stbi_info_from_callbacks(&kCallbacks, &head, &width, &height, &stored);
  check<IoError>(known, "{}: {}", file, reason(head));
  check_pixels(file, height, width, limits);
  const int64_t pixels = int64_t(width) * height;
  // 4 channels of 16 bits and the filter bytes of an interlaced PNG, doubled, as a growing buffer is.
  constexpr size_t kBytesPerPixel = 32;
  stb::largest_block += kBytesPerPixel * size_t(pixels);
  Source body{bytes};
  constexpr int kChannels = 3;
  const std::unique_ptr<stbi_uc, decltype(&stbi_image_free)> decoded(
      stbi_load_from_callbacks(&kCallbacks, &body, &width, &height, &stored, kChannels), stbi_image_free);
  check<IoError>(decoded != nullptr, "{}: {}", file, reason(body));
  check<IoError>(!body.overrun, "{}: is truncated", file);
  check<IoError>(int64_t(width) * height == pixels, "{}: is damaged: it states two sizes", file);
  return {height, width, kChannels, {decoded.get(), decoded.get() + pixels * kChannels}};
}

std::string encode_png(const Image& image) {
  check_image("encode_png", image);
  check<ValueError>(int64_t(image.pixels.size()) + image.height <= INT_MAX, "encode_png: {} x {} pixels are too many",
                    image.width, image.height);
  std::string png;
  const auto append = [](void* out, void* data, int size) {
    static_cast<std::string*>(out)->append(static_cast<const char*>(data), size_t(size));
  };
  const int done = stbi_write_png_to_func(append, &png, int(image.width), int(image.height), int(image.channels),
                                          image.pixels.data(), int(image.width * image.channels));
  check<OutOfMemory>(done && !png.empty(), "encode_png: out of memory for {} x {} pixels", image.width, image.height);
  return png;
}

void write_png(const std::string& file, const Image& image) {
  const std::string png = encode_png(image);
  write_file_atomically(file, [&](std::ostream& out) { out << png; });
}

}  // namespace vitrine::data
