#pragma once
#include "nn/optim/ema.h"

namespace vitrine::apps {

/// In its scope the model computes with its averaged weights; afterwards it has its own again, to the bit.
class AveragedWeights {
 public:
  AveragedWeights(const nn::Module& model, const nn::Ema& ema) {
    for (const auto& [name, t] : model.state_dict())
      if (is_floating(t.dtype())) values_.push_back(t), own_.push_back(t.detach().clone());
    size_t i = 0;
    const NoGrad no_grad;
    for (const auto& [name, average] : ema.state_dict()) values_[i++].copy_(average);  // lists what state_dict() does
  }
  ~AveragedWeights() {
    const NoGrad no_grad;
    for (size_t i = 0; i < values_.size(); ++i) values_[i].copy_(own_[i]);
  }
  AveragedWeights(const AveragedWeights&) = delete;
  AveragedWeights& operator=(const AveragedWeights&) = delete;

 private:
  std::vector<Tensor> values_, own_;
};

}  // namespace vitrine::apps
