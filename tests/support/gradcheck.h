#pragma once
#include <string>

#include "tests/support/op_spec.h"

/// Gradients against central differences, in f64, on any device. Used by the sweep and by `vitrine gradcheck`.
namespace vitrine::testing {

/// The largest disagreement between the gradients of one sample and central differences.
struct GradcheckResult {
  std::string op, sample;
  Device device;
  double max_error =
      0;  ///< largest |analytic - numeric| / (1 + max(|analytic|, |numeric|)); NaN and infinity count as infinite
  double tolerance = 0;
  bool passed = false;
  /// The worst place: input, index, analytic and numeric value; or the exception's message.
  std::string detail;
};

/// Compares d/dx <c, f(x)> from the tape with central differences on `device`, for a random cotangent c: a cotangent
/// of ones cannot see ops whose outputs have a constant sum. With at most 4096 Jacobian entries (floating inputs
/// elements times floating output elements) every input element is moved; otherwise each of 3 random directions moves
/// all of them at once. Does not throw: an exception of the op is a failed result.
GradcheckResult gradcheck(const OpSpec& spec, const Sample& sample, Device device);

}  // namespace vitrine::testing
