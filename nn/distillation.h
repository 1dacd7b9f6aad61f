#pragma once
#include <string>

#include "core/tensor.h"

/// Training a student on the answers of a teacher (Touvron et al. 2021, section 4; deit 4.9).
namespace vitrine::nn {

enum class Distillation { none, soft, hard };
/// "none", "soft", "hard".
std::string to_string(Distillation type);
/// @throws ValueError naming them
Distillation parse_distillation(const std::string& text);

struct DistillationOptions {
  Distillation type = Distillation::hard;
  double alpha = 0.5;         ///< weight of the teacher, in [0, 1]
  double tau = 1;             ///< temperature of soft, above 0
  bool mean_of_rows = false;  ///< soft: divide by B, as the paper has it, and not by B C, as the program does
};

/// The loss of a student with two heads:
///
///     l = (1 - alpha) base + alpha kd
///     hard:  kd = mean over rows of -log_softmax(student)[argmax teacher]
///     soft:  kd = tau^2 / (B C) sum p (ln p - log_softmax(student / tau)),  p = softmax(teacher / tau)
///
/// The divisor of soft is that of the reference program; with C classes it weighs C times less than the paper's.
/// @param base     [] the loss of the class token's logits
/// @param student  [B, C] logits of the distillation token
/// @param teacher  [B, C] a constant: takes no gradient
/// @return         [] in base's dtype
/// @throws ShapeError, DtypeError; ValueError for type none, or an alpha or tau out of range
Tensor distillation_loss(const Tensor& base, const Tensor& student, const Tensor& teacher,
                         const DistillationOptions& options);

}  // namespace vitrine::nn
