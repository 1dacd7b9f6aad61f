#pragma once
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "core/attributes.h"
#include "core/autograd.h"
#include "core/random.h"
#include "core/tensor.h"

/// How an op describes itself to the tests and to the program: its samples, its plain definition, the errors it must
/// raise. Spec files (ops/*/*_samples.cpp) are linked into the program and the tests, never into the library.
namespace vitrine::testing {

using Inputs = std::vector<Tensor>;
/// What a call returns: one tensor or several.
struct Outputs : std::vector<Tensor> {
  using vector::vector;
  Outputs(const Tensor& t) : vector{t} {}
  template <size_t N>
  Outputs(const std::array<Tensor, N>& a) : vector(a.begin(), a.end()) {}
};

/// Makes the inputs of samples: f64 on the CPU, deterministic, drawn per spec. The sweep converts them to the dtype and
/// device under test.
class Maker {
 public:
  explicit Maker(uint64_t seed) : generator_{seed, 0} {}
  Tensor normal(const Shape& shape, double mean = 0, double std = 1);
  Tensor uniform(const Shape& shape, double low, double high);
  /// Values in [low, high] that keep at least `gap` away from each of `kinks`, where a derivative jumps.
  Tensor away_from(const std::vector<double>& kinks, const Shape& shape, double low, double high, double gap = 0.05);
  /// 0, 1/n, 2/n, ... shuffled and scaled to [low, high]: all different, for max and argmax.
  Tensor distinct(const Shape& shape, double low = -1, double high = 1);
  Tensor integers(const Shape& shape, int64_t low, int64_t high, Dtype dtype = Dtype::i64);  ///< in [low, high)
  Tensor booleans(const Shape& shape, double probability = 0.5);
  Tensor with_nan(const Shape& shape);  ///< standard normal, but for a NaN in the middle of the row-major order

 private:
  Generator generator_;
};

/// One call of an op: its tensors, and its attributes (for OpSpec::call) or a function of the tensors.
/// Floating inputs are f64 and follow the dtype under test; integer and boolean ones stay as they are.
struct Sample {
  using Function = std::function<Outputs(const Inputs&)>;
  Sample(Inputs in, Attributes attributes, std::string label_)
      : inputs(std::move(in)), how(std::move(attributes)), label(std::move(label_)) {}
  template <class F>
  requires std::is_invocable_r_v<Outputs, F, const Inputs&> Sample(Inputs in, F call, std::string label_)
      : inputs(std::move(in)), how(Function(std::move(call))), label(std::move(label_)) {}

  /// The number of terms in the longest sum: tolerances are 4 * eps * sqrt(k) (architecture section 9). Default 1.
  Sample reduces(int64_t k) && { return reduction = k, std::move(*this); }
  /// Multiplies the tolerance; `reason` is printed with a failure.
  Sample widen(double factor, std::string why) && {
    return tolerance_factor = factor, reason = std::move(why), std::move(*this);
  }
  /// Restricts the floating dtypes of the device comparison (the gradient check in f64 always runs).
  Sample only(std::vector<Dtype> list) && { return dtypes = std::move(list), std::move(*this); }
  /// Only values are compared: integer outputs, or a point without derivative.
  Sample values_only() && { return differentiable = false, std::move(*this); }
  /// For `vitrine bench ops`: flops and bytes moved by one forward call. A bench sample is big and is not part of the
  /// sweep.
  Sample bench(double flops_, double bytes_) && {
    return benchmark = true, flops = flops_, bytes = bytes_, std::move(*this);
  }

  Inputs inputs;
  std::variant<Attributes, Function> how;
  std::string label;
  int64_t reduction = 1;
  double tolerance_factor = 1;
  std::string reason;
  std::vector<Dtype> dtypes = {Dtype::f64, Dtype::f32, Dtype::bf16, Dtype::f16};
  bool differentiable = true;
  bool benchmark = false;
  double flops = 0, bytes = 0;
};

/// A call that must throw an error of the library with exactly this message.
struct ErrorSample {
  std::function<void()> call;
  std::string message;
};

struct OpSpec {
  using Call = std::function<Outputs(const Inputs&, const Attributes&)>;

  std::string name;
  /// Names of the tensor arguments in order; trailing ones may be left undefined. Needed with `call`.
  std::vector<std::string> arguments = {};
  /// Arguments that are floating but take no gradient (a mask, class weights).
  std::vector<std::string> constants = {};
  /// Names of the outputs; {"out"} if empty.
  std::vector<std::string> results = {};
  /// The op by name: what probe, gradcheck, bench and the sweep run. Prefer this to a function per sample.
  Call call = {};
  /// The same in simpler ops; required for every fused op. Values and gradients are compared.
  Call reference = {};
  /// The values alone, in plain loops of double, for an op that simpler ones do not make up. Its gradients are compared
  /// with central differences.
  Call values = {};
  std::function<std::vector<Sample>(Maker&)> samples;
  /// Large inputs for `vitrine bench ops`, f32 CPU tensors, each marked .bench(flops, bytes).
  std::function<std::vector<Sample>(Maker&)> benches = {};
  std::function<std::vector<ErrorSample>(Maker&)> errors = {};
  /// Has no kernels of its own, but runs other ops or the kernels of another folder.
  bool composite = false;
  /// Why no sample has an empty dim, if none can (the sweep requires one otherwise).
  std::string never_empty = {};
  /// Folder under ops/ (or "core"), filled in by Register from the file name.
  std::string folder = {};

  Outputs run(const Sample& sample, const Inputs& inputs) const;
};

/// A namespace-scope object that adds a spec to the registry.
struct Register {
  explicit Register(OpSpec spec, const char* file = __builtin_FILE());
};
/// All registered specs, by name.
const std::vector<OpSpec>& op_specs();
/// @throws ValueError naming the nearest valid names
const OpSpec& find_op_spec(const std::string& name);

}  // namespace vitrine::testing
