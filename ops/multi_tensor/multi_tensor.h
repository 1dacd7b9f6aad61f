#pragma once
#include <span>
#include <vector>

#include "core/tensor.h"

/// Optimizer steps and norms over whole lists of tensors, each in one or two launches. In-place functions: they record
/// nothing, have no derivative, and throw AutogradError if recording is on and a tensor they write needs a gradient.
///
/// Lists that belong together have the same length, shapes and device. Tensors that are written must be contiguous; an
/// undefined gradient leaves its parameter and state untouched. Arithmetic and state are in accumulate_t of the
/// parameters' dtype (f64 for f64, else f32). Tensors of no elements are passed over.
namespace vitrine::ops {

/// Remembers the table of pointers that a call made. The next call with the same tensors at the same addresses neither
/// allocates nor copies it, as a step inside a captured graph must not. One cache per call site.
class MultiTensorCache {
 public:
  /// The table i64 [chunks, columns] for these rows of numbers on this device, made anew if they differ from the last.
  const Tensor& table(std::vector<int64_t> key, Device device,
                      std::vector<int64_t> (*make)(const std::vector<int64_t>&), int64_t columns);

 private:
  std::vector<int64_t> key_;
  Tensor table_;
};

/// What adamw_ updates: as many entries in each list.
struct AdamWLists {
  std::span<const Tensor> params, grads;        ///< same floating dtype
  std::span<const Tensor> exp_avg, exp_avg_sq;  ///< f32 (f64 for f64 params), zeros before the first step
  std::span<const Tensor> copies = {};          ///< empty, or bf16: receive the new parameters; undefined: no copy
  std::span<const int64_t> groups = {};         ///< row of `schedule` per tensor; empty: row 0 for all
};
struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  Tensor gradient_factor = {};  ///< a scalar of the state's dtype that multiplies every gradient (clip_factor)
  Tensor condition = {};        ///< a bool scalar (both_finite): where it is false, nothing is changed
  MultiTensorCache* cache = nullptr;
};
/// One AdamW step (Loshchilov, Hutter 2019, "Decoupled weight decay regularization", algorithm 2; rounding as PyTorch):
///
///     t = step + 1;   p *= 1 - lr wd;   m += (1 - beta1) (g - m);   v = beta2 v + (1 - beta2) g^2
///     p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
///
/// @param schedule  f64 [groups, 2] on the parameters' device: learning rate and weight decay of each group
/// @param step      f64 [] on that device: steps taken so far; one is added
/// @throws ShapeError, DtypeError, DeviceError, ValueError, AutogradError, naming list and index
void adamw_(const AdamWLists& lists, const Tensor& schedule, Tensor& step, const AdamWOptions& options = {});

/// What sgd_ updates.
struct SgdLists {
  std::span<const Tensor> params, grads;  ///< same floating dtype
  std::span<const Tensor> momenta = {};   ///< f32 (f64 for f64 params), zeros before the first step; empty: no momentum
  std::span<const int64_t> groups = {};   ///< row of `schedule` per tensor; empty: row 0 for all
};
struct SgdOptions {
  double momentum = 0;  ///< needs `momenta` if not 0
  bool nesterov = false;
  Tensor gradient_factor = {};  ///< as in AdamWOptions
  Tensor condition = {};        ///< as in AdamWOptions
  MultiTensorCache* cache = nullptr;
};
/// One step of stochastic gradient descent as PyTorch takes it (Sutskever et al. 2013; dampening 0):
///
///     g += wd p;   b = momentum b + g;   p -= lr (nesterov ? g + momentum b : b)
///
/// @param schedule  f64 [groups, 2] on the parameters' device: learning rate and weight decay of each group
/// @throws as adamw_
void sgd_(const SgdLists& lists, const Tensor& schedule, const SgdOptions& options = {});

/// Euclidean norm of all elements of all tensors together: a scalar f32 (f64 for f64) on their device, not read by the
/// host. Undefined tensors are passed over. The order of the sum depends on the shapes alone.
/// @throws ValueError if no tensor is defined; DtypeError, DeviceError
Tensor global_norm(std::span<const Tensor> tensors, MultiTensorCache* cache = nullptr);

/// min(1, max_norm / (norm + 1e-6)), NaN for NaN: a scalar like `norm`.
/// @throws DtypeError, ShapeError if norm is not an f32 or f64 scalar, ValueError if max_norm is negative
Tensor clip_factor(const Tensor& norm, double max_norm);

/// Whether two scalars are finite, such as a loss and the norm of its gradient: bool [] on their device, not read by
/// the host. @throws ShapeError, DtypeError, DeviceError unless they are f32 or f64 scalars, alike
Tensor both_finite(const Tensor& a, const Tensor& b);

/// Multiplies all tensors by clip_factor(global_norm(tensors), max_norm) in place.
/// @return the norm before
/// @throws as global_norm and clip_factor
Tensor clip_by_norm_(std::span<const Tensor> tensors, double max_norm, MultiTensorCache* cache = nullptr);

/// Exponential moving average:  average = decay * average + (1 - decay) * value, for lists of one dtype.
/// @param condition  as in AdamWOptions
/// @throws as adamw_; ValueError if decay is outside [0, 1]
void ema_update_(std::span<const Tensor> averages, std::span<const Tensor> values, double decay,
                 MultiTensorCache* cache = nullptr, const Tensor& condition = {});

}  // namespace vitrine::ops
