#pragma once
#include <initializer_list>
#include <vector>

#include "core/tensor.h"

/// Reductions over one dim, several dims or all of them.
///
/// All take floating tensors of any strides. Sums are in accumulate_t in a fixed order, and the result is rounded once
/// to x's dtype. Reduced dims are dropped, or kept with size 1 if `keepdim`. All throw ShapeError if a dim is out of
/// range or given twice, DtypeError if x is not floating. Of an empty set the sum and the norm are 0, the mean and the
/// variance NaN, the log-sum-exp -inf; a maximum or minimum of an empty set is a ShapeError.
namespace vitrine::ops {

/// The dims of a reduction: one, several, or (none given) all. Negative ones count from the back.
struct Dims : std::vector<int64_t> {
  Dims() = default;
  Dims(int64_t dim) : vector{dim} {}
  Dims(std::initializer_list<int64_t> dims) : vector(dims) {}
  Dims(std::vector<int64_t> dims) : vector(std::move(dims)) {}
};

/// y = sum_i x_i.  dx_i = dy
Tensor sum(const Tensor& x, const Dims& dims = {}, bool keepdim = false);

/// y = sum_i x_i / n.  dx_i = dy / n
Tensor mean(const Tensor& x, const Dims& dims = {}, bool keepdim = false);

/// y = sum_i (x_i - m)^2 / (n - correction), m the mean, in two passes.  dx_i = dy * 2 (x_i - m) / (n - correction)
///
/// @param correction  1: the unbiased estimate, 0: the mean squared deviation (as in layer norm). NaN where n <=
///                    correction
/// @throws ValueError if correction is neither 0 nor 1
Tensor var(const Tensor& x, const Dims& dims = {}, int64_t correction = 1, bool keepdim = false);

/// y = sqrt(sum_i x_i^2).  dx_i = dy * x_i / y, and 0 where y is 0
Tensor norm(const Tensor& x, const Dims& dims = {}, bool keepdim = false);

/// y = m + ln sum_i exp(x_i - m), m = max_i x_i.  dx_i = dy * exp(x_i - y)
///
/// A set of only -inf gives -inf and zero gradients.
Tensor logsumexp(const Tensor& x, const Dims& dims = {}, bool keepdim = false);

/// y = max_i x_i; NaN if any x_i is. The gradient goes to the first maximal element (first NaN), in row-major order of
/// the reduced dims, and to no other.
/// @throws ShapeError if a reduced dim is empty
Tensor max(const Tensor& x, const Dims& dims = {}, bool keepdim = false);

/// y = min_i x_i; otherwise as max.
Tensor min(const Tensor& x, const Dims& dims = {}, bool keepdim = false);

/// Position of the first maximal element (first NaN if there is one), counted in row-major order over the reduced dims:
/// i64, no gradient.
/// @throws ShapeError if a reduced dim is empty
Tensor argmax(const Tensor& x, const Dims& dims = {}, bool keepdim = false);

/// Position of the first minimal element; otherwise as argmax.
Tensor argmin(const Tensor& x, const Dims& dims = {}, bool keepdim = false);

}  // namespace vitrine::ops
