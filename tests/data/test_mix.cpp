#include <cmath>
#include <cstring>

#include "core/error.h"
#include "data/checkpoint/safetensors.h"
#include "data/sampler.h"
#include "data/transforms/mix.h"
#include "tests/support/catch.h"

using namespace vitrine;
using namespace vitrine::data;

namespace {

constexpr int64_t kCount = 6, kHeight = 9, kWidth = 7, kPlane = kHeight * kWidth, kImage = 3 * kPlane, kClasses = 5;

struct Mixed {
  std::vector<float> before, images, targets;
  float x(int64_t i, int64_t k) const { return images[size_t(i * kImage + k)]; }
  float old(int64_t i, int64_t k) const { return before[size_t(i * kImage + k)]; }
};
const std::vector<int64_t> kLabels = {0, 1, 2, 3, 4, 2};  // partners: 0 and 2, 1 and 4, 2 and 3

Mixed run(Mixing mixing, int64_t item) {
  mixing.classes = kClasses;
  Mixed m;
  for (int64_t k = 0; k < kCount * kImage; ++k) m.before.push_back(float(k % 1009) / 16);
  m.images = m.before;
  m.targets.resize(size_t(kCount * kClasses));
  Draws draws({.seed = 9, .offset = 3}, item);
  mix(mixing, {kCount, kHeight, kWidth}, m.images.data(), kLabels.data(), m.targets.data(), draws);
  return m;
}

/// l of image i, from its target.
double lambda(const Mixed& m, const Mixing& mixing, int64_t i) {
  const double off = mixing.label_smoothing / kClasses, on = 1 - mixing.label_smoothing + off;
  return (double(m.targets[size_t(i * kClasses + kLabels[size_t(i)])]) - off) / (on - off);
}

/// Pixels of image i that are its partner's; -1 unless they form one rectangle, the same in every channel.
int64_t pasted(const Mixed& m, int64_t i) {
  const int64_t j = kCount - 1 - i;
  int64_t top = kHeight, bottom = -1, left = kWidth, right = -1;
  std::vector<bool> from(static_cast<size_t>(kPlane));
  for (int64_t k = 0; k < kImage; ++k) {
    const bool other = m.x(i, k) != m.old(i, k);
    if (other && m.x(i, k) != m.old(j, k)) return -1;
    if (k >= kPlane && other != from[size_t(k % kPlane)]) return -1;
    from[size_t(k % kPlane)] = other;
    if (!other) continue;
    const int64_t y = k % kPlane / kWidth, x = k % kWidth;
    top = std::min(top, y), bottom = std::max(bottom, y), left = std::min(left, x), right = std::max(right, x);
  }
  const int64_t area = std::count(from.begin(), from.end(), true);
  return area == 0 || area == (bottom - top + 1) * (right - left + 1) ? area : -1;
}

}  // namespace

TEST_CASE("mix: mixup is the formula, with the l that the targets show", "[unit][mix]") {
  const Mixing mixing{.mixup = 0.8, .label_smoothing = 0.1};
  double first = -1;
  bool different = false;
  for (int64_t item = 0; item < 20; ++item) {
    const Mixed m = run(mixing, item);
    const double l = lambda(m, mixing, 0);
    for (int64_t i = 0; i < kCount; ++i) {
      CHECK(std::abs(lambda(m, mixing, i) - l) < 1e-6);  // one l for the group
      double sum = 0;
      for (int64_t c = 0; c < kClasses; ++c) sum += double(m.targets[size_t(i * kClasses + c)]);
      CHECK(std::abs(sum - 1) < 1e-6);
      for (int64_t k = 0; k < kImage; ++k)
        CHECK(std::abs(m.x(i, k) - (l * m.old(i, k) + (1 - l) * m.old(kCount - 1 - i, k))) < 1e-4);
    }
    different |= first >= 0 && std::abs(first - l) > 0.01;
    first = l;
  }
  CHECK(different);
}

TEST_CASE("mix: cutmix pastes one rectangle, and l is what is left", "[unit][mix]") {
  const Mixing mixing{.cutmix = 1};
  int64_t largest = 0;
  for (int64_t item = 0; item < 200; ++item) {
    const Mixed m = run(mixing, item);
    const int64_t area = pasted(m, 0);
    largest = std::max(largest, area);
    for (int64_t i = 0; i < kCount; ++i) {
      CHECK(pasted(m, i) == area);
      CHECK(std::abs(lambda(m, mixing, i) - (1 - double(area) / kPlane)) < 1e-6);
    }
  }
  CHECK(largest > kPlane / 2);
}

