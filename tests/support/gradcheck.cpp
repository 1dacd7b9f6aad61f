#include "tests/support/gradcheck.h"

#include <algorithm>
#include <cmath>

#include "tests/support/evaluate.h"

namespace vitrine::testing {
namespace {

constexpr double kTolerance = 1e-6;
constexpr double kStep = 1e-5;   // near eps^(1/3): truncation and rounding errors are both about 1e-10
constexpr double kFloor = 1e-3;  // gradients below this are compared absolutely, to 1e-9
constexpr int64_t kFullJacobian = 4096;
constexpr int64_t kElementsOffCpu = 48;
constexpr int64_t kSearchedElements = 256;
constexpr int kDirections = 3;

using Values = std::vector<double>;

/// One sample on one device, with the plain numbers that central differences move.
struct Problem {
  const OpSpec& spec;
  const Sample& sample;
  Device device;
  Inputs inputs;
  std::vector<bool> wanted;
  std::vector<Values> values;                        ///< of the wanted inputs
  std::vector<std::vector<Tensor>> cotangents = {};  ///< each pattern: one per output
  std::vector<std::vector<Values>> weights = {};     ///< the same numbers
  std::vector<std::vector<Values>> analytic = {};    ///< [pattern][input]

  Outputs run(const Inputs& in) const { return spec.run(sample, in); }
};

double magnitude(const Values& v) {
  double m = 0;
  for (double x : v) m = std::max(m, std::abs(x));
  return m;
}

int64_t floating_elements(const Problem& p) {
  int64_t n = 0;
  for (const Values& v : p.values) n += int64_t(v.size());
  return n;
}

/// The patterns of cotangents: all outputs and, if there are several, each alone.
void choose_cotangents(Problem& p, const Outputs& outputs) {
  const std::vector<Tensor> all = random_cotangents(outputs, Dtype::f64, 0xC07A);
  p.cotangents.push_back(all);
  const auto floating = std::count_if(all.begin(), all.end(), [](const Tensor& c) { return c.defined(); });
  for (size_t i = 0; i < all.size() && floating > 1; ++i) {
    if (!all[i].defined()) continue;
    std::vector<Tensor> alone(all.size());
    alone[i] = all[i];
    p.cotangents.push_back(alone);
  }
  for (const auto& pattern : p.cotangents) {
    p.weights.emplace_back();
    for (const Tensor& c : pattern) p.weights.back().push_back(c.defined() ? c.to_vector() : Values());
  }
}

/// The outputs with every wanted input i moved to values[i] + sign * step[i].
std::vector<Values> moved(const Problem& p, const std::vector<Values>& step, double sign) {
  Inputs in = p.inputs;
  for (size_t i = 0; i < in.size(); ++i) {
    if (!p.wanted[i] || step[i].empty()) continue;
    Values v = p.values[i];
    for (size_t j = 0; j < v.size(); ++j) v[j] += sign * step[i][j];
    in[i] = from_vector(v, in[i].shape(), {Dtype::f64, p.device});
  }
  std::vector<Values> result;
  for (const Tensor& y : forward([&](const Inputs& x) { return p.run(x); }, in))
    result.push_back(y.defined() && is_floating(y.dtype()) ? y.to_vector() : Values());
  return result;
}

/// <c, f(x + step) - f(x - step)> / 2 for each pattern of cotangents. Equal infinities cancel.
Values difference(const Problem& p, const std::vector<Values>& step) {
  const std::vector<Values> up = moved(p, step, 1), down = moved(p, step, -1);
  Values result(p.weights.size(), 0.0);
  for (size_t k = 0; k < p.weights.size(); ++k)
    for (size_t o = 0; o < p.weights[k].size(); ++o)
      for (size_t j = 0; j < p.weights[k][o].size(); ++j)
        if (up[o][j] != down[o][j]) result[k] += p.weights[k][o][j] * (up[o][j] - down[o][j]) / 2;
  return result;
}

void note(GradcheckResult& r, double error, size_t pattern, const std::string& where, double analytic, double numeric) {
  if (std::isnan(error)) error = INFINITY;
  if (!(error > r.max_error)) return;
  r.max_error = error;
  r.detail = format("{}: analytic {}, numeric {}", where, digits(analytic), digits(numeric));
  if (pattern > 0) r.detail += format(" (cotangent of output {} alone)", pattern - 1);
}

/// Moves element after element of input i; at most `limit` of them.
void check_elements(const Problem& p, size_t i, int64_t limit, GradcheckResult& r) {
  const int64_t n = std::min(int64_t(p.values[i].size()), limit);
  std::vector<Values> numeric(p.weights.size());
  std::vector<Values> step(p.inputs.size());
  for (int64_t j = 0; j < n; ++j) {
    const double h = kStep * std::max(1.0, std::abs(p.values[i][j]));
    step[i].assign(p.values[i].size(), 0.0);
    step[i][j] = h;
    const Values d = difference(p, step);
    for (size_t k = 0; k < d.size(); ++k) numeric[k].push_back(d[k] / h);
  }
  for (size_t k = 0; k < numeric.size(); ++k) {
    const double scale = std::max(kFloor, magnitude(numeric[k]));
    for (int64_t j = 0; j < n; ++j) {
      const double a = p.analytic[k][i][j], b = numeric[k][j];
      note(r, std::abs(a - b) / scale, k, argument_name(p.spec, i) + index_text(p.inputs[i].shape(), j), a, b);
    }
  }
}

/// Moves the inputs in `moving` along one random direction.
void check_direction(const Problem& p, const std::vector<bool>& moving, Generator& generator, const std::string& where,
                     GradcheckResult& r) {
  std::vector<Values> step(p.inputs.size());
  for (size_t i = 0; i < p.inputs.size(); ++i) {
    if (!moving[i]) continue;
    step[i] = random_normal(p.inputs[i].shape(), generator, 0, kStep, {.dtype = Dtype::f64}).to_vector();
    for (size_t j = 0; j < step[i].size(); ++j) step[i][j] *= std::max(1.0, std::abs(p.values[i][j]));
  }
  const Values numeric = difference(p, step);
  for (size_t k = 0; k < numeric.size(); ++k) {
    double analytic = 0, squares = 0;
    for (size_t i = 0; i < step.size(); ++i)
      for (size_t j = 0; j < step[i].size(); ++j) {
        analytic += p.analytic[k][i][j] * step[i][j];
        squares += p.analytic[k][i][j] * p.analytic[k][i][j];
      }
    const double a = analytic / kStep, b = numeric[k] / kStep;
    note(r, std::abs(a - b) / std::max(kFloor, std::sqrt(squares)), k, where, a, b);
  }
}

void check_directions(const Problem& p, GradcheckResult& r) {
  Generator generator{0xD17, 0};
  for (int d = 0; d < kDirections; ++d) check_direction(p, p.wanted, generator, "random direction", r);
  if (r.max_error <= r.tolerance) return;
  // Name the input, then the element.
  for (size_t i = 0; i < p.inputs.size(); ++i) {
    if (!p.wanted[i] || p.values[i].empty()) continue;
    GradcheckResult one = r;
    one.max_error = 0;
    std::vector<bool> only(p.inputs.size());
    only[i] = true;
    check_direction(p, only, generator, "random direction of " + argument_name(p.spec, i), one);
    if (one.max_error <= r.tolerance) continue;
    GradcheckResult element = one;
    element.max_error = r.tolerance;
    check_elements(p, i, kSearchedElements, element);
    r.max_error = std::max(r.max_error, one.max_error);
    r.detail = element.detail;
    return;
  }
}

void find_gradients(Problem& p) {
  for (const auto& pattern : p.cotangents) {
    const Evaluation e = evaluate([&](const Inputs& x) { return p.run(x); }, p.inputs, p.wanted, pattern);
    p.analytic.emplace_back();
    for (size_t i = 0; i < p.inputs.size(); ++i) {
      if (p.wanted[i])
        check<ShapeError>(e.gradients[i].shape() == p.inputs[i].shape(),
                          "the gradient of {} is {}, but the input is {}", argument_name(p.spec, i), e.gradients[i],
                          p.inputs[i]);
      p.analytic.back().push_back(p.wanted[i] ? e.gradients[i].to_vector() : Values());
    }
  }
}

void run_check(const OpSpec& spec, const Sample& sample, Device device, GradcheckResult& r) {
  Problem p{.spec = spec,
            .sample = sample,
            .device = device,
            .inputs = convert(sample.inputs, Dtype::f64, device),
            .wanted = {},
            .values = {}};
  for (size_t i = 0; i < p.inputs.size(); ++i) {
    p.wanted.push_back(takes_gradient(spec, p.inputs, i));
    p.values.push_back(p.wanted[i] ? p.inputs[i].to_vector() : Values());
  }
  const Outputs outputs = forward([&](const Inputs& x) { return p.run(x); }, p.inputs);
  choose_cotangents(p, outputs);
  find_gradients(p);
  int64_t out = 0;
  for (const Tensor& c : p.cotangents[0]) out += c.defined() ? c.numel() : 0;
  const int64_t in = floating_elements(p);
  if (in == 0 || out == 0) {
    r.detail = "no elements to differentiate";
  } else if (in * out <= kFullJacobian && (device == Device::cpu() || in <= kElementsOffCpu)) {
    for (size_t i = 0; i < p.inputs.size(); ++i)
      if (p.wanted[i]) check_elements(p, i, in, r);
  } else {
    check_directions(p, r);
  }
}

}  // namespace

GradcheckResult gradcheck(const OpSpec& spec, const Sample& sample, Device device) {
  GradcheckResult r{.op = spec.name, .sample = sample.label, .device = device, .detail = {}};
  r.tolerance = kTolerance;  // Sample::widen is about rounding in narrow dtypes, not about derivatives
  if (!sample.differentiable) {
    r.passed = true;
    r.detail = "values only";
    return r;
  }
  try {
    run_check(spec, sample, device, r);
    r.passed = r.max_error <= r.tolerance;
  } catch (const std::exception& e) {
    r.max_error = INFINITY;
    r.detail = e.what();
  }
  return r;
}

}  // namespace vitrine::testing
