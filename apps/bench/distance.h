#pragma once
#include <cmath>

#include "core/tensor.h"

/// How a bench judges results: by relative L2 distances to those of an f64 run.
namespace vitrine::apps {

/// The relative L2 distance ||a - b|| / ||b|| over all elements of one or several pairs of tensors, in f64.
class Distance {
 public:
  /// Takes a pair in. @return that of the pair alone
  Distance add(const Tensor& a, const Tensor& b) {
    const std::vector<double> x = a.to_vector(), y = b.to_vector();
    Distance pair;
    for (size_t i = 0; i < x.size(); ++i) pair.squares_ += (x[i] - y[i]) * (x[i] - y[i]), pair.norm_ += y[i] * y[i];
    squares_ += pair.squares_, norm_ += pair.norm_;
    return pair;
  }
  double value() const { return std::sqrt(norm_ > 0 ? squares_ / norm_ : squares_); }
  double difference() const { return std::sqrt(squares_); }  ///< ||a - b||
  double norm() const { return std::sqrt(norm_); }           ///< ||b||

 private:
  double squares_ = 0, norm_ = 0;
};

inline double relative_l2(const Tensor& a, const Tensor& b) { return Distance().add(a, b).value(); }

/// What rounding alone explains: f32 sums of thousands of terms in any order; in bf16, whose sums are f32, one rounding
/// of each result to nearest and one of what was saved.
inline double rounding(Dtype d) { return d == Dtype::bf16 ? epsilon(d) / 2 : 8 * epsilon(d); }

}  // namespace vitrine::apps
