#include "data/image/formats.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <string_view>

#include "core/error.h"
#include "data/image/image_checks.h"

namespace vitrine::data {
namespace {

using std::string_view_literals::operator""sv;

bool is_space(uint8_t c) { return std::isspace(c) != 0; }

/// The numbers of a PNM header, between which there are spaces and comments.
class Header {
 public:
  Header(const std::string& file, const std::vector<uint8_t>& bytes) : file_(file), bytes_(bytes) {}

  int64_t number(const char* what, int64_t most) {
    skip_space();
    int64_t n = 0;
    const size_t begin = at_;
    for (; at_ < bytes_.size() && std::isdigit(bytes_[at_]); ++at_) {
      n = 10 * n + (bytes_[at_] - '0');
      check<IoError>(n <= most, "{}: is damaged: its {} is above {}", file_, what, most);
    }
    check<IoError>(at_ < bytes_.size(), "{}: is truncated", file_);
    check<IoError>(at_ > begin && n > 0, "{}: is damaged: its {} is no positive number", file_, what);
    return n;
  }
  /// Where the pixels begin: behind the one space that follows the last number.
  size_t end() const {
    check<IoError>(is_space(bytes_[at_]), "{}: is damaged: no space before its pixels", file_);
    return at_ + 1;
  }

 private:
  void skip_space() {
    bool comment = false;
    for (; at_ < bytes_.size() && (comment || is_space(bytes_[at_]) || bytes_[at_] == '#'); ++at_)
      comment = bytes_[at_] == '#' || (comment && bytes_[at_] != '\n' && bytes_[at_] != '\r');
  }

  const std::string& file_;
  const std::vector<uint8_t>& bytes_;
  size_t at_ = 2;
};

}  // namespace

std::string other_format(const std::vector<uint8_t>& bytes) {
  struct Kind {
    std::string_view start;
    size_t at;
    const char* name;
  };
  static constexpr Kind kinds[] = {{"WEBP"sv, 8, "a WebP image"},
                                   {"II*\0"sv, 0, "a TIFF image"},
                                   {"MM\0*"sv, 0, "a TIFF image"},
                                   {"II+\0"sv, 0, "a TIFF image"},
                                   {"MM\0+"sv, 0, "a TIFF image"},
                                   {"ftypavif"sv, 4, "an AVIF image"},
                                   {"ftyphei"sv, 4, "a HEIF image"},
                                   {"ftypmif1"sv, 4, "a HEIF image"},
                                   {"\0\0\0\x0cjP  "sv, 0, "a JPEG 2000 image"},
                                   {"\xff\x4f\xff\x51"sv, 0, "a JPEG 2000 image"},
                                   {"\0\0\0\x0cJXL "sv, 0, "a JPEG XL image"},
                                   {"#?RADIANCE"sv, 0, "a Radiance image"},
                                   {"#?RGBE"sv, 0, "a Radiance image"},
                                   {"\x53\x80\xf6\x34"sv, 0, "a Softimage image"},
                                   {"P1"sv, 0, "a PNM image in plain text or of single bits"},
                                   {"P2"sv, 0, "a PNM image in plain text or of single bits"},
                                   {"P3"sv, 0, "a PNM image in plain text or of single bits"},
                                   {"P4"sv, 0, "a PNM image in plain text or of single bits"},
                                   {"version https://git-lfs"sv, 0, "the pointer of Git LFS in place of the file"},
                                   {"<"sv, 0, "a text, perhaps a web page or an SVG drawing"},
                                   {"PK\3\4"sv, 0, "a zip archive"},
                                   {"\x1f\x8b"sv, 0, "a gzip archive"}};
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (const Kind& kind : kinds)
    if (text.size() > kind.at && text.substr(kind.at).starts_with(kind.start)) return kind.name;
  // What stb_image does not know of Photoshop's files: that alpha is no matte, and 16 bits that are compressed.
  constexpr size_t kChannels = 12, kBits = 22, kMode = 24, kEnd = 26;
  const auto number = [&](size_t at) { return bytes[at] << 8 | bytes[at + 1]; };
  const bool psd = is_psd(bytes) && bytes.size() >= kEnd;
  if (psd && (number(kChannels) != 3 || number(kBits) != 8 || number(kMode) != 3))
    return "a Photoshop image that is not of 3 channels of 8 bits";
  return "";
}

bool is_gif(const std::vector<uint8_t>& bytes) {
  constexpr auto kStart = "GIF8"sv;
  return bytes.size() > kStart.size() && std::equal(kStart.begin(), kStart.end(), bytes.begin());
}

bool is_psd(const std::vector<uint8_t>& bytes) {
  constexpr auto kStart = "8BPS\0\1"sv;
  return bytes.size() > kStart.size() && std::equal(kStart.begin(), kStart.end(), bytes.begin());
}

bool is_pnm(const std::vector<uint8_t>& bytes) {
  return bytes.size() > 2 && bytes[0] == 'P' && (bytes[1] == '5' || bytes[1] == '6') &&
         (is_space(bytes[2]) || bytes[2] == '#');
}

Image decode_pnm(const std::string& file, const std::vector<uint8_t>& bytes, const ImageLimits& limits) {
  constexpr int64_t kMostSide = int64_t(1) << 30, kMostValue = 65535;
  Header header(file, bytes);
  const int64_t width = header.number("width", kMostSide), height = header.number("height", kMostSide);
  const int64_t largest = header.number("largest value", kMostValue), stored = bytes[1] == '6' ? 3 : 1;
  check_pixels(file, height, width, limits);
  const int64_t values = width * height * stored, wide = largest > 255 ? 2 : 1;
  const uint8_t* in = bytes.data() + header.end();
  check<IoError>(int64_t(bytes.size() - header.end()) >= values * wide, "{}: is truncated", file);
  Image image{height, width, 3, std::vector<uint8_t>(size_t(width * height * 3))};
  for (int64_t i = 0; i < values; ++i) {
    const int64_t value = wide == 1 ? in[i] : in[2 * i] << 8 | in[2 * i + 1];
    const auto level = uint8_t(std::min<int64_t>(255, std::llrint(double(value) / double(largest) * 255)));
    std::fill_n(image.pixels.data() + i * (3 / stored), 3 / stored, level);
  }
  return image;
}

}  // namespace vitrine::data
