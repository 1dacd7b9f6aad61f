#include "apps/canvas.h"

#include <stb/stb_easy_font.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <vector>

namespace vitrine::apps {
namespace {

std::string printable(std::string text) {
  for (char& c : text)
    if (c < ' ' || c > '~') c = '?';
  return text;
}

/// What a screen adds to linear light (IEC 61966-2-1).
uint8_t screen_value(double linear) {
  const double x = std::clamp(linear, 0.0, 1.0);
  return uint8_t(std::lround(255 * (x <= 0.0031308 ? 12.92 * x : 1.055 * std::pow(x, 1 / 2.4) - 0.055)));
}

}  // namespace

Color oklch(double lightness, double chroma, double turns) {
  const double a = chroma * std::cos(2 * std::numbers::pi * turns), b = chroma * std::sin(2 * std::numbers::pi * turns);
  const double l = std::pow(lightness + 0.3963377774 * a + 0.2158037573 * b, 3);
  const double m = std::pow(lightness - 0.1055613458 * a - 0.0638541728 * b, 3);
  const double s = std::pow(lightness - 0.0894841775 * a - 1.2914855480 * b, 3);
  return {screen_value(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
          screen_value(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
          screen_value(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s)};
}

int64_t text_width(const std::string& text, int64_t size) {
  std::string copy = printable(text);
  return size * (stb_easy_font_width(copy.data()) - 1);  // the last letter's space behind it does not count
}

Canvas::Canvas(int64_t height, int64_t width, Color background)
    : image_{height, width, 3, std::vector<uint8_t>(size_t(height * width * 3))} {
  fill(0, 0, width, height, background);
}

void Canvas::fill(int64_t x, int64_t y, int64_t width, int64_t height, Color color) {
  const int64_t right = std::min(x + width, image_.width), bottom = std::min(y + height, image_.height);
  for (int64_t row = std::max<int64_t>(y, 0); row < bottom; ++row)
    for (int64_t column = std::max<int64_t>(x, 0); column < right; ++column)
      std::copy(color.begin(), color.end(), image_.row(row) + column * 3);
}

void Canvas::frame(int64_t x, int64_t y, int64_t width, int64_t height, int64_t line, Color color) {
  fill(x, y, width, line, color);
  fill(x, y + height - line, width, line, color);
  fill(x, y, line, height, color);
  fill(x + width - line, y, line, height, color);
}

void Canvas::text(int64_t x, int64_t y, const std::string& text, int64_t size, Color color) {
  struct Corner {
    float x, y, z;
    uint8_t color[4];
  };
  constexpr size_t kCorners = 4, kMostStrokes = 16;  // of a rectangle; of a letter
  std::string copy = printable(text);
  std::vector<Corner> corners(kCorners * kMostStrokes * (copy.size() + 1));
  const int strokes =
      stb_easy_font_print(0, 0, copy.data(), nullptr, corners.data(), int(corners.size() * sizeof(Corner)));
  for (int i = 0; i < strokes; ++i) {
    const Corner &first = corners[size_t(i) * kCorners], &last = corners[size_t(i) * kCorners + 2];
    fill(x + int64_t(first.x) * size, y + int64_t(first.y) * size, int64_t(last.x - first.x) * size,
         int64_t(last.y - first.y) * size, color);
  }
}

}  // namespace vitrine::apps
