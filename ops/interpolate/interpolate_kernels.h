#pragma once
#include "core/kernel_slot.h"

/// Private to this folder.
namespace vitrine::ops {

/// What each output of one axis sums: weights[offsets[o] + k] * input[starts[o] + k], k < offsets[o+1] - offsets[o].
struct AxisTable {
  Tensor starts, offsets, weights;  ///< i32 [n], i32 [n + 1], accumulate_t [sum of counts]
};
/// y [outer, n_out, inner] = weighted sums of x [outer, n_in, inner] along the middle dim; both contiguous. One of them
/// may be in accumulate_t of the other's dtype.
inline constinit KernelSlot<void(const Tensor& x, const AxisTable& table, Tensor& y)> resample_axis{"resample_axis"};

/// Calls f<From, To>() with the element types of such a pair.
template <class F>
void dispatch_pair(const Tensor& x, const Tensor& y, F f) {
  dispatch_floating(size_of(x.dtype()) < size_of(y.dtype()) ? x.dtype() : y.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    if (x.dtype() == y.dtype()) {
      f.template operator()<T, T>();
    } else if (x.dtype() == dtype_of<T>) {
      f.template operator()<T, A>();
    } else {
      f.template operator()<A, T>();
    }
  });
}

}  // namespace vitrine::ops
