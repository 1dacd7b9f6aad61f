#pragma once
#include <string>
#include <vector>

#include "tests/support/op_spec.h"

/// Runs samples forward and backward, and compares what comes out. What gradcheck and the sweep are made of.
namespace vitrine::testing {

/// Whether input `i` is a floating tensor that takes a gradient.
bool takes_gradient(const OpSpec& spec, const Inputs& inputs, size_t i);
/// The name of input `i`: that of the spec, else "input 2".
std::string argument_name(const OpSpec& spec, size_t i);
/// The name of output `i`: that of the spec, "out" for the only one, else "output 1".
std::string result_name(const OpSpec& spec, size_t i, size_t count);

/// `inputs` on `device`, the floating ones rounded to `dtype`; not recorded. A permuted input stays permuted.
Inputs convert(const Inputs& inputs, Dtype dtype, Device device);
/// A standard normal cotangent for each floating output, rounded to `dtype` and then given the output's dtype and
/// device; undefined for integer outputs. Equal seeds give equal values whatever the device.
std::vector<Tensor> random_cotangents(const Outputs& outputs, Dtype dtype, uint64_t seed);

/// Values and gradients of one pass. A gradient nobody takes is undefined; one that the tape leaves out is zero.
struct Evaluation {
  Outputs outputs;
  std::vector<Tensor> gradients;  ///< one per input
};
using Runner = std::function<Outputs(const Inputs&)>;

/// Outputs of `run(inputs)` without recording.
Outputs forward(const Runner& run, const Inputs& inputs);
/// Runs forward on fresh leaves that share the memory of `inputs`, then backward from sum_i <cotangents[i], out[i]>.
/// `wanted[i]` says whether input i takes a gradient. Inputs keep their strides.
Evaluation evaluate(const Runner& run, const Inputs& inputs, const std::vector<bool>& wanted,
                    const std::vector<Tensor>& cotangents);
/// The root of a recorded pass: what evaluate() calls backward on. Its edges lead to the nodes of the outputs.
/// Undefined if no output is recorded.
Tensor contract(const Outputs& outputs, const std::vector<Tensor>& cotangents);

/// The nodes below `root`, each once, newest first.
std::vector<std::shared_ptr<Node>> nodes_below(const Tensor& root);

/// While it lives, evaluate() multiplies the gradient that nodes called `node` return for input `input` (-1: for all)
/// by `factor`, or adds `factor` to it if it is zero throughout: what a wrong vjp would do. The sweep must notice; it
/// does not touch the library, but replaces nodes on the finished tape. Also set by
/// VITRINE_MUTATE_VJP=node[:input[:factor]].
class VjpMutation {
 public:
  VjpMutation(std::string node, int input, double factor);
  ~VjpMutation();
  VjpMutation(const VjpMutation&) = delete;
  VjpMutation& operator=(const VjpMutation&) = delete;
};

/// Empty if every element satisfies |got - expected| <= tolerance * (1 + |expected|); else what is wrong at the element
/// that exceeds it by most, "[1, 0, 3] is 0.5, expected 0.25, allowed difference 1e-06", or the two shapes. A NaN or an
/// infinity is only within tolerance of itself; integers and booleans must be equal. Dtypes and devices may differ.
std::string compare(const Tensor& expected, const Tensor& got, double tolerance);
/// Empty if the tensors as a whole are near: |got - expected| <= tolerance (|expected| + floor) in root mean squares of
/// all elements; else what was found. Where a sum over many rounded terms leaves each element much room, this leaves
/// none to a factor or a wrong term that all of them share. Elements that are infinite or NaN in both count as equal.
std::string compare_norms(const Tensor& expected, const Tensor& got, double tolerance, double floor);
/// As compare, but every bit must be equal (all NaNs are one).
std::string compare_bits(const Tensor& expected, const Tensor& got);
/// The index of an element that still holds the filling of set_memory_checks (all bits one); empty if there is none or
/// the dtype has no NaN.
std::string unwritten(const Tensor& x);
/// `x` with 12 digits: enough to see what a test compares.
std::string digits(double x);
/// The multi-index of the i-th element in row-major order, "[1, 0, 3]".
std::string index_text(const Shape& shape, int64_t i);

}  // namespace vitrine::testing
