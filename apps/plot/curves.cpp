#include "apps/plot/curves.h"

#include <algorithm>
#include <cmath>

#include "apps/plot/panel.h"
#include "core/error.h"

namespace vitrine::apps {
namespace {

using namespace svg;

/// The last finite value of a curve, for its name.
std::string last_value(const std::vector<std::pair<double, double>>& points) {
  for (auto p = points.rbegin(); p != points.rend(); ++p)
    if (std::isfinite(p->second)) return " " + number(p->second, "%.4g");
  return "";
}

Curve make_curve(const std::vector<EpochRow>& rows, const char* name, const char* color, double EpochRow::*value) {
  Curve curve{name, color, {}};
  for (const EpochRow& row : rows) curve.points.emplace_back(double(row.epoch), row.*value);
  curve.name += last_value(curve.points);
  return curve;
}

/// The learning rate from 0 at the foot of the panel to its peak at 9/10 of the height.
std::string rate_svg(const Panel& p, Curve rate, double peak) {
  constexpr double kHeight = 0.9;
  for (auto& [epoch, value] : rate.points) value = p.y.low + value / peak * kHeight * (p.y.high - p.y.low);
  std::string path;
  bool down = false;
  for (const auto& [epoch, value] : rate.points) {
    if (std::isfinite(value)) path += (down ? "L" : "M") + at(p.to_x(epoch)) + " " + at(p.to_y(value));
    down = std::isfinite(value);
  }
  return format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\" stroke-dasharray=\"4 3\"/>\n", path,
                rate.color);
}

std::string loss_panel(const std::vector<EpochRow>& rows, double left, double top, double width, double height) {
  std::vector<Curve> curves = {make_curve(rows, "train", kBlue, &EpochRow::train_loss),
                               make_curve(rows, "test", kRed, &EpochRow::test_loss)};
  auto [low, high] = range(curves);
  if (low > 0 && low < high / 2) low = 0;
  const Panel p{left,
                top,
                width,
                height,
                Axis(double(rows.front().epoch), double(rows.back().epoch), 1, false),
                Axis(low, high, 0, true)};
  std::string out = axes_svg(p, "epoch", "Loss");
  Curve rate = make_curve(rows, "learning rate", "#9ca3af", &EpochRow::lr);
  const double peak = range({rate}).second;
  if (peak > 0) out += rate_svg(p, rate, peak);
  for (const Curve& c : curves) out += curve_svg(p, c);
  rate.name = "learning rate, peak " + number(peak, "%.2g");
  if (peak > 0) curves.push_back(rate);
  return out + legend_svg(p, curves);
}

std::string accuracy_panel(const std::vector<EpochRow>& rows, double left, double top, double width, double height) {
  Curve curve = make_curve(rows, "test", kGreen, &EpochRow::test_acc1);
  const auto [low, high] = range({curve});
  Axis y(low, high, 0, true);
  y.low = std::max(y.low, 0.0), y.high = std::min(y.high, 100.0);
  const Panel p{left, top, width, height, Axis(double(rows.front().epoch), double(rows.back().epoch), 1, false), y};
  std::string out = axes_svg(p, "epoch", "Top-1 accuracy, %") + curve_svg(p, curve);
  const auto best = std::find_if(curve.points.begin(), curve.points.end(),
                                 [most = high](const auto& point) { return point.second == most; });
  if (best != curve.points.end()) {
    out += format("<circle cx=\"{}\" cy=\"{}\" r=\"5\" fill=\"white\" stroke=\"{}\" stroke-width=\"2\"/>\n",
                  at(p.to_x(best->first)), at(p.to_y(best->second)), curve.color);
    curve.name += format(", best {} at epoch {}", number(best->second, "%.4g"), int64_t(best->first));
  }
  return out + legend_svg(p, {curve});
}

}  // namespace

std::string curves_svg(const std::vector<EpochRow>& rows, const std::string& title) {
  constexpr double kWidth = 1040, kHeight = 430, kLeft = 64, kTop = 104, kPanelWidth = 420, kPanelHeight = 264,
                   kPitch = 504;
  std::string out;
  if (rows.empty()) {
    out += text(kLeft, kTop, "No epoch has ended yet.", "class=\"label\"");
  } else {
    out += loss_panel(rows, kLeft, kTop, kPanelWidth, kPanelHeight);
    out += accuracy_panel(rows, kLeft + kPitch, kTop, kPanelWidth, kPanelHeight);
  }
  return document(kWidth, kHeight, title, out);
}

}  // namespace vitrine::apps
