#include "ops/binary_cross_entropy/binary_cross_entropy.h"

#include "core/autograd.h"
#include "ops/binary_cross_entropy/binary_cross_entropy_kernels.h"
#include "ops/reduce/reduce.h"

namespace vitrine::ops {
namespace {

struct BinaryCrossEntropy {
  static constexpr const char* name = "binary_cross_entropy";

  Tensor forward(Saver& save, const Tensor& x, const Tensor& target) const {
    Tensor losses = empty(x.shape(), {x.dtype() == Dtype::f64 ? Dtype::f64 : Dtype::f32, x.device()});
    binary_cross_entropy_forward(x, target, losses);
    save(x, target);
    return losses;
  }
  // dx = dy (sigmoid(x) - t), dt = -dy x
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    const Tensor &x = saved[0], &target = saved[1];
    Tensor dx, dtarget;
    if (saved.needs(0)) binary_cross_entropy_backward(dy, x, target, dx = empty(x.shape(), x.options()));
    if (saved.needs(1)) binary_cross_entropy_target(dy, x, dtarget = empty(x.shape(), x.options()));
    return {dx, dtarget};
  }
};

}  // namespace

Tensor binary_cross_entropy(const Tensor& logits, const Tensor& target, LossReduction reduction) {
  check_floating("binary_cross_entropy", "logits", logits);
  check_defined("binary_cross_entropy", "target", target);
  check_same_device("binary_cross_entropy", {{"logits", &logits}, {"target", &target}});
  check_same_dtype("binary_cross_entropy", {{"logits", &logits}, {"target", &target}});
  check(target.shape() == logits.shape(), "binary_cross_entropy: target {} does not have the shape of logits {}",
        target, logits);
  const Tensor losses = apply(BinaryCrossEntropy{}, logits, target);
  if (reduction == LossReduction::none) return losses;
  return reduction == LossReduction::sum ? sum(losses) : mean(losses);
}

}  // namespace vitrine::ops
