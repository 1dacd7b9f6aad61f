#pragma once
#include <memory>

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

/// A second factor that stays the same over many products, in the layout that the device's library prefers. Empty at
/// first; what takes one (ops::linear) fills it in, and does so again when the factor was written, is another tensor,
/// or meets a first factor of another size. Only oneDNN has such a layout: up to 8 % faster on one core, 16 % on two,
/// for as much memory again as the factor takes. Not for several threads at once.
struct PackedFactor {
  Tensor source = {};  ///< keeps its storage from being reused
  uint64_t version = 0;
  int64_t rows = 0;  ///< of the first factor
  std::shared_ptr<void> layout = {};
};

/// How f32 products run on a GPU: `highest` is true f32, `high` allows TF32 (10 bits of mantissa). The CPU is always at
/// `highest`.
enum class MatmulPrecision { highest, high };
void set_matmul_precision(MatmulPrecision precision);  ///< for the whole process
MatmulPrecision matmul_precision();                    ///< `highest` at first

}  // namespace vitrine::ops
