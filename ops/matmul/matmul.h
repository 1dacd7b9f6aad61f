#pragma once
#include "core/tensor.h"

namespace vitrine::ops {

/// Batched matrix product:  y[.., i, j] = sum_k a[.., i, k] b[.., k, j]
///
/// Leading dims broadcast as in NumPy. f32 and bf16 run on oneDNN on a CPU and on cuBLASLt on a GPU; sums are in f32
/// (f64 for f64) and rounded once. An inner dimension of 0 gives zeros.
/// @param a  [.., m, k], floating, any strides
/// @param b  [.., k, n], dtype and device of a
/// @return   [.., m, n]
/// @throws ShapeError if a or b has fewer than two dims, the inner sizes differ or the leading dims do not broadcast;
///         DtypeError, DeviceError if a and b differ in dtype or device
Tensor matmul(const Tensor& a, const Tensor& b);

/// How f32 products run on a GPU: `highest` is true f32, `high` allows TF32 (10 bits of mantissa). The CPU is always at
/// `highest`.
enum class MatmulPrecision { highest, high };
void set_matmul_precision(MatmulPrecision precision);
MatmulPrecision matmul_precision();

}  // namespace vitrine::ops
