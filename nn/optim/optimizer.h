#pragma once
#include <memory>
#include <string>

#include "nn/module.h"
#include "ops/multi_tensor/multi_tensor.h"

namespace vitrine::nn {

/// Parameters that share a learning rate and a weight decay.
struct ParameterGroup {
  NamedTensors parameters = {};
  double weight_decay = 0;
  double lr_scale = 1;  ///< of the optimizer's learning rate
};

/// The two groups of DeiT's recipe (deit 4.3): first, without decay, every parameter of one dim, every name that ends
/// in ".bias" or, Swin's, "relative_position_bias_table", and pos_embed, cls_token, absolute_pos_embed; then all
/// others, iRPE's tables among them unless `decay_rpe` is false (the paper's text; the published program decays them).
std::vector<ParameterGroup> decay_groups(const NamedTensors& parameters, double weight_decay, bool decay_rpe = true);

/// Options of Optimizer::update.
struct UpdateOptions {
  Tensor gradient_factor = {};  ///< multiplies every gradient (ops::clip_factor)
  Tensor condition = {};        ///< where it is false, nothing is changed (ops::both_finite)
};

/// Updates parameters from their gradients. A parameter without a gradient is left alone.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// The learning rate from now on, also of updates in a captured graph: set it as Upload::host() may be written.
  virtual void set_lr(double lr) = 0;
  /// One step at the learning rate that was set.
  virtual void update(const UpdateOptions& options = {}) = 0;
  /// One step at learning rate `lr`.
  void step(double lr, const Tensor& gradient_factor = {}) {
    set_lr(lr);
    update({.gradient_factor = gradient_factor});
  }
  /// State by name ("exp_avg.blocks.0.norm1.weight", ..., "step"), to be saved; the tensors are the live ones.
  virtual NamedTensors state_dict() const = 0;
  /// Copies a saved state. @throws ShapeError naming what is missing or does not fit
  void load_state_dict(const NamedTensors& values);
};

struct AdamWConfig {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
};
/// AdamW (ops::adamw_) over all groups in one launch.
std::unique_ptr<Optimizer> make_adamw(std::vector<ParameterGroup> groups, const AdamWConfig& config = {});

struct SgdConfig {
  double momentum = 0.9;
  bool nesterov = true;
};
/// SGD (ops::sgd_) over all groups in one launch.
std::unique_ptr<Optimizer> make_sgd(std::vector<ParameterGroup> groups, const SgdConfig& config = {});

}  // namespace vitrine::nn
