#include "data/transforms/color.h"

#include <algorithm>
#include <array>

// Compiled without contraction of a * b + c (CMakeLists.txt): a truncated result would now and then be another one.

namespace vitrine::data {
namespace {

using Table = std::array<uint8_t, 256>;

int luma(const uint8_t* p, int64_t channels) {
  return channels == 1 ? p[0] : (19595 * p[0] + 38470 * p[1] + 7471 * p[2] + (1 << 15)) >> 16;
}

uint8_t blend(int base, int value, float factor) {
  const float v = float(base) + factor * float(value - base);
  return uint8_t(std::clamp(v, 0.0f, 255.0f));
}

/// Value v of every channel becomes f(v).
template <class F>
void map(Image& image, F&& f) {
  Table table;
  for (int v = 0; v < 256; ++v) table[size_t(v)] = uint8_t(f(v));
  for (uint8_t& v : image.pixels) v = table[v];
}

/// Each channel through the table that make(histogram) gives.
template <class Make>
void map_channels(Image& image, Make&& make) {
  const size_t channels = size_t(image.channels);
  std::array<std::array<int64_t, 256>, 3> histograms = {};
  for (size_t i = 0; i < image.pixels.size(); i += channels)
    for (size_t c = 0; c < channels; ++c) ++histograms[c][image.pixels[i + c]];
  std::array<Table, 3> tables;
  for (size_t c = 0; c < channels; ++c) tables[c] = make(histograms[c]);
  for (size_t i = 0; i < image.pixels.size(); i += channels)
    for (size_t c = 0; c < channels; ++c) image.pixels[i + c] = tables[c][image.pixels[i + c]];
}

Table identity() {
  Table table;
  for (size_t v = 0; v < table.size(); ++v) table[v] = uint8_t(v);
  return table;
}

}  // namespace

void adjust_color(Image& image, double factor) {
  const int64_t c = image.channels;
  for (uint8_t* p = image.pixels.data(); p != image.pixels.data() + image.pixels.size(); p += c) {
    const int base = luma(p, c);
    for (int64_t k = 0; k < c; ++k) p[k] = blend(base, p[k], float(factor));
  }
}

void adjust_contrast(Image& image, double factor) {
  int64_t sum = 0;
  for (size_t i = 0; i < image.pixels.size(); i += size_t(image.channels))
    sum += luma(&image.pixels[i], image.channels);
  const int base = int(double(sum) / double(image.height * image.width) + 0.5);
  map(image, [&](int v) { return blend(base, v, float(factor)); });
}

void adjust_brightness(Image& image, double factor) {
  map(image, [&](int v) { return blend(0, v, float(factor)); });
}

void adjust_sharpness(Image& image, double factor) {
  const Image old = image;
  const int64_t c = image.channels, n = image.width * c;
  for (int64_t y = 1; y + 1 < image.height; ++y) {
    const uint8_t *up = old.row(y - 1), *in = old.row(y), *down = old.row(y + 1);
    uint8_t* out = image.row(y);
    for (int64_t x = c; x < n - c; ++x) {
      const int sum =
          up[x - c] + up[x] + up[x + c] + in[x - c] + 5 * in[x] + in[x + c] + down[x - c] + down[x] + down[x + c];
      out[x] = blend((2 * sum + 13) / 26, in[x], float(factor));  // sum / 13, rounded; never halfway
    }
  }
}

void autocontrast(Image& image) {
  map_channels(image, [](const std::array<int64_t, 256>& histogram) {
    int low = 0, high = 255;
    while (low < 255 && histogram[size_t(low)] == 0) ++low;
    while (high > 0 && histogram[size_t(high)] == 0) --high;
    Table table = identity();
    if (high <= low) return table;
    const double scale = 255.0 / (high - low), offset = -low * scale;
    for (int v = 0; v < 256; ++v) table[size_t(v)] = uint8_t(std::clamp(int(v * scale + offset), 0, 255));
    return table;
  });
}

void equalize(Image& image) {
  map_channels(image, [](const std::array<int64_t, 256>& histogram) {
    int64_t sum = 0, last = 0, occupied = 0;
    for (const int64_t count : histogram)
      if (count > 0) sum += count, last = count, ++occupied;
    Table table = identity();
    const int64_t step = (sum - last) / 255;
    if (occupied < 2 || step == 0) return table;
    int64_t n = step / 2;
    for (size_t v = 0; v < 256; n += histogram[v++]) table[v] = uint8_t(std::min<int64_t>(255, n / step));
    return table;
  });
}

void invert(Image& image) {
  for (uint8_t& v : image.pixels) v = uint8_t(255 - v);
}

void posterize(Image& image, int bits) {
  const int mask = 0xff << (8 - bits);
  for (uint8_t& v : image.pixels) v = uint8_t(v & mask);
}

void solarize(Image& image, int threshold) {
  map(image, [&](int v) { return v < threshold ? v : 255 - v; });
}

void solarize_add(Image& image, int add) {
  map(image, [&](int v) { return v < 128 ? std::min(255, v + add) : v; });
}

}  // namespace vitrine::data
