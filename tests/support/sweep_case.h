#pragma once
#include <functional>
#include <string>
#include <vector>

#include "tests/support/evaluate.h"
#include "tests/support/sweep.h"

/// What the properties of the sweep share; private to tests/support/sweep*.cpp.
namespace vitrine::testing {

/// The tolerance that asks for equal bits.
inline constexpr double kEqualBits = -1;
/// Results as a whole: of 16-bit sums the worst was 1.03 eps where its size (root mean square) is above 0.05. Far below
/// kNormFloor they are held to an absolute error, as small differences of rounded numbers about 1.
inline constexpr double kNormEpsilons = 2, kNormFloor = 0.35;

/// One sample under test: where failures are reported, and how it is run.
class Case {
 public:
  Case(const OpSpec& the_spec, const Sample& the_sample, const char* property, Device device, Failures& failures)
      : spec(the_spec), sample(the_sample), property_(property), device_(device), failures_(failures) {}

  void fail(const std::string& what) const;
  /// Reports a mismatch (what compare() returned) of `where` ("out", "gradient of x"), if it is not empty. `note` says
  /// which variant it was.
  void expect(const std::string& mismatch, const std::string& where, const std::string& note) const;
  /// Reports elements that no kernel wrote.
  void expect_written(const Evaluation& e, const std::string& note) const;
  /// Compares outputs and gradients; in equal bits if tolerance is kEqualBits.
  void expect_same(const Evaluation& expected, const Evaluation& got, double tolerance, const std::string& note) const;
  /// Compares each output and gradient as a whole (compare_norms), within kNormEpsilons eps(dtype), widened as the
  /// sample says.
  void expect_near(const Evaluation& expected, const Evaluation& got, Dtype dtype, const std::string& note) const;

  Outputs run(const Inputs& inputs) const { return spec.run(sample, inputs); }
  Runner runner() const {
    return [this](const Inputs& inputs) { return run(inputs); };
  }
  /// Which of `inputs` take a gradient; none if only values are compared.
  std::vector<bool> wanted(const Inputs& inputs) const;
  /// 4 * eps(dtype) * sqrt(k), widened as the sample says (architecture section 9).
  double tolerance(Dtype dtype) const;
  /// Forward and, if the sample is differentiable, backward; `seed` chooses the cotangents, rounded to `dtype`.
  Evaluation pass(const Inputs& inputs, Dtype dtype) const;
  Evaluation pass(const Inputs& inputs, const std::vector<Tensor>& cotangents) const;
  /// The cotangents that pass(inputs, dtype) uses.
  std::vector<Tensor> cotangents(const Inputs& inputs, Dtype dtype) const;
  bool allows(Dtype dtype) const;

  const OpSpec& spec;
  const Sample& sample;

 private:
  const char* property_;
  Device device_;
  Failures& failures_;
};

/// The samples of the sweep: not those for timing and, in the check flavour or where VITRINE_SWEEP_SMALL is set, only
/// small ones.
std::vector<Sample> sweep_samples(const OpSpec& spec);
bool has_empty_input(const Sample& sample);

/// Calls `body(case)` for every sample with memory checks on; an exception is a failure of its sample.
Failures for_each_case(const OpSpec& spec, const char* property, Device device,
                       const std::function<void(const Case&)>& body);

}  // namespace vitrine::testing
