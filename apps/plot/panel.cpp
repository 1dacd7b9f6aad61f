#include "apps/plot/panel.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace vitrine::apps::svg {
namespace {

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

}  // namespace

std::string number(double x, const char* how) {
  char text[32];
  snprintf(text, sizeof text, how, x);
  return text;
}

std::string at(double x) {
  const std::string text = number(x, "%.1f");
  return text.ends_with(".0") ? text.substr(0, text.size() - 2) : text;
}

Axis::Axis(double from, double to, double least, bool whole_steps) {
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

std::vector<double> Axis::ticks() const {
  std::vector<double> list;
  for (double k = std::ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; ++k)
    list.push_back(k * step + 0.0);  // no -0
  return list;
}

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

std::string axes_svg(const Panel& p, const std::string& x_name, const std::string& name) {
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
  out += text(p.left + p.width / 2, bottom + 40, x_name, "text-anchor=\"middle\" class=\"label\"");
  return out + text(p.left, p.top - 34, name, "class=\"name\"");
}

std::string curve_svg(const Panel& p, const Curve& curve, const char* more) {
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

std::string document(double width, double height, const std::string& title, const std::string& content) {
  return format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" width=\"{}\" height=\"{}\" "
             "font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\">\n<title>{}</title>\n"
             "<style>text{fill:#111827;font-size:13px}.tick{fill:#4b5563;font-size:12px}.label{fill:#374151;font-size:"
             "13px}"
             ".name{font-size:15px;font-weight:600}.title{font-size:18px;font-weight:600}</style>\n"
             "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
             at(width), at(height), at(width), at(height), escaped(title)) +
         text(64, 34, title, "class=\"title\"") + content + "</svg>\n";
}

}  // namespace vitrine::apps::svg
