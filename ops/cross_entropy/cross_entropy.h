#pragma once
#include <string>

#include "core/tensor.h"

namespace vitrine::ops {

/// What a loss does with its rows: their (weighted) mean, their sum, or one value per row.
enum class LossReduction { mean, sum, none };
/// "mean", "sum", "none".
std::string to_string(LossReduction reduction);
/// Reads the names above. @throws ValueError naming them
LossReduction parse_loss_reduction(const std::string& text);

struct CrossEntropyOptions {
  Tensor weight = {};           ///< [C] of the logits' dtype, per class; undefined: 1. A constant: takes no gradient
  double label_smoothing = 0;   ///< e in [0, 1]: every class gets e / C of each target
  int64_t ignore_index = -100;  ///< rows with this class id count nothing; class ids only
  LossReduction reduction = LossReduction::mean;
};

/// Softmax and cross-entropy in one pass, as PyTorch defines it, but with the classes in the last dim:
///
///     l_r = sum_c q_rc (lse_r - x_rc),   lse_r = ln sum_c exp(x_rc)
///     class ids:     q_rc = (1 - e) w_t [c = t_r] + e / C w_c;   l_r = 0 and no gradient where t_r = ignore_index
///     soft targets:  q_rc = w_c ((1 - e) t_rc + e / C)
///     mean:  sum_r l_r / sum of w_t over the rows not ignored (class ids),  sum_r l_r / rows (soft targets)
///
/// Maximum, sums and losses are in accumulate_t. The mean over nothing (no rows, all ignored, weights all 0) is NaN,
/// the sum 0. Where soft targets or smoothing meet a logit of -inf the loss is infinite or, for a target of 0, NaN;
/// plain class ids look only at their own logit. Gradients flow to the logits and to soft targets.
/// @param logits  [*, C], floating, any strides, C >= 1
/// @param target  [*] class ids in i64 or i32; or [*, C] of the logits' dtype, any values (probabilities as a rule)
/// @return        f32 (f64 for f64 logits): a scalar, or [*] for LossReduction::none
/// @throws ShapeError, DtypeError, DeviceError; ValueError if label_smoothing is outside [0, 1], or if a class id on
/// the
///         CPU is outside [0, C) and not ignore_index. On other devices, whose memory the host does not read here, such
///         a row's loss and gradient are NaN
Tensor cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options = {});

}  // namespace vitrine::ops
