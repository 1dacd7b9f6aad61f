#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "data/checkpoint/safetensors.h"
#include "data/checkpoint/sha256.h"
#include "data/transforms/affine.h"
#include "data/transforms/augment.h"
#include "data/transforms/blur.h"
#include "data/transforms/color.h"
#include "tests/support/catch.h"

using namespace vitrine;
using namespace vitrine::data;
using nlohmann::json;

namespace {

const json& expected() {
  static const json all =
      json::parse(std::ifstream(std::string(VITRINE_SOURCE_DIR) + "/tests/fixtures/transforms/expected.json"));
  return all;
}

/// The same pictures as in tests/fixtures/transforms/make_transforms.py.
Image picture(int64_t height, int64_t width) {
  Image image{height, width, 3, {}};
  uint32_t state = 12345;
  for (int64_t i = 0; i < height * width * 3; ++i) {
    state = (state * 1103515245U + 12345U) % (1U << 31);
    image.pixels.push_back(uint8_t(i / 3 % width < width / 2 ? state >> 16 : uint32_t(i * 7)));
  }
  return image;
}

Image make(const std::string& kind, int64_t height, int64_t width) {
  if (kind == "noise") return picture(height, width);
  Image image = resize_image(picture(height / 5 + 1, width / 5 + 1), height, width);
  if (kind == "dull")
    for (uint8_t& v : image.pixels) v = uint8_t(40 + v / 3);
  return image;
}

std::string sha(const Image& image) { return data::sha256(std::as_bytes(std::span(image.pixels))); }

constexpr std::array<uint8_t, 3> kFill = {124, 116, 104};
const std::vector<std::string> kNames = {"auto_contrast", "equalize",     "invert",  "rotate",      "posterize",
                                         "solarize",      "solarize_add", "color",   "contrast",    "brightness",
                                         "sharpness",     "shear_x",      "shear_y", "translate_x", "translate_y"};

AugmentOp op_named(const std::string& name) {
  return AugmentOp(std::find(kNames.begin(), kNames.end(), name) - kNames.begin());
}

Filter filter_named(const std::string& name) { return name == "bilinear" ? Filter::bilinear : Filter::bicubic; }

Draws draws_of(int64_t item) { return Draws({.seed = 5, .offset = 77}, item); }

/// A share k of n lies within 4 standard deviations of p.
bool likely(int64_t k, int64_t n, double p) {
  return std::abs(double(k) - double(n) * p) < 4 * std::sqrt(double(n) * p * (1 - p));
}

}  // namespace

TEST_CASE("transforms: every operation of RandAugment equals timm's on Pillow in every bit", "[unit][transforms]") {
  std::map<std::string, int> compared;
  for (const json& e : expected()["ops"]) {
    INFO(e);
    Image image = make(e[0], e[1], e[2]);
    apply_augment_op(image, op_named(e[3]), e[4], filter_named(e[5]), kFill);
    CHECK(image.height == e[1]);
    CHECK(image.width == e[2]);
    CHECK(sha(image) == e[6]);
    ++compared[e[3]];
  }
  CHECK(compared.size() == size_t(kAugmentOps));
}

TEST_CASE("transforms: magnitudes mean to every operation what they mean to timm", "[unit][transforms]") {
  CHECK(expected()["levels"].size() == 15 * 2 * 9);
  for (const json& e : expected()["levels"]) {
    INFO(e);
    // timm of today keeps a factor from falling below 0.1: by one unit in the last place, at m = 10.
    CHECK(std::abs(augment_argument(e[0], e[2], e[1], false) - double(e[3])) <= 1e-15 * std::abs(double(e[3])));
  }
  CHECK(augment_argument(AugmentOp::rotate, 9, true, true) == -27);
  CHECK(augment_argument(AugmentOp::color, 9, true, true) == 1 - 0.9 * 0.9);
  CHECK(augment_argument(AugmentOp::color, 9, false, true) == augment_argument(AugmentOp::color, 9, false, false));
}

