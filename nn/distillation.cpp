#include "nn/distillation.h"

#include "core/autograd.h"
#include "ops/binary/operators.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "ops/reduce/reduce.h"
#include "ops/softmax/softmax.h"
#include "ops/unary/unary.h"

namespace vitrine::nn {

std::string to_string(Distillation type) {
  return type == Distillation::none ? "none" : (type == Distillation::soft ? "soft" : "hard");
}

Distillation parse_distillation(const std::string& text) {
  for (const Distillation type : {Distillation::none, Distillation::soft, Distillation::hard})
    if (text == to_string(type)) return type;
  throw ValueError(format("distillation '{}'; there are none, soft, hard", text));
}

Tensor distillation_loss(const Tensor& base, const Tensor& student, const Tensor& teacher,
                         const DistillationOptions& options) {
  check<ValueError>(options.type != Distillation::none,
                    "distillation_loss: without distillation there is no such loss");
  check<ValueError>(options.alpha >= 0 && options.alpha <= 1, "distillation_loss: alpha must be in [0, 1], got {}",
                    options.alpha);
  check<ValueError>(options.tau > 0, "distillation_loss: tau must be above 0, got {}", options.tau);
  check(base.dim() == 0, "distillation_loss: base {} must be a scalar", base);
  check(student.dim() == 2 && student.shape() == teacher.shape(),
        "distillation_loss: logits of student {} and teacher {} must have one shape [B, C]", student, teacher);
  check_same_dtype("distillation_loss", {{"base", &base}, {"student", &student}, {"teacher", &teacher}});
  const Tensor constant = teacher.detach();
  Tensor kd;
  if (options.type == Distillation::hard) {
    kd = ops::cross_entropy(student, ops::argmax(constant, -1));
  } else {
    const Tensor log_p = ops::log_softmax(constant * (1 / options.tau), -1);
    const Tensor log_q = ops::log_softmax(student * (1 / options.tau), -1);
    const double rows = double(student.size(0)), divisor = options.mean_of_rows ? rows : rows * double(student.size(1));
    kd = ops::sum(ops::exp(log_p) * (log_p - log_q)) * (options.tau * options.tau / divisor);
  }
  return base * (1 - options.alpha) + kd * options.alpha;
}

}  // namespace vitrine::nn
