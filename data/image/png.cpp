#include "data/image/png.h"

#include <png.h>

#include <csetjmp>
#include <cstring>

#include "core/error.h"
#include "data/image/image_checks.h"

namespace vitrine::data {
namespace {

/// libpng leaves an error by a jump, and a jump runs no destructors: between setjmp and the calls that may jump there
/// are only plain values.
class Decoder {
 public:
  explicit Decoder(const std::vector<uint8_t>& bytes) : bytes_(bytes) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, fail, [](png_structp, png_const_charp) {});
    info_ = png_ ? png_create_info_struct(png_) : nullptr;
    check<OutOfMemory>(info_ != nullptr, "no memory to decode a PNG");
  }
  ~Decoder() { png_destroy_read_struct(&png_, &info_, nullptr); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  /// Reads the header, and asks for 3 channels of 8 bits. False if that failed.
  bool begin() {
    if (setjmp(jump_)) return false;
    png_set_read_fn(png_, this, read_some);
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // the caller knows how many pixels it wants
    // Texts, colour profiles and so on, which may be packed and large, are passed over; so is transparency.
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_read_info(png_, info_);
    png_set_strip_16(png_);
    png_set_palette_to_rgb(png_);
    png_set_expand_gray_1_2_4_to_8(png_);
    png_set_gray_to_rgb(png_);
    png_set_strip_alpha(png_);
    return true;
  }
  /// Fits the rest to what was asked for; false if that failed or the rows will have other than 3 bytes a pixel.
  bool start() {
    if (setjmp(jump_)) return false;
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    std::strcpy(message_, "rows of an unexpected form");
    return png_get_rowbytes(png_, info_) == 3 * size_t(width());
  }
  /// Writes all rows, and reads to the end of the file. False if that failed.
  bool read(uint8_t** rows) {
    if (setjmp(jump_)) return false;
    png_read_image(png_, rows);
    png_read_end(png_, nullptr);
    return true;
  }
  int64_t height() const { return png_get_image_height(png_, info_); }
  int64_t width() const { return png_get_image_width(png_, info_); }
  std::string reason() const { return truncated_ ? "is truncated" : std::string("is damaged: ") + message_; }

 private:
  static void fail(png_structp png, png_const_charp message) {
    Decoder& decoder = *static_cast<Decoder*>(png_get_error_ptr(png));
    std::strncpy(decoder.message_, message, sizeof decoder.message_ - 1);
    std::longjmp(decoder.jump_, 1);
  }
  static void read_some(png_structp png, png_bytep out, size_t count) {
    Decoder& decoder = *static_cast<Decoder*>(png_get_io_ptr(png));
    if (count > decoder.bytes_.size() - decoder.at_) {
      decoder.truncated_ = true;
      png_error(png, "truncated");
    }
    std::memcpy(out, decoder.bytes_.data() + decoder.at_, count);
    decoder.at_ += count;
  }

  const std::vector<uint8_t>& bytes_;
  size_t at_ = 0;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::jmp_buf jump_ = {};
  char message_[128] = {};
  bool truncated_ = false;
};

}  // namespace

Image decode_png(const std::string& file, const std::vector<uint8_t>& bytes, const ImageLimits& limits) {
  Decoder decoder(bytes);
  const bool begun = decoder.begin();  // first: the reason is known afterwards
  check<IoError>(begun, "{}: {}", file, decoder.reason());
  const int64_t height = decoder.height(), width = decoder.width();
  check_pixels(file, height, width, limits);
  const bool started = decoder.start();
  check<IoError>(started, "{}: {}", file, decoder.reason());
  Image image{height, width, 3, std::vector<uint8_t>(size_t(3 * height * width))};
  std::vector<uint8_t*> rows;
  for (int64_t y = 0; y < height; ++y) rows.push_back(image.row(y));
  const bool done = decoder.read(rows.data());
  check<IoError>(done, "{}: {}", file, decoder.reason());
  return image;
}

}  // namespace vitrine::data
