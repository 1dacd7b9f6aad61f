#pragma once
#include "ops/matmul/matmul.h"

/// The matrix product under every op that has one; not recorded. Private to ops.
namespace vitrine::ops {

/// y[.., i, j] = sum_k a[.., i, k] b[.., k, j] + bias[j]
///
/// Runs on the device's library (oneDNN, cuBLASLt) where it has one for this dtype, else on the hand-written kernel.
/// @param a     [.., m, k], any strides; leading dims broadcast to those of y
/// @param b     [.., k, n], any strides, likewise
/// @param bias  [n], dense, or undefined
/// @param y     [.., m, n], contiguous; every element is written
/// @param packed  of b, to be used and kept up to date; null: none. Then a and b are matrices
void product(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y, PackedFactor* packed = nullptr);
/// The same into a new tensor.
Tensor product(const Tensor& a, const Tensor& b, const Tensor& bias = {}, PackedFactor* packed = nullptr);

/// In its scope, products of this thread run on the hand-written kernels: for tests of those, and for their speed.
class PlainProducts {
 public:
  PlainProducts();
  ~PlainProducts();
  PlainProducts(const PlainProducts&) = delete;
  PlainProducts& operator=(const PlainProducts&) = delete;

 private:
  bool previous_;
};

}  // namespace vitrine::ops
