#pragma once
#include <span>
#include <vector>

#include "core/tensor.h"

namespace vitrine::ops {

/// The inputs one after another along `dim`. The gradient of each is its part of dy.
///
/// @param xs   at least one tensor, any dtype and strides; equal shapes except along `dim`, which may be empty
/// @param dim  in [-xs[0].dim(), xs[0].dim())
/// @return     contiguous
/// @throws ValueError without inputs, ShapeError if shapes disagree, DtypeError or DeviceError if those differ
Tensor concat(std::span<const Tensor> xs, int64_t dim);
inline Tensor concat(const std::vector<Tensor>& xs, int64_t dim) { return concat(std::span<const Tensor>(xs), dim); }

/// The inputs along a new dim: out.select(dim, i) is xs[i].
///
/// @param dim  of the result, in [-xs[0].dim() - 1, xs[0].dim()]
/// @throws as concat; ShapeError unless all shapes are equal
Tensor stack(std::span<const Tensor> xs, int64_t dim);
inline Tensor stack(const std::vector<Tensor>& xs, int64_t dim) { return stack(std::span<const Tensor>(xs), dim); }

/// Views of consecutive parts of x along `dim`, of the given sizes: the inverse of concat.
///
/// @throws ShapeError if a size is negative or their sum is not x.size(dim)
std::vector<Tensor> split(const Tensor& x, std::span<const int64_t> sizes, int64_t dim);
inline std::vector<Tensor> split(const Tensor& x, const std::vector<int64_t>& sizes, int64_t dim) {
  return split(x, std::span<const int64_t>(sizes), dim);
}

}  // namespace vitrine::ops
