#include <algorithm>
#include <cmath>
#include <sstream>

#include "apps/plot/curves.h"
#include "apps/plot/index_functions.h"
#include "tests/support/catch.h"

using vitrine::apps::curves_svg;
using vitrine::apps::EpochRow;
using vitrine::testing::Contains;

namespace {

std::vector<EpochRow> run(int64_t epochs) {
  std::vector<EpochRow> rows;
  for (int64_t e = 0; e < epochs; ++e)
    rows.push_back({e, 2.0 / double(e + 1), 2.2 / double(e + 1), 100.0 - 50.0 / double(e + 1), 1e-3});
  return rows;
}

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

/// Every tag closed in order: enough for a document without comments.
bool well_formed(const std::string& svg) {
  std::vector<std::string> open;
  for (size_t at = svg.find('<'); at != std::string::npos; at = svg.find('<', at + 1)) {
    const size_t end = svg.find('>', at);
    if (end == std::string::npos || svg.find('<', at + 1) < end) return false;
    const std::string tag = svg.substr(at + 1, end - at - 1);
    if (tag[0] == '/') {
      if (open.empty() || open.back() != tag.substr(1)) return false;
      open.pop_back();
    } else if (!tag.ends_with("/")) {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
  }
  return open.empty() && count(svg, "<") == count(svg, ">");
}

/// The points of the curve of a colour.
std::vector<std::pair<double, double>> points(const std::string& svg, const std::string& color) {
  const size_t end = svg.find("\" fill=\"none\" stroke=\"" + color + "\"");
  if (end == std::string::npos) return {};
  const size_t begin = svg.rfind('"', end - 1) + 1;
  std::string path = svg.substr(begin, end - begin);
  std::replace_if(
      path.begin(), path.end(), [](char c) { return c == 'M' || c == 'L'; }, ' ');
  std::vector<std::pair<double, double>> list;
  std::istringstream in(path);
  for (double x = 0, y = 0; in >> x >> y;) list.emplace_back(x, y);
  return list;
}
const std::string kTrain = "#2563eb", kTest = "#dc2626", kAccuracy = "#047857";

}  // namespace

TEST_CASE("curves: from no epoch to thousands, a whole document without odd numbers", "[unit][curves]") {
  for (const int64_t epochs : {0, 1, 2, 3, 40, 41, 1000, 5000}) {
    INFO(epochs);
    const std::string svg = curves_svg(run(epochs), "a <title> & more");
    CHECK(well_formed(svg));
    CHECK_THAT(svg, Contains("a &lt;title&gt; &amp; more") && !Contains("nan") && !Contains("inf"));
    CHECK_THAT(svg, !Contains(">-0<"));
    CHECK(points(svg, kTrain).size() == size_t(epochs));
    CHECK(points(svg, kAccuracy).size() == size_t(epochs));
  }
}

TEST_CASE("curves: points lie where the axes say", "[unit][curves]") {
  // Losses 0 .. 2.5 over 264 pixels below y = 104; epochs 0 .. 4 over 420 pixels right of x = 64.
  std::vector<EpochRow> rows = run(5);
  rows[0].train_loss = 2.5, rows[2].train_loss = 1.25, rows[4].train_loss = 0;
  const std::string svg = curves_svg(rows, "");
  const auto train = points(svg, kTrain);
  CHECK(train[0] == std::pair{64.0, 104.0});
  CHECK(train[2] == std::pair{64.0 + 210, 104.0 + 132});
  CHECK(train[4] == std::pair{64.0 + 420, 104.0 + 264});
  for (const char* tick : {">0<", ">0.5<", ">2.5<", ">4<"}) CHECK_THAT(svg, Contains(tick));
  CHECK_THAT(svg, Contains("train 0<") && Contains("test 0.44<") && Contains("peak 0.001<"));
  CHECK_THAT(svg, Contains("test 90, best 90 at epoch 4"));
}

TEST_CASE("curves: what was not measured is a gap, and a lone point stays visible", "[unit][curves]") {
  std::vector<EpochRow> rows = run(100);
  for (const int64_t e : {50, 52}) rows[size_t(e)].test_loss = rows[size_t(e)].test_acc1 = NAN;
  rows[7].train_loss = INFINITY;
  const std::string svg = curves_svg(rows, "");
  CHECK(well_formed(svg));
  CHECK_THAT(svg, !Contains("nan") && !Contains("inf"));
  CHECK(points(svg, kTrain).size() == 99);
  CHECK(points(svg, kTest).size() == 98);
  const auto dots = [&](const std::string& color) { return count(svg, "r=\"2.5\" fill=\"" + color + "\""); };
  CHECK(dots(kTest) == 1);  // epoch 51
  CHECK(dots(kTrain) == 0);
  for (EpochRow& row : rows) row.train_loss = row.test_loss = row.test_acc1 = row.lr = NAN;
  CHECK(well_formed(curves_svg(rows, "")));
}

TEST_CASE("index functions: each curve has the values of its function", "[unit][curves]") {
  // Distances -19 .. 19 (1.25 gamma) over 620 pixels right of x = 64; indices -3 .. 3 over 330 pixels below y = 104.
  const std::string svg = vitrine::apps::index_functions_svg(1.9);
  CHECK(well_formed(svg));
  const std::string piecewise = "#2563eb", clip = "#dc2626";
  const auto index_at = [&](const std::string& color, double distance) {
    const auto curve = points(svg, color);
    REQUIRE(curve.size() > 1000);
    const double x = 64 + 620 * (distance + 19) / 38;
    const auto nearest = std::min_element(curve.begin(), curve.end(), [&](const auto& a, const auto& b) {
      return std::abs(a.first - x) < std::abs(b.first - x);
    });
    CHECK(std::abs(nearest->first - x) < 0.3);
    return std::round((104 + 330 - nearest->second) / 330 * 6 - 3);
  };
  const auto values = [&](const std::string& color) {
    std::vector<double> list;
    for (const double x : {-18, -4, -3, -2, -1, 0, 1, 2, 3, 4, 18}) list.push_back(index_at(color, x));
    return list;
  };
  CHECK(values(piecewise) == std::vector<double>{-3, -3, -2, -2, -1, 0, 1, 2, 2, 3, 3});  // irpe 9.1
  CHECK(values(clip) == std::vector<double>{-3, -3, -3, -2, -1, 0, 1, 2, 3, 3, 3});
  const auto drawn_as = [&](const std::string& color) {  // the legend's line, then its name
    const size_t line = svg.find("\" stroke=\"" + color + "\" stroke-width=\"2.5\"/>"),
                 name = svg.find('>', svg.find("<text", line));
    return svg.substr(name + 1, svg.find('<', name) - name - 1);
  };
  CHECK(drawn_as(piecewise) == "g, piecewise");
  CHECK(drawn_as(clip) == "h, clip");
}
