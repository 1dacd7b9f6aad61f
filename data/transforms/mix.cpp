#include "data/transforms/mix.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"

namespace vitrine::data {
namespace {

Box draw_cut(const std::array<double, 2>& minmax, int64_t height, int64_t width, Draws& draws) {
  const auto side = [&](int64_t size) {
    const int64_t low = int64_t(double(size) * minmax[0]), high = int64_t(double(size) * minmax[1]);
    return low + draws.integer(std::max<int64_t>(1, high - low));
  };
  Box box{.height = side(height), .width = side(width)};
  box.top = draws.integer(std::max<int64_t>(1, height - box.height));
  box.left = draws.integer(std::max<int64_t>(1, width - box.width));
  return box;
}

MixRecipe draw_recipe(const Mixing& m, int64_t height, int64_t width, Draws& draws) {
  MixRecipe recipe;
  if (!draws.chance(m.probability)) return recipe;
  const bool cutmix = m.cutmix > 0 || m.cutmix_minmax;
  recipe.cut = cutmix && (m.mixup == 0 || draws.chance(m.switch_probability));
  recipe.l = draw_beta(!recipe.cut ? m.mixup : (m.cutmix_minmax ? 1 : m.cutmix), draws);
  if (!recipe.cut || recipe.l == 1) return recipe;
  if (m.cutmix_minmax) {
    recipe.box = draw_cut(*m.cutmix_minmax, height, width, draws);
  } else {
    const int64_t y = draws.integer(height), x = draws.integer(width);
    recipe.box = cut_box(recipe.l, height, width, y, x);
  }
  recipe.l = 1 - double(recipe.box.height * recipe.box.width) / double(height * width);
  return recipe;
}

/// own <- own mixed with other.
void apply(const MixRecipe& recipe, int64_t height, int64_t width, float* own, const float* other) {
  if (recipe.l == 1) return;
  if (!recipe.cut) {
    const float l = float(recipe.l), rest = float(1 - recipe.l);
    for (int64_t k = 0; k < 3 * height * width; ++k) own[k] = own[k] * l + other[k] * rest;
    return;
  }
  const Box& box = recipe.box;
  for (int64_t c = 0; c < 3; ++c)
    for (int64_t y = box.top; y < box.top + box.height; ++y) {
      const int64_t at = (c * height + y) * width + box.left;
      std::copy_n(other + at, box.width, own + at);
    }
}

void write_target(const Mixing& m, double l, int64_t own, int64_t other, float* target) {
  const float off = float(m.label_smoothing / double(m.classes)), on = float(1 - m.label_smoothing + off);
  std::fill_n(target, m.classes, off);
  target[own] = on * float(l) + off * float(1 - l);
  if (own == other)
    target[own] = on;
  else
    target[other] = off * float(l) + on * float(1 - l);
}

/// Gamma(shape) by Marsaglia and Tsang, "A simple method for generating gamma variables" (2000).
double draw_gamma(double shape, Draws& draws) {
  if (shape < 1) {
    const double u = 1 - draws.uniform();
    return draw_gamma(shape + 1, draws) * std::pow(u, 1 / shape);
  }
  const double d = shape - 1.0 / 3.0, c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = draws.normal(), v = std::pow(1 + c * x, 3), u = 1 - draws.uniform();
    if (v > 0 && std::log(u) < x * x / 2 + d - d * v + d * std::log(v)) return d * v;
  }
}

/// One for each image.
std::vector<MixRecipe> draw_recipes(const Mixing& m, const BatchSize& size, Draws& draws) {
  const int64_t n = size.count;
  std::vector<MixRecipe> recipes(static_cast<size_t>(n));
  const auto draw = [&] { return draw_recipe(m, size.height, size.width, draws); };
  if (m.mode == Mixing::Mode::elem) {
    std::generate(recipes.begin(), recipes.end(), draw);
  } else if (m.mode == Mixing::Mode::pair) {
    for (int64_t i = 0; 2 * i < n; ++i) recipes[size_t(i)] = recipes[size_t(n - 1 - i)] = draw();
  } else {
    std::fill(recipes.begin(), recipes.end(), draw());
  }
  return recipes;
}

void mix_pixels(const BatchSize& size, std::span<const MixRecipe> recipes, float* images) {
  const int64_t n = size.count, image = 3 * size.height * size.width;
  std::vector<float> old(static_cast<size_t>(image));
  for (int64_t i = 0; 2 * i < n; ++i) {
    const int64_t j = n - 1 - i;
    float *a = images + i * image, *b = images + j * image;
    std::copy_n(a, image, old.data());
    if (i != j) apply(recipes[size_t(i)], size.height, size.width, a, b);
    if (i != j) apply(recipes[size_t(j)], size.height, size.width, b, old.data());
  }
}

}  // namespace

