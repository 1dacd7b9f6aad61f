#pragma once
#include <algorithm>

#include "core/kernel_slot.h"

/// Private to this folder; tensors are contiguous. Rows are [*, n]; mean and rstd = 1 / sqrt(var + eps) are [rows] in
/// accumulate_t; weight and bias may be undefined.
namespace vitrine::ops {

/// y = normalised rows of x.
inline constinit KernelSlot<void(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, Tensor& y,
                                 Tensor& mean, Tensor& rstd)>
    layer_norm_forward{"layer_norm_forward"};
/// sum = x + residual, y = normalised rows of sum.
inline constinit KernelSlot<void(const Tensor& x, const Tensor& residual, const Tensor& weight, const Tensor& bias,
                                 double eps, Tensor& sum, Tensor& y, Tensor& mean, Tensor& rstd)>
    add_layer_norm_forward{"add_layer_norm_forward"};
/// dx = gradient of x, plus `add` if it is defined. parts[p] = the sums of dy * normalised x and of dy over the p-th
/// group of rows, [groups, 2, n] in accumulate_t; not wanted if undefined.
inline constinit KernelSlot<void(const Tensor& dy, const Tensor& x, const Tensor& weight, const Tensor& mean,
                                 const Tensor& rstd, const Tensor& add, Tensor& dx, Tensor& parts)>
    layer_norm_backward{"layer_norm_backward"};
/// dweight and dbias [n] = sums of parts [groups, 2, n] over the groups in a fixed order; zero if there are none. One
/// of the two may be undefined.
inline constinit KernelSlot<void(const Tensor& parts, Tensor& dweight, Tensor& dbias)> layer_norm_sum_parts{
    "layer_norm_sum_parts"};

/// How rows are cut into groups for the sums over rows: by their number alone, at most 512 groups.
struct RowGroups {
  int64_t size, count;
  explicit RowGroups(int64_t rows) : size(std::max<int64_t>(32, (rows + 511) / 512)), count((rows + size - 1) / size) {}
};

inline int64_t row_count(const Tensor& x) { return x.size(-1) ? x.numel() / x.size(-1) : 0; }

/// The elements of an optional tensor.
template <class T>
const T* read_optional(const Tensor& x) {
  return x.defined() ? x.data<T>() : nullptr;
}
template <class T>
T* write_optional(Tensor& x) {
  return x.defined() ? x.mutable_data<T>() : nullptr;
}

}  // namespace vitrine::ops
