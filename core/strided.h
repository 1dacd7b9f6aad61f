#pragma once
#include <array>
#include <type_traits>

#include "core/float16.h"
#include "core/parallel.h"
#include "core/tensor.h"

namespace vitrine {

/// K arrays walked together over one shape: sizes and strides after dropping size-1 dims and merging neighbours that
/// are contiguous in all of them. Plain data, so a kernel takes it by value. Operand 0 is the one written.
template <int K>
struct StridedPlan {
  int dims = 0;
  int64_t numel = 1;
  int64_t sizes[Shape::kMaxDims] = {};
  int64_t strides[K][Shape::kMaxDims] = {};

  /// Offsets (in elements) of the i-th point in row-major order.
  VITRINE_HD void offsets(int64_t i, int64_t (&out)[K]) const {
    for (int k = 0; k < K; ++k) out[k] = 0;
    const bool narrow = numel >> 31 == 0;  // 32-bit division is several times faster on a GPU
    for (int d = dims - 1; d > 0; --d) {
      const int64_t next = narrow ? int64_t(uint32_t(i) / uint32_t(sizes[d])) : i / sizes[d], at = i - next * sizes[d];
      for (int k = 0; k < K; ++k) out[k] += at * strides[k][d];
      i = next;
    }
    if (dims == 0) return;
    for (int k = 0; k < K; ++k) out[k] += i * strides[k][0];  // no division: i < numel
  }
};

/// The strides with which `x` is read when broadcast to `shape`.
inline Shape broadcast_strides(const Tensor& x, const Shape& shape) {
  Shape strides = Shape::filled(shape.size(), 0);
  const int64_t lead = shape.size() - x.dim();
  for (int64_t d = 0; d < x.dim(); ++d) strides[lead + d] = x.shape()[d] == 1 ? 0 : x.strides()[d];
  return strides;
}

/// The plan of K operands of one shape: dims of size 1 left out, neighbours that all operands step through evenly
/// merged.
/// @param strides  of each operand, in elements
template <int K>
StridedPlan<K> make_plan(const Shape& shape, const std::array<Shape, K>& strides) {
  StridedPlan<K> plan;
  plan.numel = shape.numel();
  for (int64_t d = 0; d < shape.size(); ++d) {
    if (shape[d] == 1) continue;
    const int last = plan.dims - 1;
    bool merges = last >= 0;
    for (int k = 0; k < K && merges; ++k) merges = plan.strides[k][last] == strides[k][d] * shape[d];
    const int at = merges ? last : plan.dims++;
    plan.sizes[at] = merges ? plan.sizes[at] * shape[d] : shape[d];
    for (int k = 0; k < K; ++k) plan.strides[k][at] = strides[k][d];
  }
  return plan;
}

/// A sum of x into y, where y has x's dims, some of them cut to size 1: the outputs, and the points that each one sums.
struct Reduction {
  StridedPlan<2> kept;     ///< operand 0: y, operand 1: x
  StridedPlan<1> reduced;  ///< operand 0: x
};
/// @param x  what is summed
/// @param y  the result: each dim that of x or 1
inline Reduction make_reduction(const Tensor& x, const Tensor& y) {
  Shape kept, kept_y, kept_x, reduced, reduced_x;
  for (int64_t d = 0; d < x.dim(); ++d) {
    if (y.size(d) == x.size(d)) {
      kept.push_back(x.size(d)), kept_y.push_back(y.stride(d)), kept_x.push_back(x.stride(d));
    } else {
      reduced.push_back(x.size(d)), reduced_x.push_back(x.stride(d));
    }
  }
  return {make_plan<2>(kept, {kept_y, kept_x}), make_plan<1>(reduced, {reduced_x})};
}

/// A reference to a function of a run of n points, which begin at[k] elements into array k. The loops that call it are
/// compiled once, not for each function.
template <int K>
class RunFunction {
 public:
  template <class F>
  RunFunction(const F& f)
      : f_(&f), call_([](const void* g, const int64_t (&at)[K], int64_t n) { (*static_cast<const F*>(g))(at, n); }) {}
  void operator()(const int64_t (&at)[K], int64_t n) const { call_(f_, at, n); }

 private:
  const void* f_;
  void (*call_)(const void* f, const int64_t (&at)[K], int64_t n);
};

/// Calls row(offsets, n) for runs along the innermost dim, in parallel; steps along a run are plan.strides[k][dims -
/// 1]. Each point is visited once and the cut into runs depends on the shape alone.
template <int K>
void for_each_row(const StridedPlan<K>& plan, std::type_identity_t<RunFunction<K>> row) {
  constexpr int64_t kGrain = 16384;
  if (plan.numel == 0) return;
  const int inner = plan.dims - 1;
  const int64_t n = plan.dims ? plan.sizes[inner] : 1, rows = plan.numel / n;
  if (rows == 1) {
    parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
      int64_t at[K] = {};
      for (int k = 0; k < K && plan.dims; ++k) at[k] = begin * plan.strides[k][inner];
      row(at, end - begin);
    });
    return;
  }
  parallel_for(rows, std::max<int64_t>(1, kGrain / n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      int64_t at[K];
      plan.offsets(r * n, at);
      row(at, n);
    }
  });
}

}  // namespace vitrine
