#pragma once
#include "core/kernel_slot.h"

/// Private to this folder; images [B, C, H, W] and patches [B, (H/size) (W/size), C size size] are contiguous.
namespace vitrine::ops {

inline constinit KernelSlot<void(const Tensor& images, int64_t size, Tensor& patches)> patchify_forward{
    "patchify_forward"};
inline constinit KernelSlot<void(const Tensor& patches, int64_t size, Tensor& images)> patchify_backward{
    "patchify_backward"};

/// Sizes of an image and its patches.
struct PatchGrid {
  int64_t channels, rows, columns, size;  ///< rows and columns of patches
  PatchGrid(const Tensor& images, int64_t size_)
      : channels(images.size(1)), rows(images.size(2) / size_), columns(images.size(3) / size_), size(size_) {}
  VITRINE_HD int64_t row_length() const { return columns * size; }
  VITRINE_HD int64_t patch_length() const { return channels * size * size; }
  /// Where the images hold the element at `at` of the patches.
  VITRINE_HD int64_t in_image(int64_t at) const {
    const int64_t patch = at / patch_length(), within = at - patch * patch_length();
    const int64_t line = within / size, j = within - line * size, c = line / size, i = line - c * size;
    const int64_t patch_row = patch / columns, w = patch - patch_row * columns;
    const int64_t b = patch_row / rows, h = patch_row - b * rows;
    return (((b * channels + c) * rows + h) * size + i) * row_length() + w * size + j;
  }
};

}  // namespace vitrine::ops