TEST_CASE("mix: with timm's draws, pixels and targets are timm's", "[unit][mix]") {
  const data::Safetensors recorded =
      data::read_safetensors(std::string(VITRINE_SOURCE_DIR) + "/tests/fixtures/transforms/mixing.safetensors");
  constexpr int64_t kImages = 6, kRows = 5, kColumns = 4, kTimmClasses = 7;
  const std::vector<int64_t> labels = {0, 1, 2, 3, 6, 2};
  const Mixing mixing{.mixup = 0.8, .label_smoothing = 0.1, .classes = kTimmClasses};
  int cases = 0, cuts = 0, whole = 0;
  for (const auto& [key, l] : recorded.tensors) {
    if (!key.ends_with(".l")) continue;
    const std::string name = key.substr(0, key.size() - 2);
    INFO(name);
    ++cases;
    const std::vector<double> ls = l.to_vector(), boxes = recorded.at(name + ".box").to_vector();
    std::vector<MixRecipe> recipes;
    for (size_t i = 0; i < size_t(kImages); ++i) {
      const double* box = boxes.data() + 5 * i;
      recipes.push_back({.l = ls[i],
                         .cut = box[0] == 1,
                         .box = {int64_t(box[1]), int64_t(box[2]), int64_t(box[3]), int64_t(box[4])}});
      cuts += recipes.back().cut && ls[i] < 1, whole += ls[i] == 1;
    }
    std::vector<float> images, targets(size_t(kImages * kTimmClasses));
    for (int64_t k = 0; k < kImages * 3 * kRows * kColumns; ++k) images.push_back(float(k % 1009) / 16 - 20);
    mix(mixing, {kImages, kRows, kColumns}, recipes, images.data(), labels.data(), targets.data());
    const std::vector<double> x = recorded.at(name + ".images").to_vector();
    const std::vector<double> y = recorded.at(name + ".targets").to_vector();
    // timm takes 1 - l in f32 where each image has an l of its own.
    for (size_t k = 0; k < x.size(); ++k) REQUIRE(std::abs(double(images[k]) - x[k]) <= 4e-6);
    for (size_t k = 0; k < y.size(); ++k) REQUIRE(std::abs(double(targets[k]) - y[k]) <= 2e-7);
  }
  CHECK(cases == 9);
  CHECK(cuts > 20);
  CHECK(whole > 3);
}

TEST_CASE("mix: the box of CutMix", "[unit][mix]") {  // deit 7
  const Box middle = cut_box(0.5, 224, 224, 112, 112), corner = cut_box(0.5, 224, 224, 0, 0);
  CHECK((middle.top == 33 && middle.left == 33 && middle.height == 158 && middle.width == 158));
  CHECK((corner.top == 0 && corner.left == 0 && corner.height == 79 && corner.width == 79));
  const Box odd = cut_box(0.75, 10, 6, 9, 1);  // sides of 5 and 3 lose one; rows from 7 on, clipped at 10
  CHECK((odd.top == 7 && odd.height == 3 && odd.left == 0 && odd.width == 2));
}

TEST_CASE("mix: cutmix_minmax bounds the sides", "[unit][mix]") {
  const Mixing mixing{.cutmix_minmax = {{0.3, 0.8}}};  // heights 2 to 6, widths 2 to 4
  int64_t smallest = kPlane, largest = 0;
  for (int64_t item = 0; item < 200; ++item) {
    const int64_t area = pasted(run(mixing, item), 1);
    smallest = std::min(smallest, area), largest = std::max(largest, area);
  }
  CHECK(smallest == 2 * 2);
  CHECK(largest == 6 * 4);
}

TEST_CASE("mix: elem draws for each image, pair for both of a pair, from unmixed originals", "[unit][mix]") {
  for (const Mixing::Mode mode : {Mixing::Mode::elem, Mixing::Mode::pair}) {
    const Mixing mixing{.mixup = 0.8, .cutmix = 1, .mode = mode};
    INFO(to_string(mode));
    int64_t equal = 0, pairs = 0, cuts = 0, mixes = 0;
    for (int64_t item = 0; item < 100; ++item) {
      const Mixed m = run(mixing, item);
      for (int64_t i = 0; i < kCount; ++i) {
        const double l = lambda(m, mixing, i);
        const int64_t area = pasted(m, i);
        if (area >= 0) {
          ++cuts;
          CHECK(std::abs(l - (1 - double(area) / kPlane)) < 1e-6);
        } else {
          ++mixes;
          for (int64_t k = 0; k < kImage; ++k)
            REQUIRE(std::abs(m.x(i, k) - (l * m.old(i, k) + (1 - l) * m.old(kCount - 1 - i, k))) < 1e-4);
        }
        if (2 * i < kCount) ++pairs, equal += std::abs(l - lambda(m, mixing, kCount - 1 - i)) < 1e-6;
      }
    }
    CHECK(std::abs(cuts - mixes) < 120);  // of 600, half by half; 4.9 deviations, or 3.5 where pairs count double
    CHECK((mode == Mixing::Mode::pair ? equal == pairs : equal < pairs / 10));
  }
}