TEST_CASE("transforms: posterize to no bits is black, rotation by nothing a copy", "[unit][transforms]") {
  Image image = picture(3, 4), same = image;
  apply_augment_op(same, AugmentOp::rotate, 0, Filter::bicubic, kFill);
  CHECK(same.pixels == image.pixels);
  posterize(image, 0);
  CHECK(image.pixels == std::vector<uint8_t>(36));
  CHECK_THROWS_AS(transform(Image{}, {}, Filter::bicubic, kFill), ValueError);
}

TEST_CASE("transforms: one grey channel changes as three equal ones", "[unit][transforms]") {
  Image grey{9, 7, 1, {}};
  for (int i = 0; i < 63; ++i) grey.pixels.push_back(uint8_t(30 + i * 37 % 200));
  for (int k = 0; k < kAugmentOps; ++k) {
    INFO(kNames[size_t(k)]);
    Image narrow = grey, wide = to_grey(grey);
    const double argument = augment_argument(AugmentOp(k), 7, true, false);
    for (Image* image : {&narrow, &wide}) apply_augment_op(*image, AugmentOp(k), argument, Filter::bicubic, {9, 9, 9});
    CHECK(to_grey(narrow).pixels == wide.pixels);
  }
}

TEST_CASE("transforms: a resized crop equals Pillow's crop and resize", "[unit][transforms]") {
  for (const json& e : expected()["crops"]) {
    INFO(e);
    const json &box = e[3], &to = e[4];
    const Image out = resample(make(e[0], e[1], e[2]), {box[0], box[1], box[2], box[3]}, to[0], to[1],
                               {0, 0, to[0], to[1]}, filter_named(e[5]));
    CHECK(sha(out) == e[6]);
  }
  const Image image = picture(4, 4);
  CHECK_THROWS_AS(resample(image, {1, 0, 4, 4}, 2, 2, {0, 0, 2, 2}, Filter::bicubic), ValueError);
  CHECK_THROWS_AS(resample(image, {0, 0, 4, 4}, 2, 2, {0, 1, 2, 2}, Filter::bicubic), ValueError);
  CHECK_THROWS_AS(resample(image, {0, 0, 0, 4}, 2, 2, {0, 0, 2, 2}, Filter::bicubic), ValueError);
}

TEST_CASE("transforms: a part of a resized image is that part", "[unit][transforms]") {
  const Image image = picture(37, 53), whole = resize_image(image, 80, 21);
  const Box part{13, 4, 50, 9};
  CHECK(resample(image, {0, 0, 37, 53}, 80, 21, part, Filter::bicubic).pixels == crop(whole, part).pixels);
}

TEST_CASE("transforms: the evaluation transform equals torchvision's", "[unit][transforms]") {
  for (const json& e : expected()["evaluation"]) {
    INFO(e);
    const Image out = evaluation_image(make(e[0], e[1], e[2]), {.height = e[3], .width = e[3], .crop = e[4]});
    CHECK(out.height == e[3]);
    CHECK(out.width == e[3]);
    CHECK(sha(out) == e[5]);
  }
  // As long as it may be: nothing is computed that is not seen.
  CHECK(evaluation_image(Image{1, 60000, 1, std::vector<uint8_t>(60000, 3)}, {.height = 224, .width = 224}).pixels ==
        std::vector<uint8_t>(224 * 224, 3));
  CHECK_THROWS_AS(evaluation_image(picture(2, 2), {.height = 2, .width = 2, .crop = 0}), ValueError);
}

