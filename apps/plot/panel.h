#pragma once
#include <string>
#include <utility>
#include <vector>

/// Line plots as SVG that needs nothing else: a document, panels with axes, curves in them.
namespace vitrine::apps::svg {

constexpr const char* kBlue = "#2563eb";
constexpr const char* kRed = "#dc2626";
constexpr const char* kGreen = "#047857";

/// With as few digits as say it.
std::string number(double x, const char* how = "%.6g");
/// A position in the picture, to a tenth of a pixel.
std::string at(double x);
std::string text(double x, double y, const std::string& content, const std::string& attributes);

/// A range of values and where ticks are: multiples of 1, 2 or 5 times a power of ten.
struct Axis {
  double low = 0, high = 1, step = 1;

  /// @param least        smallest step, 1 for counts
  /// @param whole_steps  widens the range to ticks
  Axis(double from, double to, double least, bool whole_steps);
  double fraction(double value) const { return (value - low) / (high - low); }
  std::vector<double> ticks() const;
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
  std::vector<std::pair<double, double>> points;  ///< NaN is a gap
};
/// Of the finite values of y.
std::pair<double, double> range(const std::vector<Curve>& curves);

/// @param x_name  below the horizontal axis
/// @param name    above the panel
std::string axes_svg(const Panel& p, const std::string& x_name, const std::string& name);
/// A line through the points, broken at gaps; dots as well where there are few.
std::string curve_svg(const Panel& p, const Curve& curve, const char* more = "stroke-width=\"2\"");
/// Names of the curves in a row above the panel.
std::string legend_svg(const Panel& p, const std::vector<Curve>& curves);

/// A document with a title and `content`.
std::string document(double width, double height, const std::string& title, const std::string& content);

}  // namespace vitrine::apps::svg
