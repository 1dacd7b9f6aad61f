#include "tests/support/sweep_case.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "core/allocator.h"
#include "core/cuda/emulator/emulator.h"

namespace vitrine::testing {
namespace {

/// Switches NaN filling and guard zones on.
class MemoryChecks {
 public:
  MemoryChecks() : previous_(memory_checks()) { set_memory_checks(true); }
  ~MemoryChecks() { set_memory_checks(previous_); }
  MemoryChecks(const MemoryChecks&) = delete;
  MemoryChecks& operator=(const MemoryChecks&) = delete;

 private:
  bool previous_;
};

uint64_t seed_of(const std::string& name) {
  uint64_t h = 0xcbf29ce484222325;  // FNV-1a: the same on every machine, unlike std::hash
  for (char c : name) h = (h ^ uint8_t(c)) * 0x100000001b3;
  return h;
}

int64_t input_elements(const Sample& sample) {
  int64_t n = 0;
  for (const Tensor& x : sample.inputs) n += x.defined() ? x.numel() : 0;
  return n;
}

/// For where every access of a kernel is checked; a sample of this size still has partial tiles.
void keep_small(std::vector<Sample>& samples) {
  constexpr int64_t kSmall = 8192;
  const auto smaller = [](const Sample& a, const Sample& b) { return input_elements(a) < input_elements(b); };
  const auto least = std::min_element(samples.begin(), samples.end(), smaller);
  if (least == samples.end()) return;
  const int64_t limit = std::max(kSmall, input_elements(*least));
  std::erase_if(samples, [&](const Sample& s) { return input_elements(s) > limit; });
}

}  // namespace

void Case::fail(const std::string& what) const {
  std::string line = format("{}: {}", spec.name, property_);
  if (!sample.label.empty()) line += format(", sample \"{}\"", sample.label);
  failures_.push_back(line + format(" on {}: {}", device_, what));
}

void Case::expect(const std::string& mismatch, const std::string& where, const std::string& note) const {
  if (mismatch.empty()) return;
  std::string text = (note.empty() ? "" : note + ": ") + where + mismatch;
  if (sample.tolerance_factor != 1) text += format(" (widened {} times: {})", sample.tolerance_factor, sample.reason);
  fail(text);
}

void Case::expect_written(const Evaluation& e, const std::string& note) const {
  const auto check_one = [&](const Tensor& x, const std::string& where) {
    const std::string index = unwritten(x);
    if (!index.empty()) fail(format("{}: {}{} was never written", note, where, index));
  };
  for (size_t i = 0; i < e.outputs.size(); ++i) check_one(e.outputs[i], result_name(spec, i, e.outputs.size()));
  for (size_t i = 0; i < e.gradients.size(); ++i) check_one(e.gradients[i], "gradient of " + argument_name(spec, i));
}

void Case::expect_same(const Evaluation& expected, const Evaluation& got, double tolerance,
                       const std::string& note) const {
  const auto differ = [&](const Tensor& a, const Tensor& b) -> std::string {
    if (!a.defined() && !b.defined()) return {};
    return tolerance == kEqualBits ? compare_bits(a, b) : compare(a, b, tolerance);
  };
  if (expected.outputs.size() != got.outputs.size())
    return fail(format("{}: {} outputs, expected {}", note, got.outputs.size(), expected.outputs.size()));
  for (size_t i = 0; i < got.outputs.size(); ++i)
    expect(differ(expected.outputs[i], got.outputs[i]), result_name(spec, i, got.outputs.size()), note);
  for (size_t i = 0; i < got.gradients.size(); ++i)
    expect(differ(expected.gradients[i], got.gradients[i]), "gradient of " + argument_name(spec, i), note);
}

void Case::expect_near(const Evaluation& expected, const Evaluation& got, Dtype dtype, const std::string& note) const {
  const double tolerance = kNormEpsilons * epsilon(dtype) * sample.tolerance_factor;
  const auto check_one = [&](const Tensor& a, const Tensor& b, const std::string& where) {
    if (b.defined() && is_floating(b.dtype())) expect(compare_norms(a, b, tolerance, kNormFloor), where, note);
  };
  for (size_t i = 0; i < got.outputs.size() && i < expected.outputs.size(); ++i)
    check_one(expected.outputs[i], got.outputs[i], result_name(spec, i, got.outputs.size()));
  for (size_t i = 0; i < got.gradients.size(); ++i)
    if (got.gradients[i].defined())
      check_one(expected.gradients[i], got.gradients[i], "gradient of " + argument_name(spec, i));
}

std::vector<bool> Case::wanted(const Inputs& inputs) const {
  std::vector<bool> result;
  for (size_t i = 0; i < inputs.size(); ++i) result.push_back(sample.differentiable && takes_gradient(spec, inputs, i));
  return result;
}

double Case::tolerance(Dtype dtype) const {
  return 4 * epsilon(dtype) * std::sqrt(double(std::max<int64_t>(1, sample.reduction))) * sample.tolerance_factor;
}

std::vector<Tensor> Case::cotangents(const Inputs& inputs, Dtype dtype) const {
  return random_cotangents(forward(runner(), inputs), dtype, seed_of(sample.label));
}

Evaluation Case::pass(const Inputs& inputs, Dtype dtype) const {
  return pass(inputs, sample.differentiable ? cotangents(inputs, dtype) : std::vector<Tensor>());
}

Evaluation Case::pass(const Inputs& inputs, const std::vector<Tensor>& cotangents) const {
  if (sample.differentiable) return evaluate(runner(), inputs, wanted(inputs), cotangents);
  return {forward(runner(), inputs), std::vector<Tensor>(inputs.size())};
}

bool Case::allows(Dtype dtype) const {
  return std::find(sample.dtypes.begin(), sample.dtypes.end(), dtype) != sample.dtypes.end();
}

std::vector<Sample> sweep_samples(const OpSpec& spec) {
  Maker maker(seed_of(spec.name));
  std::vector<Sample> samples = spec.samples ? spec.samples(maker) : std::vector<Sample>();
  std::erase_if(samples, [](const Sample& s) { return s.benchmark; });
  if (emulator::flavour() == emulator::Flavour::check || std::getenv("VITRINE_SWEEP_SMALL")) keep_small(samples);
  return samples;
}

bool has_empty_input(const Sample& sample) {
  return std::any_of(sample.inputs.begin(), sample.inputs.end(),
                     [](const Tensor& x) { return x.defined() && x.numel() == 0; });
}

Failures for_each_case(const OpSpec& spec, const char* property, Device device,
                       const std::function<void(const Case&)>& body) {
  const MemoryChecks checks;
  Failures failures;
  for (const Sample& sample : sweep_samples(spec)) {
    const Case c(spec, sample, property, device, failures);
    try {
      body(c);
      check_guards();
    } catch (const std::exception& e) {
      c.fail(e.what());
    }
  }
  return failures;
}

}  // namespace vitrine::testing