TEST_CASE("transforms: the evaluation of a JPEG file equals timm's, from the file to the input", "[unit][transforms]") {
  const std::string folder = std::string(VITRINE_SOURCE_DIR) + "/tests/fixtures/transforms/";
  const data::Safetensors recorded = data::read_safetensors(folder + "evaluation.safetensors");
  const Preprocessing form{
      .height = 40, .width = 40, .mean = {0.485, 0.456, 0.406}, .std = {0.229, 0.224, 0.225}, .crop = 0.875};
  const Image image = evaluation_image(decode_image(folder + "photo.jpg"), form);
  std::vector<float> input(3 * 40 * 40);
  to_planes(image, PixelTable(form), input.data());
  const std::vector<double> expected_input = recorded.at("input").to_vector(),
                            pixels = recorded.at("pixels").to_vector();
  // The Pillow that made `pixels` resizes rows first where that is less work: a level. stb_image is a few levels off.
  const bool same = jpeg_decoder() == "libjpeg";
  const double levels = same ? 1 : 8, rounding = same ? 1e-6 : 8 / (255 * 0.224);
  for (size_t i = 0; i < input.size(); ++i) REQUIRE(std::abs(double(input[i]) - expected_input[i]) <= rounding);
  for (size_t i = 0; i < pixels.size(); ++i) REQUIRE(std::abs(image.pixels[i] - pixels[i]) <= levels);
}

TEST_CASE("transforms: the Gaussian blur equals Pillow's in every bit", "[unit][transforms]") {
  CHECK(expected()["blurs"].size() == 6 * 7);
  for (const json& e : expected()["blurs"]) {
    INFO(e);
    Image image = make(e[0], e[1], e[2]);
    gaussian_blur(image, e[3]);
    CHECK(sha(image) == e[4]);
  }
  Image image = picture(3, 4);
  gaussian_blur(image, 0);
  CHECK(image.pixels == picture(3, 4).pixels);
  CHECK_THROWS_AS(gaussian_blur(image, -1), ValueError);
  CHECK_THROWS_AS(gaussian_blur(image, NAN), ValueError);
}

TEST_CASE("transforms: a crop that reaches over the border equals torchvision's of a mirrored image",
          "[unit][transforms]") {
  CHECK(expected()["mirrored"].size() == 4 * 4);
  for (const json& e : expected()["mirrored"]) {
    INFO(e);
    const Image image = make(e[0], e[1], e[2]);
    const json &size = e[3], &box = e[4];
    const ImageSize covering = covering_size(image, box[2], box[3]);
    CHECK((covering.height == size[0] && covering.width == size[1]));
    CHECK(sha(mirrored_crop(image, covering, {box[0], box[1], box[2], box[3]})) == e[5]);
  }
}

TEST_CASE("transforms: 3-Augment takes one of grey, solarize and blur, then colour jitter", "[unit][transforms]") {
  const Preprocessing form{.height = 24, .width = 24};
  const Image image = make("smooth", 24, 24);
  Image solar = image;
  solarize(solar, 128);
  const auto is_grey = [](const Image& x) {
    for (size_t i = 0; i < x.pixels.size(); i += 3)
      if (x.pixels[i] != x.pixels[i + 1] || x.pixels[i] != x.pixels[i + 2]) return false;
    return true;
  };
  Augmentation three;
  three.three_augment = true;
  int64_t greys = 0, solars = 0, blurred = 0;
  constexpr int64_t kImages = 900;
  for (int64_t i = 0; i < kImages; ++i) {
    Draws draws = draws_of(i);
    const Image out = augment(image, three, form, draws);
    if (is_grey(out)) {
      ++greys;
      CHECK(out.pixels == to_grey(image).pixels);
    } else if (out.pixels == solar.pixels) {
      ++solars;
    } else {
      blurred += out.pixels != image.pixels;
    }
  }
  CHECK(likely(greys, kImages, 1. / 3));
  CHECK(likely(solars, kImages, 1. / 3));
  CHECK(blurred > kImages / 3 - 60);  // a radius below 0.2 may change nothing
  // Jitter, which a policy would switch off, comes behind it.
  Augmentation both = three;
  both.color_jitter = 0.3;
  Draws one = draws_of(3), other = draws_of(3);
  CHECK(augment(image, both, form, one).pixels != augment(image, three, form, other).pixels);
  both.policy = RandAugment::parse("rand-m9");
  CHECK_THROWS_WITH(both.check_ranges(), "augmentation: 3-Augment takes the place of a policy; give one of them");
}

