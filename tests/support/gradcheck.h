#pragma once
#include <string>

#include "tests/support/op_spec.h"

/// Gradients against central differences, in f64, on any device. Used by the sweep and by `vitrine gradcheck`.
namespace vitrine::testing {

/// The largest disagreement between the gradients of one sample and central differences.
struct GradcheckResult {
  std::string op, sample;
  Device device;
  /// Largest |analytic - numeric| / max(1e-3, m), where m is the largest |numeric| gradient of the same input (in a
  /// projection: the norm of the whole gradient). A NaN counts as infinite.
  double max_error = 0;
  double tolerance = 0;
  bool passed = false;
  /// The worst place: input, index, analytic and numeric value; or the exception's message; or why nothing was checked.
  std::string detail;
};

/// Compares d/dx <c, f(x)> from the tape with (f(x + h) - f(x - h)) / 2h, h = 1e-5 max(1, |x|), on `device`. The
/// cotangent c is random: ones cannot see ops whose outputs have a constant sum. An op with several outputs is also
/// checked with a cotangent for each output alone. If the Jacobian has at most 4096 entries (and, off the CPU, at most
/// 48 input elements) every input element is moved; otherwise all move at once along each of 3 random directions, and
/// only a failure looks for the element. Does not throw: an exception of the op is a failed result.
GradcheckResult gradcheck(const OpSpec& spec, const Sample& sample, Device device);

}  // namespace vitrine::testing
