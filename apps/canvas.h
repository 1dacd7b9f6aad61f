#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "data/image/image.h"

/// Pictures that commands draw themselves: filled rectangles and a plain bitmap font. Whatever lies outside is cut off.
namespace vitrine::apps {

using Color = std::array<uint8_t, 3>;  ///< red, green, blue
constexpr Color kBlack = {0, 0, 0}, kWhite = {255, 255, 255};

/// A colour by perceived lightness in [0, 1], chroma (0 is grey, 0.37 the most that screens show anywhere) and hue in
/// turns: OKLCH (Ottosson 2020), clipped to what a screen can show.
Color oklch(double lightness, double chroma, double turns);

/// Width of a text in pixels; its letters are 7 * size high, and 2 * size more where they reach below the line.
int64_t text_width(const std::string& text, int64_t size);

class Canvas {
 public:
  Canvas(int64_t height, int64_t width, Color background = kWhite);
  void fill(int64_t x, int64_t y, int64_t width, int64_t height, Color color);
  /// The outline of a rectangle, `line` pixels wide, inside of it.
  void frame(int64_t x, int64_t y, int64_t width, int64_t height, int64_t line, Color color);
  /// @param x, y  of the upper left corner; characters outside of ASCII become '?'
  void text(int64_t x, int64_t y, const std::string& text, int64_t size, Color color = kBlack);
  const data::Image& image() const { return image_; }

 private:
  data::Image image_;
};

}  // namespace vitrine::apps