std::string to_string(Mixing::Mode mode) {
  return mode == Mixing::Mode::batch ? "batch" : (mode == Mixing::Mode::elem ? "elem" : "pair");
}

Mixing::Mode parse_mixing_mode(const std::string& text) {
  for (const Mixing::Mode mode : {Mixing::Mode::batch, Mixing::Mode::elem, Mixing::Mode::pair})
    if (text == to_string(mode)) return mode;
  throw ValueError(format("mixing mode '{}'; there are batch, elem, pair", text));
}

void Mixing::check_ranges() const {
  const auto in = [](const char* what, double value, double low, double high) {
    check<ValueError>(value >= low && value <= high, "mixing: {} is {}; it must be {} to {}", what, value, low, high);
  };
  in("mixup", mixup, 0, 1000);
  in("cutmix", cutmix, 0, 1000);
  in("the probability", probability, 0, 1);
  in("the probability of switching", switch_probability, 0, 1);
  in("label_smoothing", label_smoothing, 0, 1);
  check<ValueError>(group >= 2 && group % 2 == 0, "mixing: a group of {} images; it must be even, to form pairs",
                    group);
  check<ValueError>(!cutmix_minmax || (0 <= (*cutmix_minmax)[0] && (*cutmix_minmax)[0] <= (*cutmix_minmax)[1] &&
                                       (*cutmix_minmax)[1] <= 1),
                    "mixing: cutmix_minmax must be two parts of a side, the smaller first");
  check<ValueError>(!enabled() || classes > 0, "mixing: {} classes", classes);
}

Box cut_box(double l, int64_t height, int64_t width, int64_t y, int64_t x) {
  const double part = std::sqrt(1 - l);
  const int64_t half_height = int64_t(double(height) * part) / 2, half_width = int64_t(double(width) * part) / 2;
  const int64_t top = std::max<int64_t>(0, y - half_height), left = std::max<int64_t>(0, x - half_width);
  return {top, left, std::min(height, y + half_height) - top, std::min(width, x + half_width) - left};
}

double draw_beta(double alpha, Draws& draws) {
  const double x = draw_gamma(alpha, draws), y = draw_gamma(alpha, draws);
  return x + y > 0 ? x / (x + y) : double(draws.chance(0.5));  // a tiny alpha: 0 or 1
}

std::vector<double> mix_images(const Mixing& m, const BatchSize& size, float* images, Draws& draws) {
  const std::vector<MixRecipe> recipes = draw_recipes(m, size, draws);
  mix_pixels(size, recipes, images);
  std::vector<double> shares;
  for (const MixRecipe& recipe : recipes) shares.push_back(recipe.l);
  return shares;
}

void mix(const Mixing& m, const BatchSize& size, std::span<const MixRecipe> recipes, float* images,
         const int64_t* labels, float* targets) {
  mix_pixels(size, recipes, images);
  const int64_t n = size.count;
  for (int64_t i = 0; i < n; ++i)
    write_target(m, recipes[size_t(i)].l, labels[i], labels[n - 1 - i], targets + i * m.classes);
}

void mix(const Mixing& m, const BatchSize& size, float* images, const int64_t* labels, float* targets, Draws& draws) {
  mix(m, size, draw_recipes(m, size, draws), images, labels, targets);
}

void mix_targets(const Mixing& m, const std::vector<double>& shares, float* targets) {
  const auto n = int64_t(shares.size());
  for (int64_t i = 0; 2 * i < n; ++i) {
    const int64_t j = n - 1 - i;
    float *a = targets + i * m.classes, *b = targets + j * m.classes;
    const double la = shares[size_t(i)], lb = shares[size_t(j)];
    for (int64_t c = 0; c < m.classes && i != j; ++c) {
      const double x = a[c], y = b[c];
      a[c] = float(la * x + (1 - la) * y), b[c] = float(lb * y + (1 - lb) * x);
    }
  }
}

void binary_targets(float* targets, int64_t count, int64_t classes, double smoothing) {
  const float off = float(smoothing / double(classes)), on = float(1 - smoothing) + off;
  for (int64_t k = 0; k < count * classes; ++k) targets[k] = targets[k] > 0 ? on : off;
}

}  // namespace vitrine::data