TEST_CASE("transforms: the simple crop reaches every place and no other", "[unit][transforms]") {
  Augmentation simple;
  simple.simple_crop = true;
  const Preprocessing form{.height = 5, .width = 5};
  // 5 x 7 pixels that tell where they are; mirrored, places -4 to 4 downwards and -4 to 6 to the right.
  Image image{5, 7, 1, {}};
  for (int i = 0; i < 35; ++i) image.pixels.push_back(uint8_t(i));
  std::set<std::vector<uint8_t>> possible, seen;
  for (int64_t top = -4; top <= 4; ++top)
    for (int64_t left = -4; left <= 6; ++left) possible.insert(mirrored_crop(image, {5, 7}, {top, left, 5, 5}).pixels);
  CHECK(mirrored_crop(image, {5, 7}, {-1, 2, 5, 5}).pixels[0] == 9);  // row -1 is row 1
  CHECK(mirrored_crop(image, {5, 7}, {0, 6, 5, 5}).pixels[1] == 5);   // column 7 is column 5
  for (int64_t i = 0; i < 2000; ++i) {
    Draws draws = draws_of(i);
    seen.insert(augment(image, simple, form, draws).pixels);
  }
  CHECK(seen == possible);
  simple.resized_crop = true;
  CHECK_THROWS_WITH(simple.check_ranges(), "augmentation: one of resized_crop, simple_crop and pad_crop, not several");
}

TEST_CASE("transforms: the grammar of RandAugment", "[unit][transforms]") {
  const RandAugment deit = RandAugment::parse("rand-m9-mstd0.5-inc1");
  CHECK(deit.magnitude == 9);
  CHECK(deit.magnitude_std == 0.5);
  CHECK(deit.ops == 2);
  CHECK(deit.increasing);
  CHECK_FALSE(deit.weighted);
  const RandAugment plain = RandAugment::parse("rand");
  CHECK(plain.magnitude == 10);
  CHECK(plain.magnitude_std == 0);
  CHECK_FALSE(plain.increasing);
  const RandAugment other = RandAugment::parse("rand-n3-w0-inc0-m4");
  CHECK(other.ops == 3);
  CHECK(other.weighted);
  CHECK_FALSE(other.increasing);
  CHECK_THROWS_WITH(RandAugment::parse("rand-x3"),
                    "augmentation 'rand-x3': unknown section 'x3'; there are m, n, mstd, w, inc");
  CHECK_THROWS_WITH(RandAugment::parse("rand-m"), "augmentation 'rand-m': section 'm' needs a number of 0 to 10");
  CHECK_THROWS_WITH(RandAugment::parse("rand-m9.5"),
                    "augmentation 'rand-m9.5': section 'm9.5' needs a number of 0 to 10");
  CHECK_THROWS_WITH(RandAugment::parse("m9"),
                    "augmentation 'm9' does not begin with 'rand', as rand-m9-mstd0.5-inc1 does");
  for (const char* text : {"", "rand-", "rand-m11", "rand-w1", "rand-inc2", "rand-n0", "rand-mstd-1", "rand--m9"})
    CHECK_THROWS_AS(RandAugment::parse(text), ValueError);
  for (const char* text : {"original", "v0-mstd0.5", "augmix-m5", "3a"})
    CHECK_THROWS_AS(RandAugment::parse(text), NotImplemented);
}

TEST_CASE("transforms: RandAugment applies half of its draws", "[unit][transforms]") {
  const Image image = make("dull", 24, 24);  // one that every operation changes
  int64_t same = 0;
  constexpr int64_t kImages = 4000;
  for (int64_t i = 0; i < kImages; ++i) {
    Image out = image;
    Draws draws = draws_of(i);
    // One operation; only rotations and the like change nothing at magnitude 0, so take a large one.
    rand_augment(out, RandAugment::parse("rand-m9-n1-mstd0.5-inc1"), Interpolation::random, kFill, draws);
    same += out.pixels == image.pixels;
  }
  CHECK(likely(same, kImages, 0.5));
  // Weighted: of 15 operations, 13 can be drawn, without replacement; 8 of them never give the same one twice.
  Image out = image;
  Draws draws = draws_of(0);
  rand_augment(out, RandAugment::parse("rand-m9-n8-w0"), Interpolation::bicubic, kFill, draws);
  CHECK(out.pixels != image.pixels);
}