TEST_CASE("mix: probabilities of mixing and of switching", "[unit][mix]") {
  Mixing mixing{.mixup = 1, .cutmix = 1, .probability = 0.3, .switch_probability = 0.8, .label_smoothing = 0.1};
  int64_t mixed = 0, cut = 0;
  for (int64_t item = 0; item < 1000; ++item) {
    const Mixed m = run(mixing, item);
    if (lambda(m, mixing, 0) > 1 - 1e-6) {
      CHECK(std::memcmp(m.images.data(), m.before.data(), m.images.size() * sizeof(float)) == 0);
      CHECK(m.targets[0] == float(1 - 0.1 + 0.1 / kClasses));  // smoothed all the same
      CHECK(m.targets[1] == float(0.1 / kClasses));
      continue;
    }
    ++mixed, cut += pasted(m, 0) >= 0;
  }
  // Rectangles of 0 pixels count as unmixed, so a little fewer than 300.
  CHECK((mixed > 220 && mixed < 350));
  CHECK((double(cut) > 0.7 * double(mixed) && double(cut) < 0.88 * double(mixed)));
}

TEST_CASE("mix: Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1))", "[unit][mix]") {
  for (const double alpha : {0.2, 0.8, 1.0, 4.0}) {
    constexpr int64_t kDraws = 20000;
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < kDraws; ++i) {
      Draws draws({.seed = 2, .offset = 0}, i);
      const double x = draw_beta(alpha, draws);
      REQUIRE((x >= 0 && x <= 1));
      sum += x, squares += (x - 0.5) * (x - 0.5);
    }
    const double variance = 1 / (4 * (2 * alpha + 1));
    INFO("alpha " << alpha);
    CHECK(std::abs(sum / kDraws - 0.5) < 4 * std::sqrt(variance / kDraws));
    CHECK(std::abs(squares / kDraws / variance - 1) < 0.04);
  }
}

TEST_CASE("mix: values out of range are one error", "[unit][mix]") {
  const auto refused = [](Mixing mixing) {
    mixing.classes = 3;
    CHECK_THROWS_AS(mixing.check_ranges(), ValueError);
  };
  refused({.mixup = -1});
  refused({.probability = 2});
  refused({.group = 3});
  refused({.cutmix_minmax = {{0.5, 0.2}}});
  CHECK_THROWS_WITH((Mixing{.mixup = 1}.check_ranges()), "mixing: 0 classes");
  CHECK_THROWS_WITH(parse_mixing_mode("x"), "mixing mode 'x'; there are batch, elem, pair");
  CHECK_NOTHROW(Mixing{}.check_ranges());
}

TEST_CASE("sampler: PyTorch's permutation", "[unit][sampler]") {
  CHECK(torch_permutation(10, 0) == std::vector<int64_t>{4, 1, 7, 5, 3, 9, 0, 8, 6, 2});
  CHECK(torch_permutation(10, 42) == std::vector<int64_t>{2, 6, 1, 8, 4, 5, 0, 9, 3, 7});
  const auto begin = [](uint32_t seed) {
    std::vector<int64_t> order = torch_permutation(1281167, seed);
    order.resize(4);
    return order;
  };
  CHECK(begin(0) == std::vector<int64_t>{1069931, 571398, 762430, 399643});
  CHECK(begin(1) == std::vector<int64_t>{24379, 1219368, 1037816, 384707});
  CHECK(torch_permutation(0, 0).empty());
}

TEST_CASE("sampler: repeated augmentation, one rank and several", "[unit][sampler]") {
  // 600 images: 512 places, 2 ranks: 256 each, 8 batches of 30.
  const std::vector<Sample> samples = repeated(600, 4, 3, 2, 30);
  const std::vector<int64_t> order = torch_permutation(600, 4);
  REQUIRE(samples.size() == 8 * 60);
  CHECK(repeated_batches(600, 2, 30) == 8);
  for (size_t b = 0; b < 8; ++b)
    for (size_t rank = 0; rank < 2; ++rank)
      for (size_t i = 0; i < 30; ++i) {
        const size_t place = rank + 2 * (30 * b + i);
        const Sample& s = samples[60 * b + 30 * rank + i];
        CHECK(s.image == order[place / 3]);
        CHECK(s.copy == int64_t(place % 3));
      }
  const std::vector<Sample> one = repeated(256, 0, 3, 1, 256);
  REQUIRE(one.size() == 256);
  CHECK((one[3].image == one[5].image && one[3].copy == 0 && one[5].copy == 2));
  CHECK(repeated(255, 0, 3, 1, 5).empty());
  // What DeiT's 16 processes of 64 images do.
  CHECK(repeated_batches(1281167, 16, 64) == 1251);
}
