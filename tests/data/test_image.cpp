#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/checkpoint/sha256.h"
#include "data/image/image.h"
#include "tests/apps/run_program.h"
#include "tests/data/png_bytes.h"
#include "tests/support/catch.h"

using namespace vitrine;
using data::decode_image;
using data::Image;
using nlohmann::json;
using vitrine::testing::Contains;
using Pixels = std::vector<uint8_t>;

namespace {

const std::string kFixtures = std::string(VITRINE_SOURCE_DIR) + "/tests/fixtures/image/";

const json& expected() {
  static const json all = json::parse(std::ifstream(kFixtures + "expected.json"));
  return all;
}

/// The same bytes as in tests/fixtures/image/make_images.py.
Image picture(int64_t height, int64_t width, int64_t channels) {
  Image image{height, width, channels, {}};
  uint32_t state = 12345;
  for (int64_t i = 0; i < height * width * channels; ++i) {
    state = (state * 1103515245U + 12345U) % (1U << 31);
    image.pixels.push_back(uint8_t(i / channels % width < width / 2 ? state >> 16 : uint32_t(i * 7)));
  }
  return image;
}

std::string sha(const Image& image) { return data::sha256(std::as_bytes(std::span(image.pixels))); }

std::string bytes_of(const std::string& name) {
  std::ifstream in(kFixtures + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// What the error that decoding `file` throws says behind the file's name; "no error" if there is none.
std::string failure(const std::string& file, const data::ImageLimits& limits = {}) {
  try {
    decode_image(file, limits);
  } catch (const IoError& e) {
    const std::string message = e.what();
    CHECK(message.starts_with(file + ": "));
    CHECK(message.find('\n') == std::string::npos);
    return message.substr(file.size() + 2);
  }
  return "no error";
}

}  // namespace

TEST_CASE("image: lossless files decode to the pixels that Pillow sees", "[unit][image]") {
  CHECK(expected()["decoded"].size() == 23);
  for (const auto& [name, pixels] : expected()["decoded"].items()) {
    INFO(name);
    const Image image = decode_image(kFixtures + name);
    CHECK(image.height == 4);
    CHECK(image.width == 5);
    CHECK(image.channels == 3);
    CHECK(image.pixels == pixels.get<Pixels>());
  }
}

TEST_CASE("image: JPEG files decode to what Pillow's decoder gives, or near it", "[unit][image]") {
  // stb_image uses another inverse cosine transform and, for CMYK, another conversion: a few levels.
  const bool same = data::jpeg_decoder() == "libjpeg";
  const int kMost = same ? 0 : 6;
  const double kMean = same ? 0 : 1;
  CHECK(expected()["jpeg"].size() == 7);  // CMYK and YCCK, grey, stored as RGB, with an EXIF orientation
  for (const auto& [name, pixels] : expected()["jpeg"].items()) {
    INFO(name);
    const Image image = decode_image(kFixtures + name);
    CHECK(image.height == 16);
    CHECK(image.width == 24);
    const Pixels other = pixels.get<Pixels>();
    REQUIRE(image.pixels.size() == other.size());
    int most = 0, sum = 0;
    for (size_t i = 0; i < other.size(); ++i) {
      most = std::max(most, std::abs(image.pixels[i] - other[i]));
      sum += std::abs(image.pixels[i] - other[i]);
    }
    CHECK(most <= kMost);
    CHECK(sum / double(other.size()) <= kMean);
  }
}

TEST_CASE("image: a file that is no picture is one error that names it and says why", "[unit][image]") {
  const testing::ScratchFolder folder("image");
  CHECK(failure(folder.file("missing.png")) == "No such file or directory");
  CHECK(failure(folder.file("")) == "is not a regular file");
  CHECK(failure("/dev/null") == "is not a regular file");
  CHECK(failure(folder.write("empty.png", "")) == "is empty");
  CHECK_THAT(failure(folder.write("text.png", "hello")), Contains("not a JPEG, PNG, BMP, GIF, PSD or PNM image"));
  CHECK(failure(folder.write("long.png", std::string(5000, 'x'))) == "is not a JPEG, PNG, BMP, GIF, PSD or PNM image");
  CHECK(failure(kFixtures + "rgb.png", {.file_bytes = 100}) == "has 122 bytes, more than the limit of 100");
  CHECK(failure(kFixtures + "rgb.png", {.pixels = 19}) == "has 5 x 4 pixels, more than the limit of 19");
  CHECK(failure(kFixtures + "rgb.png", {.file_bytes = 122, .pixels = 20}) == "no error");
}

TEST_CASE("image: formats that are not read are named, with what to do", "[unit][image]") {
  const testing::ScratchFolder folder("image");
  const auto name_of = [&](const std::string& start) {
    const std::string message = failure(folder.write("x.jpg", start + std::string(40, 'x')));
    const std::string end = ", not a JPEG, PNG, BMP, GIF, PSD or PNM image; convert it to one, such as PNG";
    INFO(message);
    CHECK(message.starts_with("is "));
    REQUIRE(message.ends_with(end));
    return message.substr(3, message.size() - 3 - end.size());
  };
  CHECK(name_of("RIFF\x24xxxWEBPVP8 ") == "a WebP image");
  for (const std::string& start : {std::string("II*\0", 4), std::string("MM\0*", 4), std::string("II+\0", 4)})
    CHECK(name_of(start) == "a TIFF image");
  CHECK(name_of("#?RADIANCE\n") == "a Radiance image");
  CHECK(name_of("\x53\x80\xf6\x34") == "a Softimage image");
  for (const int at : {12, 22, 24}) {  // channels, bits, colours
    std::string psd = bytes_of("flat.psd");
    psd[size_t(at) + 1] += 1;
    CHECK(name_of(psd) == "a Photoshop image that is not of 3 channels of 8 bits");
  }
  CHECK(name_of(std::string("\0\0\0\x1c", 4) + "ftypavif") == "an AVIF image");
  CHECK(name_of(std::string("\0\0\0\x1c", 4) + "ftypheic") == "a HEIF image");
  CHECK(name_of(std::string("\0\0\0\x0cjP  \r\n", 10)) == "a JPEG 2000 image");
  CHECK(name_of("P3 1 1 255\n1 2 3\n") == "a PNM image in plain text or of single bits");
  CHECK(name_of("version https://git-lfs.github.com/spec/v1\n") == "the pointer of Git LFS in place of the file");
  CHECK(name_of("<!DOCTYPE html>") == "a text, perhaps a web page or an SVG drawing");
}

TEST_CASE("image: a GIF or PSD file that is wrong is an error", "[unit][image]") {
  const testing::ScratchFolder folder("image");
  const auto of = [&](const std::string& bytes) { return failure(folder.write("x.gif", bytes)); };
  const std::string gif = bytes_of("palette.gif"), psd = bytes_of("packed.psd");
  const std::string large = gif.substr(0, 6) + "\xff\xff\xff\xff" + gif.substr(10);
  CHECK(of(large) == "has 65535 x 65535 pixels, more than the limit of 100000000");
  CHECK(of(gif.substr(0, 6) + std::string("\0\0", 2) + gif.substr(8)) ==
        "has 0 x 4 pixels, more than the limit of 100000000");
  CHECK_THAT(of(gif.substr(0, gif.size() / 2)), Contains("is truncated"));
  CHECK(of("GIF89b" + gif.substr(6)) == "is damaged: its header is not understood");
  CHECK(of(gif.substr(0, 37) + ";") == "is damaged");  // header, colours, end: no picture
  CHECK_THAT(of(psd.substr(0, psd.size() - 3)), Contains("is truncated"));
  CHECK(of(psd.substr(0, 14) + "\x7f" + psd.substr(15)) ==
        "has 5 x 2130706436 pixels, more than the limit of 100000000");
}

TEST_CASE("image: a PNM file that is wrong is an error", "[unit][image]") {
  const testing::ScratchFolder folder("image");
  const auto of = [&](const std::string& bytes) { return failure(folder.write("x.ppm", bytes)); };
  CHECK(of("P5 1 1 255\nx") == "no error");
  CHECK(of("P5#\n1 1 255\nx and more") == "no error");  // a second picture may follow
  CHECK(of("P6 1 1 255\nxx") == "is truncated");
  CHECK(of("P6 1 1 256\nxxxxx") == "is truncated");
  CHECK(of("P6 1 1 255") == "is truncated");
  CHECK(of("P6 1 1") == "is truncated");
  CHECK(of("P6 # 1 1 255 xxx") == "is truncated");
  CHECK(of("P6 0 1 255\nxxx") == "is damaged: its width is no positive number");
  CHECK(of("P6 1 -1 255\nxxx") == "is damaged: its height is no positive number");
  CHECK(of("P6 1 1 65536\nxxx") == "is damaged: its largest value is above 65535");
  CHECK(of("P6 99999999999999999999 1 255\nxxx") == "is damaged: its width is above 1073741824");
  CHECK(of("P6 1073741824 1073741824 255\nxxx") ==
        "has 1073741824 x 1073741824 pixels, more than the limit of 100000000");
  CHECK(of("P6 10000 10000 255\nxxx") == "is truncated");  // before memory is asked for
  CHECK(of("P5 1 1 255x") == "is damaged: no space before its pixels");
}

TEST_CASE("image: one pixel is an image, 20,000 in a row too, 20,000 a side are refused", "[unit][image]") {
  const testing::ScratchFolder folder("image");
  data::write_png(folder.file("one.png"), {1, 1, 3, {7, 8, 9}});
  CHECK(decode_image(folder.file("one.png")).pixels == Pixels{7, 8, 9});
  data::write_png(folder.file("long.png"), picture(1, 20000, 3));
  const Image row = decode_image(folder.file("long.png"));
  CHECK(row.width == 20000);
  CHECK(row.pixels == picture(1, 20000, 3).pixels);
  const std::string square = testing::png_with_size(folder.read("long.png"), 20000, 20000);
  CHECK(failure(folder.write("square.png", square)) == "has 20000 x 20000 pixels, more than the limit of 100000000");
  std::string jpeg = bytes_of("smooth.jpg");
  const size_t frame = jpeg.find(std::string("\xff\xc0\0\x11\x08", 5));
  REQUIRE(frame != std::string::npos);
  jpeg.replace(frame + 5, 4, std::string("\x4e\x20\x4e\x20", 4));
  CHECK(failure(folder.write("square.jpg", jpeg)) == "has 20000 x 20000 pixels, more than the limit of 100000000");
}

TEST_CASE("image: a PNG that inflates to more than its header states is refused before it fills the memory",
          "[unit][image]") {
  const testing::ScratchFolder folder("image");
  data::write_png(folder.file("large.png"), {3000, 3000, 1, Pixels(9'000'000)});
  const std::string bytes = folder.read("large.png");
  CHECK(bytes.size() < 100'000);
  const std::string bomb = folder.write("bomb.png", testing::png_with_size(bytes, 1, 1));
  if (data::png_decoder() == "stb_image") {
    CHECK(failure(bomb) == "is damaged: Out of memory");
  } else {  // does not inflate what it has no use for
    CHECK(decode_image(bomb).pixels == Pixels(3));
    std::string unsummed = bytes;
    unsummed[16 + 3] ^= 1;
    CHECK(failure(folder.write("sum.png", unsummed)) == "is damaged: IHDR: CRC error");
  }
}

TEST_CASE("image: a file cut anywhere is an error", "[unit][image]") {
  const testing::ScratchFolder folder("image");
  for (const char* name : {"rgb.png", "palette.png", "rgb16.png", "interlaced.png", "rgb.bmp", "smooth.jpg",
                           "progressive.jpg", "cmyk.jpg", "ycck.jpg", "wide.ppm", "grey.pgm"}) {
    const std::string whole = bytes_of(name), file = folder.write("cut", whole);
    for (size_t n = whole.size(); n-- > 0;) {
      INFO(name << ", " << n << " of " << whole.size() << " bytes");
      std::filesystem::resize_file(file, n);
      CHECK(failure(file) != "no error");
    }
  }
}

TEST_CASE("image: what is wrong with a damaged file is said", "[unit][image]") {
  const testing::ScratchFolder folder("image");
  const std::string jpeg = bytes_of("smooth.jpg"), png = bytes_of("rgb.png");
  CHECK_THAT(failure(folder.write("cut.jpg", jpeg.substr(0, jpeg.size() - 20))), Contains("is truncated"));
  CHECK_THAT(failure(folder.write("cut.png", png.substr(0, png.size() - 20))), Contains("is truncated"));
  std::string frame = jpeg, filter = png;
  frame[frame.find(std::string("\xff\xc0\0\x11\x08", 5)) + 4] = 7;  // bits a value
  filter[filter.find("IDAT") + 4] = 0;                              // not deflate's header
  for (const std::string& bytes : {frame, filter}) {
    const std::string message = failure(folder.write("damaged", bytes));
    INFO(message);
    CHECK(message.starts_with("is damaged: "));
    CHECK(message.size() > std::string("is damaged: ").size());
  }
}

TEST_CASE("image: resizing equals Pillow's in every bit", "[unit][image]") {
  const Image small = data::resize_image(picture(4, 5, 3), 3, 3);
  CHECK(small.pixels == expected()["rgb to 3 x 3"].get<Pixels>());
  CHECK(expected()["resized"].size() == 13);
  for (const json& e : expected()["resized"]) {
    INFO(e);
    const Image out = data::resize_image(picture(e["from"][0], e["from"][1], 3), e["to"][0], e["to"][1]);
    CHECK(out.height == e["to"][0]);
    CHECK(out.width == e["to"][1]);
    CHECK(sha(out) == e["sha256"]);
  }
}

TEST_CASE("image: one channel resizes as three equal ones", "[unit][image]") {
  const Image grey = picture(9, 7, 1), wide = data::to_grey(grey);
  REQUIRE(wide.channels == 3);
  CHECK(wide.pixels[3] == grey.pixels[1]);
  CHECK(data::to_grey(data::resize_image(grey, 5, 6)).pixels == data::resize_image(wide, 5, 6).pixels);
}

TEST_CASE("image: luma equals Pillow's", "[unit][image]") {
  CHECK(sha(data::to_grey(picture(64, 48, 3))) == expected()["grey of 64 x 48"]);
}

TEST_CASE("image: the centre crop rounds halves to even and pads with black", "[unit][image]") {
  Image image{5, 7, 1, {}};
  for (int i = 0; i < 35; ++i) image.pixels.push_back(uint8_t(i + 1));
  // (5 - 2) / 2 = 1.5 -> 2;  (7 - 6) / 2 = 0.5 -> 0
  CHECK(data::center_crop(image, 2, 6).pixels == Pixels{15, 16, 17, 18, 19, 20, 22, 23, 24, 25, 26, 27});
  CHECK(data::center_crop(image, 5, 7).pixels == image.pixels);
  const Image one{1, 1, 3, {7, 8, 9}};
  CHECK(data::center_crop(one, 2, 3).pixels == Pixels{0, 0, 0, 7, 8, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  CHECK(data::center_crop(image, 7, 1).pixels == Pixels{0, 4, 11, 18, 25, 32, 0});
}

TEST_CASE("image: what write_png writes reads back, whole or not at all", "[unit][image]") {
  const testing::ScratchFolder folder("image");
  const Image color = picture(33, 21, 3), grey = picture(6, 1, 1);
  data::write_png(folder.file("color.png"), color);
  data::write_png(folder.file("grey.png"), grey);
  CHECK(decode_image(folder.file("color.png")).pixels == color.pixels);
  CHECK(decode_image(folder.file("grey.png")).pixels == data::to_grey(grey).pixels);
  CHECK_THROWS_AS(data::write_png(folder.file("no/folder.png"), grey), IoError);
  CHECK(folder.list() == std::vector<std::string>{"color.png", "grey.png"});
}

TEST_CASE("image: what is no image is refused", "[unit][image]") {
  const Image none{}, short_one{2, 2, 3, Pixels(11)}, two_channels{1, 1, 2, Pixels(2)};
  for (const Image& image : {none, short_one, two_channels}) {
    CHECK_THROWS_AS(data::write_png("/tmp/never.png", image), ValueError);
    CHECK_THROWS_AS(data::to_grey(image), ValueError);
    CHECK_THROWS_AS(data::resize_image(image, 1, 1), ValueError);
    CHECK_THROWS_AS(data::center_crop(image, 1, 1), ValueError);
  }
  const Image image = picture(2, 2, 3);
  CHECK_THROWS_WITH(data::resize_image(image, 0, 1), "resize_image: height 0 and width 1 must be in [1, 65536]");
  CHECK_THROWS_AS(data::center_crop(image, 1, 65537), ValueError);
}
