#pragma once
#include "nn/module.h"
#include "ops/multi_tensor/multi_tensor.h"

namespace vitrine::nn {

/// Exponential moving average of a model's weights:  e = decay e + (1 - decay) w, from a copy of w (timm's ModelEma).
class Ema {
 public:
  Ema(const Module& model, double decay) : decay_(decay) {
    const NoGrad no_grad;
    for (const auto& [name, t] : model.state_dict()) {
      if (!is_floating(t.dtype())) continue;
      values_.push_back(t);
      averages_.push_back(t.detach().clone());
      names_.push_back(name);
    }
  }
  /// @param condition  where it is false, nothing is changed (ops::both_finite)
  void update(const Tensor& condition = {}) {
    const NoGrad no_grad;
    ops::ema_update_(averages_, values_, decay_, &cache_, condition);
  }
  /// The averages by the names of the weights; the tensors are the live ones.
  NamedTensors state_dict() const {
    NamedTensors list;
    for (size_t i = 0; i < names_.size(); ++i) list.emplace_back(names_[i], averages_[i]);
    return list;
  }
  /// @throws ShapeError naming what is missing or does not fit
  void load_state_dict(const NamedTensors& values) { copy_by_name("averaged weights", state_dict(), values); }

 private:
  double decay_;
  std::vector<Tensor> values_, averages_;
  std::vector<std::string> names_;
  ops::MultiTensorCache cache_;
};

}  // namespace vitrine::nn
