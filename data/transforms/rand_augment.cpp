#include "data/transforms/rand_augment.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "data/transforms/affine.h"
#include "data/transforms/color.h"

namespace vitrine::data {
namespace {

/// The number that is all of `text`.
template <class T>
T number(const std::string& text, const std::string& section, const std::string& policy, T low, T high) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  check<ValueError>(error == std::errc() && end == text.data() + text.size() && value >= low && value <= high,
                    "augmentation '{}': section '{}' needs a number of {} to {}", policy, section, low, high);
  return value;
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts(1);
  for (const char c : text)
    if (c == at)
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

// timm's weights 0, in the order of AugmentOp.
constexpr std::array<double, kAugmentOps> kWeights = {.025, .005, 0,    .3, 0,  .005, .005, .025,
                                                      .005, .005, .025, .2, .2, .1,   .1};

/// One operation in proportion to its weight, which becomes 0.
AugmentOp take_weighted(std::array<double, kAugmentOps>& weights, Draws& draws) {
  double sum = 0;
  for (const double w : weights) sum += w;
  double left = draws.uniform() * sum;
  size_t op = 0, taken = 0;
  for (; op < weights.size(); ++op) {
    if (weights[op] == 0) continue;
    taken = op;  // the last one that is possible, should rounding lead past the end
    if ((left -= weights[op]) < 0) break;
  }
  weights[taken] = 0;
  return AugmentOp(taken);
}

}  // namespace

std::string to_string(Interpolation interpolation) {
  return interpolation == Interpolation::random ? "random"
                                                : (interpolation == Interpolation::bilinear ? "bilinear" : "bicubic");
}

Interpolation parse_interpolation(const std::string& text) {
  for (const Interpolation i : {Interpolation::bilinear, Interpolation::bicubic, Interpolation::random})
    if (text == to_string(i)) return i;
  throw ValueError(format("interpolation '{}'; there are bicubic, bilinear, random", text));
}

Filter draw_filter(Interpolation interpolation, Draws& draws) {
  if (interpolation == Interpolation::random) return draws.chance(0.5) ? Filter::bilinear : Filter::bicubic;
  return interpolation == Interpolation::bilinear ? Filter::bilinear : Filter::bicubic;
}

RandAugment RandAugment::parse(const std::string& text) {
  const std::vector<std::string> sections = split(text, '-');
  for (const char* other : {"original", "originalr", "v0", "v0r", "augmix", "3a"})
    check<NotImplemented>(sections[0] != other, "augmentation '{}': of timm's policies only rand-... is available",
                          text);
  check<ValueError>(sections[0] == "rand", "augmentation '{}' does not begin with 'rand', as rand-m9-mstd0.5-inc1 does",
                    text);
  RandAugment policy;
  for (size_t i = 1; i < sections.size(); ++i) {
    const std::string& section = sections[i];
    const size_t digit = std::min(section.find_first_not_of("abcdefghijklmnopqrstuvwxyz"), section.size());
    const std::string key = section.substr(0, digit), value = section.substr(digit);
    if (key == "m") {
      policy.magnitude = number(value, section, text, 0, 10);
    } else if (key == "n") {
      policy.ops = number(value, section, text, 1, 8);
    } else if (key == "mstd") {
      policy.magnitude_std = number(value, section, text, 0.0, 100.0);
    } else if (key == "w") {
      policy.weighted = number(value, section, text, 0, 0) == 0;
    } else if (key == "inc") {
      policy.increasing = number(value, section, text, 0, 1) == 1;
    } else {
      throw ValueError(format("augmentation '{}': unknown section '{}'; there are m, n, mstd, w, inc", text, section));
    }
  }
  return policy;
}

double augment_argument(AugmentOp op, double m, bool increasing, bool negate) {
  const double level = m / 10, sign = negate ? -1 : 1;
  switch (op) {
    case AugmentOp::rotate:
      return sign * (level * 30);
    case AugmentOp::posterize:
      return increasing ? 4 - int(level * 4) : int(level * 4);
    case AugmentOp::solarize:
      return increasing ? 256 - int(level * 256) : int(level * 256);
    case AugmentOp::solarize_add:
      return int(level * 110);
    case AugmentOp::color:
    case AugmentOp::contrast:
    case AugmentOp::brightness:
    case AugmentOp::sharpness:
      return increasing ? 1 + sign * (level * 0.9) : level * 1.8 + 0.1;
    case AugmentOp::shear_x:
    case AugmentOp::shear_y:
      return sign * (level * 0.3);
    case AugmentOp::translate_x:
    case AugmentOp::translate_y:
      return sign * (level * 0.45);
    default:
      return 0;
  }
}

void apply_augment_op(Image& image, AugmentOp op, double v, Filter filter, const std::array<uint8_t, 3>& fill) {
  const auto move = [&](const Affine& affine) { image = transform(image, affine, filter, fill); };
  switch (op) {
    case AugmentOp::auto_contrast:
      return autocontrast(image);
    case AugmentOp::equalize:
      return equalize(image);
    case AugmentOp::invert:
      return invert(image);
    case AugmentOp::rotate:
      return v == 0 ? void() : move(rotation(v, image.height, image.width));
    case AugmentOp::posterize:
      return posterize(image, int(v));
    case AugmentOp::solarize:
      return solarize(image, int(v));
    case AugmentOp::solarize_add:
      return solarize_add(image, int(v));
    case AugmentOp::color:
      return adjust_color(image, v);
    case AugmentOp::contrast:
      return adjust_contrast(image, v);
    case AugmentOp::brightness:
      return adjust_brightness(image, v);
    case AugmentOp::sharpness:
      return adjust_sharpness(image, v);
    case AugmentOp::shear_x:
      return move({.b = v});
    case AugmentOp::shear_y:
      return move({.d = v});
    case AugmentOp::translate_x:
      return move({.c = v * double(image.width)});
    case AugmentOp::translate_y:
      return move({.f = v * double(image.height)});
  }
}

void rand_augment(Image& image, const RandAugment& policy, Interpolation interpolation,
                  const std::array<uint8_t, 3>& fill, Draws& draws) {
  std::array<double, kAugmentOps> weights = kWeights;
  std::vector<AugmentOp> chosen;
  for (int i = 0; i < policy.ops; ++i)
    chosen.push_back(policy.weighted ? take_weighted(weights, draws) : AugmentOp(draws.integer(kAugmentOps)));
  for (const AugmentOp op : chosen) {
    if (!draws.chance(0.5)) continue;
    const double m = std::clamp(policy.magnitude + policy.magnitude_std * draws.normal(), 0.0, 10.0);
    const double argument = augment_argument(op, m, policy.increasing, draws.chance(0.5));
    apply_augment_op(image, op, argument, draw_filter(interpolation, draws), fill);
  }
}

}  // namespace vitrine::data
