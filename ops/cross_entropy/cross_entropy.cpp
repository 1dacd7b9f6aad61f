#include "ops/cross_entropy/cross_entropy.h"

#include "core/autograd.h"
#include "ops/cross_entropy/cross_entropy_kernels.h"

namespace vitrine::ops {

std::string to_string(LossReduction reduction) {
  return reduction == LossReduction::mean ? "mean" : reduction == LossReduction::sum ? "sum" : "none";
}
LossReduction parse_loss_reduction(const std::string& text) {
  for (LossReduction r : {LossReduction::mean, LossReduction::sum, LossReduction::none})
    if (text == to_string(r)) return r;
  throw ValueError(format("reduction must be mean, sum or none, got {}", text));
}

namespace {

struct CrossEntropy {
  static constexpr const char* name = "cross_entropy";
  TargetRules rules;
  LossReduction reduction;
  Attributes attributes() const {
    return {{"label_smoothing", rules.label_smoothing},
            {"ignore_index", rules.ignore_index},
            {"reduction", to_string(reduction)}};
  }

  Tensor forward(Saver& save, const Tensor& logits, const Tensor& target, const Tensor& weight) const {
    const Tensor x = logits.contiguous(), t = target.contiguous(), w = weight.defined() ? weight.contiguous() : weight;
    Shape shape = x.shape();
    shape.erase(x.dim() - 1);
    const TensorOptions sums{.dtype = x.dtype() == Dtype::f64 ? Dtype::f64 : Dtype::f32, .device = x.device()};
    Tensor losses = empty(shape, sums), row_weights = empty(shape, sums), lse = empty(shape, sums), scale;
    cross_entropy_forward(x, t, w, rules, losses, row_weights, lse);
    if (reduction != LossReduction::none) {
      Tensor loss = empty({}, sums);
      scale = empty({}, sums);
      cross_entropy_reduce(losses, row_weights, reduction == LossReduction::mean, loss, scale);
      losses = loss;
    }
    save(x, t, w, lse, scale);
    return losses;
  }
  // dx_rc = g_r (softmax(x_r)_c sum_k q_rk - q_rc),  dtarget_rc = g_r (1 - e) w_c (lse_r - x_rc)
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    const Tensor &x = saved[0], &target = saved[1];
    Tensor dx = empty_like(x), dtarget;
    if (saved.needs(1)) dtarget = empty_like(target);
    cross_entropy_backward(dy.contiguous(), saved[4], x, target, saved[2], rules, saved[3], dx, dtarget);
    return {dx, dtarget, {}};
  }
};

/// Class ids that the host can read must name a class or be ignored.
template <class Id>
void check_ids(const Tensor& logits, const Tensor& target, int64_t ignore) {
  const Tensor ids = target.detach().contiguous();
  const Id* id = ids.data<Id>();
  for (int64_t r = 0; r < ids.numel(); ++r)
    check<ValueError>(id[r] == ignore || (id[r] >= 0 && id[r] < logits.size(-1)),
                      "cross_entropy: target {} of row {} is not a class of logits {} and not ignore_index {}",
                      int64_t(id[r]), r, logits, ignore);
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options) {
  const Tensor& weight = options.weight;
  check_floating("cross_entropy", "logits", logits);
  check_defined("cross_entropy", "target", target);
  check_same_device("cross_entropy", {{"logits", &logits}, {"target", &target}, {"weight", &weight}});
  check_same_dtype("cross_entropy", {{"logits", &logits}, {"weight", &weight}});
  check(logits.dim() >= 1 && logits.size(-1) >= 1, "cross_entropy: logits {} have no classes in their last dim",
        logits);
  Shape rows = logits.shape();
  rows.erase(logits.dim() - 1);
  if (is_floating(target.dtype())) {
    check_same_dtype("cross_entropy", {{"logits", &logits}, {"target", &target}});
    check(target.shape() == logits.shape(), "cross_entropy: soft target {} does not have the shape of logits {}",
          target, logits);
  } else {
    check<DtypeError>(target.dtype() == Dtype::i64 || target.dtype() == Dtype::i32,
                      "cross_entropy: target must be i64, i32 or floating, got {}", target);
    check(target.shape() == rows, "cross_entropy: target {} must have the shape {}, that of logits {} without classes",
          target, rows, logits);
  }
  check(!weight.defined() || weight.shape() == Shape{logits.size(-1)},
        "cross_entropy: weight {} does not match the classes of logits {}", weight, logits);
  check<ValueError>(options.label_smoothing >= 0 && options.label_smoothing <= 1,
                    "cross_entropy: label_smoothing must be in [0, 1], got {}", options.label_smoothing);
  if (target.device() == Device::cpu()) {
    if (target.dtype() == Dtype::i64) check_ids<int64_t>(logits, target, options.ignore_index);
    if (target.dtype() == Dtype::i32) check_ids<int32_t>(logits, target, options.ignore_index);
  }
  return apply(CrossEntropy{.rules = {options.label_smoothing, options.ignore_index}, .reduction = options.reduction},
               logits, target, weight);
}

}  // namespace vitrine::ops
