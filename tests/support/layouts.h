#pragma once
#include "core/tensor.h"

/// The same values in other memory layouts: what views and slices hand to an op.
namespace vitrine::testing {

enum class Layout {
  reversed,  ///< strides in reverse order, as after permute
  narrowed,  ///< a window of a tensor that is larger on both sides of every dim
  strided,   ///< every second element of the last dim
  offset     ///< contiguous, but starting one element into its storage: not aligned for vector loads
};
inline constexpr Layout kLayouts[] = {Layout::reversed, Layout::narrowed, Layout::strided, Layout::offset};
const char* name_of(Layout layout);

/// A copy of `x` in `layout`, not recorded; elements around it are NaN (integers: 0). Undefined stays undefined.
Tensor with_layout(const Tensor& x, Layout layout);
/// `x` with the elements of one dim (the first with more than one, but not the last dim if there is another) replaced
/// by its first slice, as a stride-0 view; undefined if there is no such dim.
Tensor expanded_slice(const Tensor& x);

}  // namespace vitrine::testing
