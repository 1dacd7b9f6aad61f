#include "apps/plot/index_functions.h"

#include <cmath>

#include "apps/plot/panel.h"
#include "core/error.h"
#include "ops/relpos/relpos.h"

namespace vitrine::apps {
namespace {

using namespace svg;

/// So many samples that the steps of a function stand upright.
Curve sampled(const std::string& name, const char* color, const ops::IrpeFunction& f, double reach) {
  constexpr int kSamples = 2000;
  Curve curve{name, color, {}};
  for (int i = 0; i <= kSamples; ++i) {
    const double x = reach * (2.0 * i / kSamples - 1);
    curve.points.emplace_back(x, double(f(x)));
  }
  return curve;
}

}  // namespace

std::string index_functions_svg(double ratio) {
  constexpr double kWidth = 720, kHeight = 500, kLeft = 64, kTop = 104, kPanelWidth = 620, kPanelHeight = 330;
  const ops::IrpeFunction g = ops::IrpeFunction::of_ratio(ratio), h = ops::IrpeFunction::of_ratio(ratio, true);
  const double reach = std::ceil(1.25 * g.gamma);
  const std::vector<Curve> curves = {sampled("g, piecewise", kBlue, g, reach), sampled("h, clip", kRed, h, reach)};
  const auto [low, high] = range(curves);
  const Panel p{kLeft, kTop, kPanelWidth, kPanelHeight, Axis(-reach, reach, 0, false), Axis(low, high, 1, true)};
  std::string out = axes_svg(p, "relative position x, in patches", "index of the bucket");
  for (const double mark : {-g.gamma, -g.alpha, g.alpha, g.gamma})
    out += format("<path d=\"M{} {}v{}\" stroke=\"#9ca3af\" stroke-dasharray=\"4 3\"/>\n", at(p.to_x(mark)), at(p.top),
                  at(p.height));
  for (const auto& [mark, name] : {std::pair{g.alpha, "α"}, {g.gamma, "γ"}})
    out += text(p.to_x(mark) + 4, p.top + p.height - 8, format("{} = {}", name, number(mark)), "class=\"tick\"");
  // h above, so that where both agree the eye sees both.
  out += curve_svg(p, curves[0], "stroke-width=\"4\"") + curve_svg(p, curves[1]) + legend_svg(p, curves);
  return document(
      kWidth, kHeight,
      format("Index functions, ratio {}: β = {}, so {} to {}", number(ratio), number(g.beta), -g.bound(), g.bound()),
      out);
}

}  // namespace vitrine::apps
