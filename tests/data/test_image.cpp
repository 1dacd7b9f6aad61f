#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/checkpoint/sha256.h"
#include "data/image/image.h"
#include "tests/apps/run_program.h"
#include "tests/support/catch.h"

using namespace vitrine;
using Catch::Matchers::Contains;
using data::decode_image;
using data::Image;
using nlohmann::json;
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
  CHECK(expected()["decoded"].size() == 7);
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
  // stb_image reads behind the pixels of a PNM file of 16 bits, and ignores its largest value: not asked to.
  CHECK_THAT(failure(folder.write("grey.pgm", "P5 1 1 255\nx")), Contains("not a JPEG, PNG or BMP image"));
  CHECK_THAT(failure(folder.write("text.png", "hello")), Contains("not a JPEG, PNG or BMP image"));
  CHECK(failure(folder.write("long.png", std::string(5000, 'x'))) == "is not a JPEG, PNG or BMP image");
  CHECK(failure(kFixtures + "rgb.png", {.file_bytes = 100}) == "has 122 bytes, more than the limit of 100");
  CHECK(failure(kFixtures + "rgb.png", {.pixels = 19}) == "has 5 x 4 pixels, more than the limit of 19");
  CHECK(failure(kFixtures + "rgb.png", {.file_bytes = 122, .pixels = 20}) == "no error");
}

TEST_CASE("image: a PNG that inflates to more than its header states is refused before it fills the memory",
          "[unit][image]") {
  const testing::ScratchFolder folder("image");
  data::write_png(folder.file("large.png"), {3000, 3000, 1, Pixels(9'000'000)});
  std::string bytes = folder.read("large.png");
  CHECK(bytes.size() < 100'000);
  constexpr size_t kWidth = 16;  // of the two big-endian sizes in the header
  for (const size_t at : {kWidth, kWidth + 4}) bytes.replace(at, 4, std::string("\0\0\0\1", 4));
  CHECK(failure(folder.write("bomb.png", bytes)) == "is damaged: Out of memory");
}

TEST_CASE("image: a file cut anywhere is an error", "[unit][image]") {
  const testing::ScratchFolder folder("image");
  for (const char* name :
       {"rgb.png", "palette.png", "rgb16.png", "rgb.bmp", "smooth.jpg", "progressive.jpg", "cmyk.jpg"}) {
    const std::string whole = bytes_of(name);
    // The last chunk of a PNG says only that it is the last.
    const size_t needed = std::string(name).ends_with(".png") ? whole.size() - 12 : whole.size();
    for (size_t n = 1; n < needed; ++n) {
      INFO(name << ", " << n << " of " << whole.size() << " bytes");
      CHECK(failure(folder.write("cut", whole.substr(0, n))) != "no error");
    }
  }
}

TEST_CASE("image: damaged files end in an error or a picture, never elsewhere", "[unit][image]") {
  const testing::ScratchFolder folder("image");
  uint32_t state = 1;
  int refused = 0;
  for (const char* name : {"rgb.png", "palette.png", "rgb.bmp", "smooth.jpg", "progressive.jpg"}) {
    for (int round = 0; round < 100; ++round) {
      std::string bytes = bytes_of(name);
      for (int i = 0; i < 3; ++i) {
        state = state * 1664525U + 1013904223U;
        bytes[(state >> 8) % bytes.size()] = char(state >> 24);
      }
      refused += failure(folder.write("damaged", bytes), {.pixels = 1'000'000}) != "no error";
    }
  }
  CHECK(refused > 100);
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
