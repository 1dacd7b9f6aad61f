#include "data/image/jpeg.h"

#include <csetjmp>
#include <cstdio>

#include "data/image/formats.h"
#include "data/image/image_checks.h"
// after <cstdio>, which it needs
#include <jerror.h>
#include <jpeglib.h>

#include "core/error.h"

namespace vitrine::data {
namespace {

/// libjpeg leaves an error by a jump, and a jump runs no destructors: between setjmp and the calls that may jump there
/// are only plain values.
class Decoder {
 public:
  explicit Decoder(const std::vector<uint8_t>& bytes) : bytes_(bytes) {
    info_.err = jpeg_std_error(&handler_);
    info_.client_data = this;
    handler_.error_exit = [](j_common_ptr info) {
      Decoder& decoder = of(info);
      info->err->format_message(info, decoder.message_);
      std::longjmp(decoder.jump_, 1);
    };
    handler_.emit_message = [](j_common_ptr info, int) {
      // Behind the end it makes grey pixels. Of other warnings (bytes too many, say) the picture takes no harm.
      if (info->err->msg_code == JWRN_JPEG_EOF) of(info).truncated_ = true;
    };
    handler_.output_message = [](j_common_ptr) {};
    progress_.progress_monitor = [](j_common_ptr info) {
      constexpr int kMostScans = 500;  // a small file can name as many as take hours
      if (j_decompress_ptr(info)->input_scan_number <= kMostScans) return;
      std::snprintf(of(info).message_, JMSG_LENGTH_MAX, "more than %d scans", kMostScans);
      std::longjmp(of(info).jump_, 1);
    };
    jpeg_create_decompress(&info_);
    info_.progress = &progress_;
  }
  ~Decoder() { jpeg_destroy_decompress(&info_); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  /// Reads the header. False if that failed.
  bool begin() {
    if (setjmp(jump_)) return false;
    jpeg_mem_src(&info_, bytes_.data(), static_cast<unsigned long>(bytes_.size()));
    jpeg_read_header(&info_, TRUE);
    const bool four = info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK;
    info_.out_color_space = four ? JCS_CMYK : JCS_RGB;
    return !truncated_;
  }
  /// Writes all pixels, of channels() bytes each. False if that failed.
  bool read(uint8_t* out) {
    if (setjmp(jump_)) return false;
    jpeg_start_decompress(&info_);
    while (info_.output_scanline < info_.output_height && !truncated_) {
      uint8_t* row = out + size_t(info_.output_scanline) * info_.output_width * size_t(info_.output_components);
      jpeg_read_scanlines(&info_, &row, 1);
    }
    if (!truncated_) jpeg_finish_decompress(&info_);
    return !truncated_;
  }
  int64_t height() const { return info_.image_height; }
  int64_t width() const { return info_.image_width; }
  int64_t channels() const { return info_.out_color_space == JCS_CMYK ? 4 : 3; }
  std::string reason() const {
    return truncated_ ? format("is truncated, or not {}", kFormats) : format("is damaged: {}", message_);
  }

 private:
  static Decoder& of(j_common_ptr info) { return *static_cast<Decoder*>(info->client_data); }

  const std::vector<uint8_t>& bytes_;
  jpeg_decompress_struct info_ = {};
  jpeg_error_mgr handler_ = {};
  jpeg_progress_mgr progress_ = {};
  std::jmp_buf jump_ = {};
  char message_[JMSG_LENGTH_MAX] = {};
  bool truncated_ = false;
};

/// As Pillow: the four inks are taken as inverted, which they are in files of the program that writes such files.
std::vector<uint8_t> rgb_of_cmyk(const std::vector<uint8_t>& cmyk) {
  std::vector<uint8_t> rgb;
  rgb.reserve(cmyk.size() / 4 * 3);
  for (size_t i = 0; i < cmyk.size(); i += 4)
    for (size_t c = 0; c < 3; ++c) {
      const int light = cmyk[i + 3], product = (255 - cmyk[i + c]) * light + 128;
      rgb.push_back(uint8_t(light - ((product >> 8) + product) / 256));
    }
  return rgb;
}

}  // namespace

Image decode_jpeg(const std::string& file, const std::vector<uint8_t>& bytes, const ImageLimits& limits) {
  Decoder decoder(bytes);
  const bool begun = decoder.begin();  // first: the reason is known afterwards
  check<IoError>(begun, "{}: {}", file, decoder.reason());
  const int64_t height = decoder.height(), width = decoder.width();
  check_pixels(file, height, width, limits);
  Image image{height, width, 3, std::vector<uint8_t>(size_t(height * width * decoder.channels()))};
  const bool done = decoder.read(image.pixels.data());
  check<IoError>(done, "{}: {}", file, decoder.reason());
  if (decoder.channels() == 4) image.pixels = rgb_of_cmyk(image.pixels);
  return image;
}

}  // namespace vitrine::data
