#pragma once
#include "core/tensor.h"

namespace vitrine::ops {

/// Softmax along one dimension:  y_i = exp(x_i - m) / sum_k exp(x_k - m),  m = max_k x_k
///
/// A row whose maximum is -inf (everything masked) or that holds a NaN gives NaN, as the formula does.
/// @param x    [*], floating, any strides
/// @param dim  in [-x.dim(), x.dim())
/// @return     shape and dtype of x; sums are in accumulate_t
/// @throws ShapeError if dim is out of range, DtypeError if x is not floating
Tensor softmax(const Tensor& x, int64_t dim);

/// Logarithm of the softmax along one dimension:  y_i = x_i - m - ln sum_k exp(x_k - m)
///
/// Parameters, result and errors as softmax.
Tensor log_softmax(const Tensor& x, int64_t dim);

}  // namespace vitrine::ops
