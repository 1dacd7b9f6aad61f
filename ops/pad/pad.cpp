#include "ops/pad/pad.h"

#include "core/autograd.h"

namespace vitrine::ops {
namespace {

/// The fill and the copy kernel of core.
struct Pad {
  static constexpr const char* name = "pad";
  Shape from, before, to;
  double value;
  Attributes attributes() const {
    std::vector<int64_t> widths;
    for (int64_t d = 0; d < from.size(); ++d)
      widths.push_back(before[d]), widths.push_back(to[d] - from[d] - before[d]);
    return {{"widths", widths}, {"value", value}};
  }
  /// The part of `y` that x fills.
  Tensor inside(Tensor y) const {
    for (int64_t d = 0; d < from.size(); ++d) y = y.narrow(d, before[d], from[d]);
    return y;
  }

  Tensor forward(Saver&, const Tensor& x) const {
    Tensor y = full(to, value, x.options());
    if (x.numel()) inside(y).copy_(x);
    return y;
  }
  Gradients vjp(const Saved&, const Tensor& dy) const { return {inside(dy)}; }
};

}  // namespace

Tensor pad(const Tensor& x, const std::vector<std::pair<int64_t, int64_t>>& widths, double value) {
  check_defined("pad", "x", x);
  check(int64_t(widths.size()) == x.dim(), "pad: {} pairs of widths for x {}", widths.size(), x);
  Pad op{x.shape(), {}, x.shape(), value};
  for (int64_t d = 0; d < x.dim(); ++d) {
    const int64_t before = widths[size_t(d)].first, after = widths[size_t(d)].second;
    check(before >= 0 && after >= 0, "pad: negative width ({}, {}) for dim {} of x {}", before, after, d, x);
    op.before.push_back(before);
    op.to[d] += before + after;
  }
  return apply(op, x);
}

}  // namespace vitrine::ops