TEST_CASE("transforms: the resized crop is inside, and spreads as stated", "[unit][transforms]") {
  constexpr int64_t kDraws = 20000, kHeight = 300, kWidth = 400;
  double area = 0, log_ratio = 0;
  int64_t small = 0, at_left = 0;
  for (int64_t i = 0; i < kDraws; ++i) {
    Draws draws = draws_of(i);
    const Box box = draw_resized_crop(kHeight, kWidth, {}, draws);
    REQUIRE(box.top >= 0);
    REQUIRE(box.left >= 0);
    REQUIRE(box.height > 0);
    REQUIRE(box.top + box.height <= kHeight);
    REQUIRE(box.left + box.width <= kWidth);
    const double part = double(box.height * box.width) / double(kHeight * kWidth);
    REQUIRE(part > 0.079);
    area += part, log_ratio += std::log(double(box.width) / double(box.height));
    small += part < 0.31, at_left += box.left == 0;
  }
  CHECK(small > kDraws / 4);  // of the uniform law on [0.08, 1]; large parts are refused more often
  CHECK(area / kDraws > 0.4);
  CHECK(area / kDraws < 0.54);
  CHECK(std::abs(log_ratio / kDraws) < 0.06);
  CHECK(at_left > 0);
  // Too narrow for any try: the middle, with sides of 3:4.
  Draws draws = draws_of(0);
  const Box tall = draw_resized_crop(1000, 9, {}, draws), wide = draw_resized_crop(8, 1001, {}, draws);
  CHECK((tall.height == 12 && tall.width == 9 && tall.top == 494 && tall.left == 0));
  CHECK((wide.height == 8 && wide.width == 11 && wide.top == 0 && wide.left == 495));
  const Box one = draw_resized_crop(1, 1, {}, draws);
  CHECK((one.height == 1 && one.width == 1));
}

TEST_CASE("transforms: scale and ratio bound the resized crop", "[unit][transforms]") {
  Augmentation a;
  a.scale = {0.4, 0.5}, a.ratio = {2, 3};
  double narrowest = 9, widest = 0;
  for (int64_t i = 0; i < 2000; ++i) {
    Draws draws = draws_of(i);
    const Box box = draw_resized_crop(300, 600, a, draws);
    const double part = double(box.height * box.width) / (300 * 600), ratio = double(box.width) / double(box.height);
    REQUIRE((part > 0.39 && part < 0.51));
    narrowest = std::min(narrowest, ratio), widest = std::max(widest, ratio);
  }
  CHECK((narrowest > 1.97 && narrowest < 2.05));
  CHECK((widest > 2.8 && widest < 3.03));
  // Where no try fits: the largest part in the middle.
  Draws draws = draws_of(0);
  const Box tall = draw_resized_crop(900, 30, a, draws);
  CHECK((tall.width == 30 && tall.height == 15 && tall.top == 442 && tall.left == 0));
  for (const std::array<double, 2>& bad : {std::array{0.0, 1.0}, {0.5, 0.4}, {0.5, 1.1}}) {
    a.scale = bad;
    CHECK_THROWS_AS(a.check_ranges(), ValueError);
  }
  a.scale = {0.08, 1}, a.ratio = {0, 1};
  CHECK_THROWS_WITH(a.check_ranges(),
                    "augmentation: the ratio of crops is 0 to 1; it must rise from above 0 to at most 100");
}

