#include "tests/support/op_spec.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/text.h"

namespace vitrine::testing {
namespace {

constexpr TensorOptions kF64{.dtype = Dtype::f64};

std::vector<OpSpec>& registry() {
  static std::vector<OpSpec> specs;
  return specs;
}

/// "ops/softmax/softmax_samples.cpp" gives "softmax", "tests/core/view_samples.cpp" gives "core": the last folder.
std::string folder_of(const std::string& file) {
  const size_t end = file.find_last_of('/');
  if (end == std::string::npos) return {};
  const size_t begin = file.find_last_of('/', end - 1);
  return begin == std::string::npos ? file.substr(0, end) : file.substr(begin + 1, end - begin - 1);
}

bool near_kink(double x, const std::vector<double>& kinks, double gap) {
  return std::any_of(kinks.begin(), kinks.end(), [&](double k) { return std::abs(x - k) < gap; });
}

}  // namespace

Tensor Maker::normal(const Shape& shape, double mean, double std) {
  return random_normal(shape, generator_, mean, std, kF64);
}

Tensor Maker::uniform(const Shape& shape, double low, double high) {
  return random_uniform(shape, generator_, low, high, kF64);
}

Tensor Maker::away_from(const std::vector<double>& kinks, const Shape& shape, double low, double high, double gap) {
  std::vector<double> values = uniform(shape, low, high).to_vector();
  // Each round redraws what is still too close; 64 rounds leave nothing unless the kinks fill the interval.
  for (int round = 0; round < 64; ++round) {
    const std::vector<double> fresh = uniform(shape, low, high).to_vector();
    for (size_t i = 0; i < values.size(); ++i)
      if (near_kink(values[i], kinks, gap)) values[i] = fresh[i];
  }
  for (double v : values)
    check<ValueError>(!near_kink(v, kinks, gap), "away_from: [{}, {}] has no room {} away from its kinks", low, high,
                      gap);
  return from_vector(values, shape, kF64);
}

Tensor Maker::distinct(const Shape& shape, double low, double high) {
  const size_t n = static_cast<size_t>(shape.numel());
  const std::vector<double> keys = uniform(shape, 0, 1).to_vector();
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t(0));
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return keys[a] < keys[b]; });
  std::vector<double> values(n);
  for (size_t i = 0; i < n; ++i) values[order[i]] = low + (high - low) * double(i) / double(n);
  return from_vector(values, shape, kF64);
}

Tensor Maker::integers(const Shape& shape, int64_t low, int64_t high, Dtype dtype) {
  return random_integers(shape, generator_, low, high, {.dtype = dtype});
}

Tensor Maker::booleans(const Shape& shape, double probability) {
  std::vector<double> values = uniform(shape, 0, 1).to_vector();
  for (double& v : values) v = v < probability;
  return from_vector(values, shape, {.dtype = Dtype::boolean});
}

Tensor Maker::with_nan(const Shape& shape) {
  std::vector<double> values = normal(shape).to_vector();
  values.at(values.size() / 2) = NAN;
  return from_vector(values, shape, kF64);
}

Outputs OpSpec::run(const Sample& sample, const Inputs& inputs) const {
  if (const auto* function = std::get_if<Sample::Function>(&sample.how)) return (*function)(inputs);
  check<ValueError>(bool(call), "{}: sample \"{}\" gives attributes, but the spec has no .call", name, sample.label);
  Inputs padded = inputs;
  if (padded.size() < arguments.size()) padded.resize(arguments.size());
  return call(padded, std::get<Attributes>(sample.how));
}

Register::Register(OpSpec spec, const char* file) {
  spec.folder = folder_of(file);
  const auto at = std::upper_bound(registry().begin(), registry().end(), spec.name,
                                   [](const std::string& n, const OpSpec& s) { return n < s.name; });
  registry().insert(at, std::move(spec));
}

const std::vector<OpSpec>& op_specs() { return registry(); }

const OpSpec& find_op_spec(const std::string& name) {
  for (const OpSpec& spec : op_specs())
    if (spec.name == name) return spec;
  std::vector<std::string> names;
  for (const OpSpec& spec : op_specs()) names.push_back(spec.name);
  throw ValueError(format("unknown op \"{}\"; the nearest are: {}", name, nearest(name, names)));
}

}  // namespace vitrine::testing
