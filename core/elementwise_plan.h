#pragma once
#include <algorithm>
#include <array>
#include <numeric>

#include "core/strided.h"

/// How the operands of an elementwise op are walked, on the CPU (core/elementwise.h) and in kernels
/// (core/cuda/elementwise.h).
namespace vitrine {

/// As make_plan, for loops that visit the points in any order: dims are first sorted by operand 0's strides, so that
/// tensors of the same permuted layout (channels last) become one dense run.
template <int K>
StridedPlan<K> make_elementwise_plan(const Shape& shape, const std::array<Shape, K>& strides) {
  std::array<int64_t, Shape::kMaxDims> order;
  std::iota(order.begin(), order.end(), 0);
  const auto end = order.begin() + shape.size();
  const auto farther = [&](int64_t a, int64_t b) { return strides[0][a] > strides[0][b]; };
  if (std::is_sorted(order.begin(), end, farther)) return make_plan<K>(shape, strides);
  std::stable_sort(order.begin(), end, farther);
  Shape sorted;
  std::array<Shape, K> sorted_strides;
  for (auto d = order.begin(); d != end; ++d) {
    sorted.push_back(shape[*d]);
    for (int k = 0; k < K; ++k) sorted_strides[k].push_back(strides[k][*d]);
  }
  return make_plan<K>(sorted, sorted_strides);
}

/// The plan that walks y and every x, broadcast to y's shape.
template <class... X>
StridedPlan<1 + sizeof...(X)> elementwise_plan(const Tensor& y, const X&... x) {
  return make_elementwise_plan<1 + sizeof...(X)>(y.shape(), {y.strides(), broadcast_strides(x, y.shape())...});
}

/// Whether y and every x are one dense run in the same order. The inputs must broadcast to y's shape.
template <class... X>
bool same_dense_runs(const Tensor& y, const X&... x) {
  const int64_t n = y.numel();
  return y.is_contiguous() && ((x.is_contiguous() && x.numel() == n) && ...);
}

/// An uninitialised tensor of `shape` for an elementwise result: dense, in the order of x's dims in memory if x has
/// that shape and is a permuted contiguous tensor (channels last stays channels last), else contiguous.
Tensor empty_in_layout_of(const Tensor& x, const Shape& shape, Dtype dtype);

}  // namespace vitrine
