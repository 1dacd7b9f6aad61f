#pragma once
#include "core/cuda/launch.h"
#include "ops/attention/attention_kernels.h"

/// What the two families of attention kernels share; private to this folder, included by .cu files only.
namespace vitrine::ops {
inline namespace VITRINE_WORLD {

/// A [B, H, rows, columns] tensor with any strides, in elements; without data it is absent.
template <class T>
struct Grid {
  T* data = nullptr;
  int64_t b = 0, h = 0, row = 0, column = 0;
  __device__ T* head(int64_t bh, int64_t heads) const { return data + bh / heads * b + bh % heads * h; }
};
template <class T>
Grid<const T> grid_of(const Tensor& x) {
  if (!x.defined()) return {};
  return {x.data<T>(), x.stride(0), x.stride(1), x.stride(2), x.stride(3)};
}
template <class T>
Grid<T> writable_grid(Tensor& x) {
  if (!x.defined()) return {};
  return {x.mutable_data<T>(), x.stride(0), x.stride(1), x.stride(2), x.stride(3)};
}

/// One call of attention, as a kernel's parameter.
template <class T>
struct Problem {
  Grid<const T> q, k, v, bias;
  Grid<const bool> mask;
  int64_t heads, queries, keys, d;
  accumulate_t<T> scale;
  DropMask drop;
};
template <class T>
Problem<T> problem_of(const AttentionInputs& in) {
  return {grid_of<T>(in.q), grid_of<T>(in.k), grid_of<T>(in.v), grid_of<T>(in.bias), grid_of<bool>(in.mask),
          in.q.size(1),     in.q.size(2),     in.k.size(2),     in.q.size(3),        accumulate_t<T>(in.scale),
          in.drop};
}

/// What turns a product q_i k_j of one head into a logit, and its weight into a dropped one.
template <class T, class A = accumulate_t<T>>
struct Scores {
  __device__ Scores(const Problem<T>& p, int64_t bh)
      : bias(p.bias.data ? p.bias.head(bh, p.heads) : nullptr),
        mask(p.mask.data ? p.mask.head(bh, p.heads) : nullptr),
        first(bh * p.queries),
        problem(p) {}

  /// -inf where (i, j) is masked or outside.
  __device__ A logit(A product, int64_t i, int64_t j) const {
    if (i >= problem.queries || j >= problem.keys) return A(-INFINITY);
    if (mask && !mask[i * problem.mask.row + j * problem.mask.column]) return A(-INFINITY);
    const A s = product * problem.scale;
    return bias ? s + A(bias[i * problem.bias.row + j * problem.bias.column]) : s;
  }
  /// z_ij; only called if drop.threshold is not 0.
  __device__ A kept(int64_t i, int64_t j) const {
    const int64_t index = (first + i) * problem.keys + j;
    return problem.drop.keeps(problem.drop.draw.bits(index)) ? A(problem.drop.scale) : A(0);
  }

  const T* bias;
  const bool* mask;
  int64_t first;  ///< row of query 0 in [B * H * Lq]
  const Problem<T>& problem;
};

/// Tensor-core kernels for bf16 (attention_mma.cu): head size 32 or 64, rows of q, k, v and dout dense and 16-byte
/// aligned. False, and nothing done, where they do not apply.
bool launch_mma_forward(const AttentionInputs& in, Tensor& out, Tensor& lse);
bool launch_mma_backward(const AttentionInputs& in, const Tensor& lse, const Tensor& dout, AttentionGradients& to);

}  // namespace VITRINE_WORLD
}  // namespace vitrine::ops
