#include "apps/plot/curves.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace vitrine::apps {
namespace {

constexpr const char* kBlue = "#2563eb";
constexpr const char* kRed = "#dc2626";
constexpr const char* kGreen = "#047857";
constexpr const char* kGrey = "#6b7280";
constexpr const char* kGridLine = "#e5e7eb";

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '&') {
      out += "&amp;";
    } else if (static_cast<unsigned char>(c) >= ' ') {
      out += c;
    }
  }
  return out;
}

/// With as few digits as say it.
std::string number(double x, const char* how = "%.6g") {
  char text[32];
  snprintf(text, sizeof text, how, x);
  return text;
}

/// A position in the picture, to a tenth of a pixel.
std::string at(double x) {
  const std::string text = number(x, "%.1f");
  return text.ends_with(".0") ? text.substr(0, text.size() - 2) : text;
}

/// A range of values and where ticks are: multiples of 1, 2 or 5 times a power of ten.
struct Axis {
  double low = 0, high = 1, step = 1;

  /// @param least  smallest step, 1 for counts
  Axis(double from, double to, double least, bool whole_steps) {
    constexpr double kTicks = 6;
    if (!(to > from)) {  // one value: room around it
      const double around = least > 0 ? least / 2 : std::abs(from) * 0.1 + (from == 0);
      from -= around, to += around;
    }
    const double rough = (to - from) / kTicks, power = std::pow(10.0, std::floor(std::log10(rough)));
    step = power * (rough <= 1.001 * power ? 1 : rough <= 2.001 * power ? 2 : rough <= 5.001 * power ? 5 : 10);
    step = std::max(step, least);
    low = whole_steps ? std::floor(from / step + 1e-9) * step : from;
    high = whole_steps ? std::ceil(to / step - 1e-9) * step : to;
  }
  double fraction(double value) const { return (value - low) / (high - low); }
  std::vector<double> ticks() const {
    std::vector<double> list;
    for (double k = std::ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; ++k)
      list.push_back(k * step + 0.0);  // no -0
    return list;
  }
};

/// The drawing area of one panel.
struct Panel {
  double left, top, width, height;
  Axis x, y;

  double to_x(double value) const { return left + width * x.fraction(value); }
  double to_y(double value) const { return top + height * (1 - y.fraction(value)); }
};

struct Curve {
  std::string name, color;
  std::vector<std::pair<double, double>> points;  ///< epoch, value; NaN is a gap
};

std::pair<double, double> range(const std::vector<Curve>& curves) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const Curve& c : curves)
    for (const auto& [x, y] : c.points)
      if (std::isfinite(y)) low = std::min(low, y), high = std::max(high, y);
  return low <= high ? std::pair{low, high} : std::pair{0.0, 1.0};
}

std::string text(double x, double y, const std::string& content, const std::string& attributes) {
  return format("<text x=\"{}\" y=\"{}\" {}>{}</text>\n", at(x), at(y), attributes, escaped(content));
}

std::string axes_svg(const Panel& p, const std::string& name) {
  std::string out;
  const double right = p.left + p.width, bottom = p.top + p.height;
  for (const double v : p.y.ticks()) {
    const std::string y = at(p.to_y(v));
    out += format("<path d=\"M{} {}H{}\" stroke=\"{}\"/>\n", at(p.left), y, at(right), kGridLine);
    out += text(p.left - 8, p.to_y(v) + 4, number(v), "text-anchor=\"end\" class=\"tick\"");
  }
  for (const double v : p.x.ticks()) {
    out += format("<path d=\"M{} {}v5\" stroke=\"{}\"/>\n", at(p.to_x(v)), at(bottom), kGrey);
    out += text(p.to_x(v), bottom + 19, number(v), "text-anchor=\"middle\" class=\"tick\"");
  }
  out += format("<path d=\"M{} {}H{}\" stroke=\"{}\"/>\n", at(p.left), at(bottom), at(right), kGrey);
  out += text(p.left + p.width / 2, bottom + 40, "epoch", "text-anchor=\"middle\" class=\"label\"");
  return out + text(p.left, p.top - 34, name, "class=\"name\"");
}

/// A line through the points, broken at gaps; dots as well where there are few.
std::string curve_svg(const Panel& p, const Curve& curve, const char* more = "stroke-width=\"2\"") {
  constexpr size_t kFew = 40;
  std::string path, dots;
  bool down = false, alone = true;
  std::pair<double, double> last;
  const auto dot = [&](const std::pair<double, double>& point) {
    dots += format("<circle cx=\"{}\" cy=\"{}\" r=\"2.5\" fill=\"{}\"/>", at(p.to_x(point.first)),
                   at(p.to_y(point.second)), curve.color);
  };
  for (const auto& point : curve.points) {
    const bool here = std::isfinite(point.second);
    if (here) path += (down ? "L" : "M") + at(p.to_x(point.first)) + " " + at(p.to_y(point.second));
    if (here && curve.points.size() <= kFew) dot(point);
    if (!here && down && alone && curve.points.size() > kFew) dot(last);  // a single point between gaps has no line
    alone = here && !down;
    down = here, last = point;
  }
  if (down && alone && curve.points.size() > kFew) dot(last);
  return format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-linejoin=\"round\" {}/>\n", path, curve.color,
                more) +
         (dots.empty() ? "" : dots + "\n");
}

/// Names of the curves in a row above the panel.
std::string legend_svg(const Panel& p, const std::vector<Curve>& curves) {
  constexpr double kLine = 18, kLetter = 6.6, kSpace = 18;
  std::string out;
  double x = p.left;
  for (const Curve& c : curves) {
    out += format("<path d=\"M{} {}h{}\" stroke=\"{}\" stroke-width=\"2.5\"/>\n", at(x), at(p.top - 14), at(kLine),
                  c.color);
    out += text(x + kLine + 6, p.top - 10, c.name, "class=\"label\"");
    x += kLine + 6 + kLetter * double(c.name.size()) + kSpace;
  }
  return out;
}

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
  std::string out = axes_svg(p, "Loss");
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
  std::string out = axes_svg(p, "Top-1 accuracy, %") + curve_svg(p, curve);
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
  std::string out = format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" width=\"{}\" height=\"{}\" "
      "font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\">\n<title>{}</title>\n"
      "<style>text{fill:#111827;font-size:13px}.tick{fill:#4b5563;font-size:12px}.label{fill:#374151;font-size:13px}"
      ".name{font-size:15px;font-weight:600}.title{font-size:18px;font-weight:600}</style>\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
      at(kWidth), at(kHeight), at(kWidth), at(kHeight), escaped(title));
  out += text(kLeft, 34, title, "class=\"title\"");
  if (rows.empty()) {
    out += text(kLeft, kTop, "No epoch has ended yet.", "class=\"label\"");
  } else {
    out += loss_panel(rows, kLeft, kTop, kPanelWidth, kPanelHeight);
    out += accuracy_panel(rows, kLeft + kPitch, kTop, kPanelWidth, kPanelHeight);
  }
  return out + "</svg>\n";
}

}  // namespace vitrine::apps
