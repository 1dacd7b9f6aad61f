#pragma once
#include "core/tensor.h"

/// Windows of Swin Transformer (Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows",
/// ICCV 2021, sections 3.2): a cyclic shift and the cut into windows as one gather, and its inverse.
///
/// An image [B, H, W, C] whose sides are no multiples of the window's M is first surrounded by zeros below and to the
/// right, to H' = M ceil(H / M) and W' likewise, and the shift goes around the padded sides: the authors' program for
/// detection. (timm shifts first and pads then, which differs where there is both.)
namespace vitrine::ops {

/// Cuts images into windows of size x size, row by row of windows, of the image shifted up and left by `shift`:
///
///     y[(b H'/M + i) W'/M + j, r M + c, :] = x[b, (i M + r + shift) mod H', (j M + c + shift) mod W', :]
///
/// and 0 for what lies outside of x. Each element of x is taken once: the gradient is window_merge.
/// @param x      [B, H, W, C], floating, any strides
/// @param size   M >= 1
/// @param shift  in [0, M)
/// @return       [B (H'/M) (W'/M), M M, C], dtype of x
/// @throws ShapeError if x has not 4 dims, DtypeError if it is not floating, ValueError if size or shift is out of
/// range
Tensor window_partition(const Tensor& x, int64_t size, int64_t shift = 0);

/// The inverse: puts windows back, undoes the shift, and drops what is outside of the image. Its gradient is
/// window_partition.
/// @param windows        [B (H'/M) (W'/M), M M, C], floating, any strides, M = size
/// @param height, width  H and W of the image
/// @return               [B, H, W, C], dtype of windows
/// @throws ShapeError if the windows are not those of images of H x W, DtypeError if they are not floating, ValueError
///         if size or shift is out of range
Tensor window_merge(const Tensor& windows, int64_t height, int64_t width, int64_t size, int64_t shift = 0);

}  // namespace vitrine::ops
