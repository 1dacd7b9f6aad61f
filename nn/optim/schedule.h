#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace vitrine::nn {

/// DeiT's learning rate over time t in epochs (deit 4.2): linear warm-up, then one half period of a cosine whose
/// argument starts at t = 0, not at the end of the warm-up:
///
///     lr(t) = warmup_lr + t (base - warmup_lr) / warmup_epochs                t < warmup_epochs
///     lr(t) = min_lr + (base - min_lr) (1 + cos(pi t / epochs)) / 2           t < epochs;  min_lr from then on
///
/// The reference evaluates it at whole epochs; a fractional t gives the same curve step by step.
struct CosineSchedule {
  double base = 1e-3, warmup_lr = 1e-6, min_lr = 1e-5;
  double epochs = 300, warmup_epochs = 5;

  double operator()(double t) const {
    if (t < warmup_epochs) return warmup_lr + t * (base - warmup_lr) / warmup_epochs;
    if (t >= epochs) return min_lr;
    return min_lr + 0.5 * (base - min_lr) * (1 + std::cos(std::numbers::pi * t / epochs));
  }
  /// The rate of all of epoch e, counted from 0, in the reference program: it moves on at the end of an epoch to the
  /// number of that epoch, so that epochs 0 and 1 both have lr(0). (Resumed, it does not go back by one; we do.)
  double in_epoch(int64_t e) const { return (*this)(double(std::max<int64_t>(0, e - 1))); }
};

}  // namespace vitrine::nn
