#pragma once
#include <string>
#include <vector>

#include "tests/support/op_spec.h"

/// The properties that every op must have (architecture section 4), each a function of a spec and a device that returns
/// what went wrong. tests/ops/test_sweep.cpp runs them all.
namespace vitrine::testing {

/// One line per failure: property, op, sample, device, dtype, place, both values.
using Failures = std::vector<std::string>;

/// The specs to run: all, or those whose name or folder is listed in VITRINE_SWEEP_OPS ("softmax,linear").
std::vector<const OpSpec*> selected_specs();
/// Whether this build and machine can run kernels there.
bool device_present(Device device);

/// 1. Each error sample throws an error of the library with exactly its message.
Failures check_errors(const OpSpec& spec, Device device);
/// 2. Values and gradients equal those of `.reference`, values those of `.values`, in f64.
Failures check_reference(const OpSpec& spec, Device device);
/// 3. Gradients equal central differences (gradcheck.h).
Failures check_gradients(const OpSpec& spec, Device device);
/// 4. In every dtype, values and gradients agree with f64 on the CPU for the same rounded inputs and cotangents.
Failures check_dtypes(const OpSpec& spec, Device device);
/// 5. Inputs and cotangents permuted, narrowed, strided, expanded and offset by one element: same values and gradients.
Failures check_layouts(const OpSpec& spec, Device device);
/// 6. There is a sample with an empty dim (or the spec's reason why not), and it gives the CPU's shapes and writes all
/// of them.
Failures check_empty(const OpSpec& spec, Device device);
/// 7. Two runs, and runs with 1 and 2 threads, are equal in every bit.
Failures check_repeatable(const OpSpec& spec, Device device);
/// 8. Backward throws an AutogradError that names the op when a tensor it saved was changed in place.
Failures check_saved(const OpSpec& spec, Device device);
/// 9. NoGrad records nothing; inputs are not written; memory returns to its starting level; guard zones are whole.
Failures check_hygiene(const OpSpec& spec, Device device);
/// 10. On the emulated device, descending and random orders of threads and blocks give the same bits as ascending.
Failures check_orders(const OpSpec& spec, Device device);
/// 11. The gradient of an input is the same when no other input wants one.
Failures check_partial(const OpSpec& spec, Device device);

/// 13. In every dtype, values and gradients on `device` agree with those of the emulated device for the same inputs and
/// cotangents: integers exactly, floats within the tolerance of 4. Both run the same kernels, but `device` may contract
/// products and sums and has its own exp, erf, ... (cuda-on-cpu.md, section 7.2), so not in every bit.
Failures check_emulated(const OpSpec& spec, Device device);

/// One wrong vjp: the gradient that node `node` returns for input `input`, times `factor`.
struct Falsification {
  std::string node;
  int input;
  double factor;
  bool noticed;  ///< by property 3 or 4 in some sample
};
/// The sweep tested on itself: falsifies each gradient of each node that the op itself records, one at a time.
std::vector<Falsification> falsify_vjps(const OpSpec& spec);
/// 12. Property 3 notices each of them, or property 4 where no node is recorded in f64 (casts).
Failures check_sensitivity(const OpSpec& spec, Device device);

}  // namespace vitrine::testing
