#pragma once
#include "core/kernel_slot.h"

/// Private to this folder; images [B, H, W, C] and windows [B rows columns, size size, C] are contiguous, not empty.
namespace vitrine::ops {

/// How an image is cut.
struct WindowGrid {
  int64_t height, width, channels, size, shift;
  int64_t rows, columns;  ///< of windows
  WindowGrid(int64_t height_, int64_t width_, int64_t channels_, int64_t size_, int64_t shift_)
      : height(height_),
        width(width_),
        channels(channels_),
        size(size_),
        shift(shift_),
        rows((height + size - 1) / size),
        columns((width + size - 1) / size) {}

  /// Where images have a token in row y and column x of image b, both counted before the shift: its number in row-major
  /// order of [B, H, W], or -1 in the padding.
  VITRINE_HD int64_t in_image(int64_t b, int64_t y, int64_t x) const {
    y += shift, x += shift;
    y = y < rows * size ? y : y - rows * size, x = x < columns * size ? x : x - columns * size;
    return y < height && x < width ? (b * height + y) * width + x : -1;
  }
};

/// Writes windows, zeros in the padding among them.
inline constinit KernelSlot<void(const Tensor& images, const WindowGrid& grid, Tensor& windows)> window_gather{
    "window_gather"};
/// Writes images.
inline constinit KernelSlot<void(const Tensor& windows, const WindowGrid& grid, Tensor& images)> window_scatter{
    "window_scatter"};

}  // namespace vitrine::ops