TEST_CASE("transforms: colour jitter stays within its factors and orders", "[unit][transforms]") {
  Augmentation jitter;
  jitter.color_jitter = 0.3;
  const Preprocessing form{.height = 4, .width = 4};
  const Image flat{4, 4, 3, std::vector<uint8_t>(48, 100)};  // only brightness changes what is flat and grey
  int lowest = 255, highest = 0;
  for (int64_t i = 0; i < 500; ++i) {
    Draws draws = draws_of(i);
    const Image out = augment(flat, jitter, form, draws);
    lowest = std::min<int>(lowest, out.pixels[0]), highest = std::max<int>(highest, out.pixels[0]);
  }
  CHECK((lowest >= 70 && lowest <= 72));
  CHECK((highest >= 128 && highest <= 130));
  std::set<std::vector<uint8_t>> seen;
  for (int64_t i = 0; i < 50; ++i) {
    Draws draws = draws_of(i);
    seen.insert(augment(picture(4, 4), jitter, form, draws).pixels);
  }
  CHECK(seen.size() == 50);
  // A policy takes its place.
  Augmentation policy = jitter;
  policy.policy = RandAugment::parse("rand-m9-n1");
  Augmentation alone = policy;
  alone.color_jitter = 0;
  for (int64_t i = 0; i < 20; ++i) {
    Draws one = draws_of(i), other = draws_of(i);
    CHECK(augment(picture(4, 4), policy, form, one).pixels == augment(picture(4, 4), alone, form, other).pixels);
  }
}

TEST_CASE("transforms: erasing takes boxes of the stated size, with the stated noise", "[unit][transforms]") {
  constexpr int64_t kSide = 40, kPlane = kSide * kSide, kImages = 1000;
  const auto erased = [&](Erasing erasing, int64_t item) {
    std::vector<float> x(size_t(3 * kPlane), 100);
    Draws draws = draws_of(item);
    erase(x.data(), kSide, kSide, erasing, draws);
    return x;
  };
  int64_t hit = 0, values = 0;
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < kImages; ++i) {
    const std::vector<float> x = erased({.probability = 0.25}, i);
    const int64_t n = std::count_if(x.begin(), x.end(), [](float v) { return v != 100; });
    if (n == 0) continue;
    ++hit, values += n;
    CHECK(n % 3 == 0);
    CHECK(n / 3 >= 0.02 * kPlane - kSide);
    CHECK(n / 3 <= kPlane / 3.0 + kSide);
    for (const float v : x)
      if (v != 100) sum += v, squares += v * v;
  }
  CHECK(likely(hit, kImages, 0.25));
  CHECK(std::abs(sum / double(values)) < 4 / std::sqrt(double(values)));
  CHECK(std::abs(squares / double(values) - 1) < 4 * std::sqrt(2 / double(values)));

  for (int64_t i = 0; i < 20; ++i) {
    const std::vector<float> zero = erased({.probability = 1, .mode = Erasing::Mode::zero}, i);
    const std::vector<float> colour = erased({.probability = 1, .mode = Erasing::Mode::colour}, i);
    std::set<float> values_seen(zero.begin(), zero.end()), colours(colour.begin(), colour.end());
    CHECK(values_seen == std::set<float>{0, 100});
    CHECK(colours.size() == 4);  // one a channel, and what was there
    const std::vector<float> many = erased({.probability = 1, .mode = Erasing::Mode::zero, .count = 5}, i);
    CHECK(std::count(many.begin(), many.end(), 0.0F) <= kPlane + 5 * 3 * kSide);
  }
  CHECK(erased({.probability = 0}, 0) == std::vector<float>(size_t(3 * kPlane), 100));
}

TEST_CASE("transforms: values out of range are one error", "[unit][transforms]") {
  CHECK_THROWS_AS(parse_interpolation("nearest"), ValueError);
  CHECK_THROWS_WITH(parse_erasing_mode("x"), "erasing mode 'x'; there are pixel, rand, const");
  Augmentation a;
  a.erasing.probability = 1.5;
  CHECK_THROWS_WITH(a.check_ranges(), "augmentation: the probability of erasing is 1.5; it must be 0 to 1");
  a = {};
  a.erasing.count = 0;
  CHECK_THROWS_AS(a.check_ranges(), ValueError);
  a = {};
  a.pad_crop = 1, a.resized_crop = true;
  CHECK_THROWS_AS(a.check_ranges(), ValueError);
  a = {};
  a.color_jitter = -1;
  CHECK_THROWS_AS(a.check_ranges(), ValueError);
  CHECK_NOTHROW(Augmentation{}.check_ranges());
  CHECK(parse_interpolation("random") == Interpolation::random);
  CHECK(to_string(parse_erasing_mode("const")) == "const");
}
