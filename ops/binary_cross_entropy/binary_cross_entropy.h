#pragma once
#include "ops/cross_entropy/cross_entropy.h"

namespace vitrine::ops {

/// Logistic loss of every element, each a question of its own with p = 1 / (1 + e^-x):
///
///     l = -t ln p - (1 - t) ln(1 - p) = ln(1 + e^-|x|) + (x > 0 ? x (1 - t) : -x t)
///     dx = dl (p - t),  dt = -dl x
///
/// The last form loses nothing for large |x|. Arithmetic and the reduction are in accumulate_t; the mean divides by the
/// number of elements (PyTorch's BCEWithLogitsLoss; timm's and DeiT III's loss), and over nothing is NaN, the sum 0.
/// @param logits  [*], floating, any strides
/// @param target  [*] like logits, in their dtype; as a rule in [0, 1]
/// @return        f32 (f64 for f64 logits): a scalar, or [*] for LossReduction::none
/// @throws ShapeError, DtypeError, DeviceError
Tensor binary_cross_entropy(const Tensor& logits, const Tensor& target, LossReduction reduction = LossReduction::mean);

}  // namespace vitrine::ops
