#include "nn/optim/optimizer.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/captured_graph.h"
#include "core/upload.h"

namespace vitrine::nn {
namespace {

/// The lists that the multi-tensor ops take, in group order, and the schedule's tensor.
class Lists {
 public:
  explicit Lists(std::vector<ParameterGroup> groups) : groups_(std::move(groups)) {
    for (size_t g = 0; g < groups_.size(); ++g)
      for (const auto& [name, t] : groups_[g].parameters) {
        names.push_back(name);
        params.push_back(t);
        group_of.push_back(int64_t(g));
      }
    check<ValueError>(!params.empty(), "optimizer: no parameters");
    schedule_.emplace(Shape{int64_t(groups_.size()), 2}, TensorOptions{Dtype::f64, params[0].device()});
  }
  /// Zeros in the dtype of the state, one per parameter.
  std::vector<Tensor> states() const {
    std::vector<Tensor> list;
    for (const Tensor& p : params)
      list.push_back(zeros(p.shape(), {p.dtype() == Dtype::f64 ? Dtype::f64 : Dtype::f32, p.device()}));
    return list;
  }
  std::vector<Tensor> grads() const {
    std::vector<Tensor> list;
    for (const Tensor& p : params) list.push_back(p.grad());
    return list;
  }
  void set_lr(double lr) {
    if (lr == lr_) return;
    lr_ = lr, changed_ = true;
    auto* values = schedule_->host().mutable_data<double>();
    for (const ParameterGroup& g : groups_) *values++ = lr * g.lr_scale, *values++ = g.weight_decay;
  }
  /// f64 [groups, 2] on the device: learning rate and decay, as they are now.
  const Tensor& schedule() {
    if (capturing(schedule_->device().device())) {
      schedule_->send();  // recorded, not done: a refused recording must leave the change to be told
    } else if (std::exchange(changed_, false)) {
      schedule_->send();
    }
    return schedule_->device();
  }

  std::vector<std::string> names;
  std::vector<Tensor> params;
  std::vector<int64_t> group_of;
  ops::MultiTensorCache cache;

 private:
  std::vector<ParameterGroup> groups_;
  std::optional<Upload> schedule_;
  double lr_ = -1;
  bool changed_ = false;  ///< since the device was told
};

class AdamW final : public Optimizer {
 public:
  AdamW(std::vector<ParameterGroup> groups, const AdamWConfig& config)
      : lists_(std::move(groups)),
        config_(config),
        exp_avg_(lists_.states()),
        exp_avg_sq_(lists_.states()),
        steps_(zeros({}, {Dtype::f64, lists_.params[0].device()})) {}

  void set_lr(double lr) override { lists_.set_lr(lr); }
  void update(const UpdateOptions& options) override {
    const NoGrad no_grad;
    const std::vector<Tensor> grads = lists_.grads();
    ops::adamw_({.params = lists_.params,
                 .grads = grads,
                 .exp_avg = exp_avg_,
                 .exp_avg_sq = exp_avg_sq_,
                 .groups = lists_.group_of},
                lists_.schedule(), steps_,
                {.beta1 = config_.beta1,
                 .beta2 = config_.beta2,
                 .eps = config_.eps,
                 .gradient_factor = options.gradient_factor,
                 .condition = options.condition,
                 .cache = &lists_.cache});
  }
  NamedTensors state_dict() const override {
    NamedTensors list{{"step", steps_}};
    for (size_t i = 0; i < lists_.names.size(); ++i) {
      list.emplace_back("exp_avg." + lists_.names[i], exp_avg_[i]);
      list.emplace_back("exp_avg_sq." + lists_.names[i], exp_avg_sq_[i]);
    }
    return list;
  }

 private:
  Lists lists_;
  AdamWConfig config_;
  std::vector<Tensor> exp_avg_, exp_avg_sq_;
  Tensor steps_;
};

class Sgd final : public Optimizer {
 public:
  Sgd(std::vector<ParameterGroup> groups, const SgdConfig& config)
      : lists_(std::move(groups)), config_(config), momenta_(config.momentum > 0 ? lists_.states() : Gradients()) {}

  void set_lr(double lr) override { lists_.set_lr(lr); }
  void update(const UpdateOptions& options) override {
    const NoGrad no_grad;
    const std::vector<Tensor> grads = lists_.grads();
    ops::sgd_({.params = lists_.params, .grads = grads, .momenta = momenta_, .groups = lists_.group_of},
              lists_.schedule(),
              {.momentum = config_.momentum,
               .nesterov = config_.nesterov && config_.momentum > 0,
               .gradient_factor = options.gradient_factor,
               .condition = options.condition,
               .cache = &lists_.cache});
  }
  NamedTensors state_dict() const override {
    NamedTensors list;
    for (size_t i = 0; i < momenta_.size(); ++i) list.emplace_back("momentum." + lists_.names[i], momenta_[i]);
    return list;
  }

 private:
  Lists lists_;
  SgdConfig config_;
  std::vector<Tensor> momenta_;
};

}  // namespace

std::vector<ParameterGroup> decay_groups(const NamedTensors& parameters, double weight_decay, bool decay_rpe) {
  std::vector<ParameterGroup> groups{{.weight_decay = 0}, {.weight_decay = weight_decay}};
  for (const auto& [name, t] : parameters) {
    const bool listed = name == "pos_embed" || name == "cls_token" || name == "absolute_pos_embed";
    const bool table = name.find("lookup_table_") != std::string::npos;
    const bool free = t.dim() == 1 || name.ends_with(".bias") || name.ends_with("relative_position_bias_table") ||
                      listed || (table && !decay_rpe);
    groups[free ? 0 : 1].parameters.emplace_back(name, t);
  }
  return groups;
}

void Optimizer::load_state_dict(const NamedTensors& values) { copy_by_name("optimizer state", state_dict(), values); }

std::unique_ptr<Optimizer> make_adamw(std::vector<ParameterGroup> groups, const AdamWConfig& config) {
  return std::make_unique<AdamW>(std::move(groups), config);
}
std::unique_ptr<Optimizer> make_sgd(std::vector<ParameterGroup> groups, const SgdConfig& config) {
  return std::make_unique<Sgd>(std::move(groups), config);
}

}  // namespace vitrine::nn
