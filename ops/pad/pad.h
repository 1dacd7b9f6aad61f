#pragma once
#include <utility>
#include <vector>

#include "core/tensor.h"

namespace vitrine::ops {

/// x surrounded by a constant:  y[i + before] = x[i], y = value elsewhere.  dx is dy without the border.
///
/// @param x       any dtype and strides; empty dims are padded too
/// @param widths  {before, after} for each dim of x, first dim first, in elements
/// @param value   converted to x's dtype
/// @return        contiguous, x.size(d) + before + after in dim d
/// @throws ShapeError if there is not one pair per dim or a width is negative
Tensor pad(const Tensor& x, const std::vector<std::pair<int64_t, int64_t>>& widths, double value = 0);

}  // namespace vitrine::ops
