#include <cmath>
#include <numbers>
#include <vector>

#include "ops/binary/binary.h"
#include "ops/compare/compare.h"
#include "ops/unary/unary.h"
#include "tests/support/catch.h"

/// Values of the elementwise ops against the C library. CPU and CUDA loops share one formula for each op, and a
/// gradient check only ties a derivative to its function: a wrong function with the right derivative shows here.
namespace vitrine {
namespace {

using Unary = Tensor (*)(const Tensor&);
using Binary = Tensor (*)(const Tensor&, const Tensor&);

const std::vector<double> kPoints = {-3.5, -2.5, -1.5, -1, -0.7, -0.5, 0, 0.3, 0.5, 1, 1.5, 2.5, 7};

Tensor numbers(const std::vector<double>& v) { return from_vector(v, {int64_t(v.size())}, {.dtype = Dtype::f64}); }

bool same(double a, double b) {
  return a == b || (std::isnan(a) && std::isnan(b)) || std::abs(a - b) <= 1e-14 * (1 + std::abs(b));
}

void expect(const char* name, Unary f, double (*g)(double)) {
  INFO(name);
  const std::vector<double> y = f(numbers(kPoints)).to_vector();
  for (size_t i = 0; i < y.size(); ++i) {
    INFO("at " << kPoints[i] << ": " << y[i] << ", expected " << g(kPoints[i]));
    CHECK(same(y[i], g(kPoints[i])));
  }
}

TEST_CASE("unary functions have the C library's values", "[unit]") {
  using namespace std::numbers;
  expect("neg", ops::neg, [](double x) { return -x; });
  expect("abs", ops::abs, [](double x) { return std::abs(x); });
  expect("exp", ops::exp, [](double x) { return std::exp(x); });
  expect("log", ops::log, [](double x) { return std::log(x); });
  expect("log1p", ops::log1p, [](double x) { return std::log1p(x); });
  expect("sqrt", ops::sqrt, [](double x) { return std::sqrt(x); });
  expect("rsqrt", ops::rsqrt, [](double x) { return 1 / std::sqrt(x); });
  expect("reciprocal", ops::reciprocal, [](double x) { return 1 / x; });
  expect("square", ops::square, [](double x) { return std::pow(x, 2); });
  expect("sin", ops::sin, [](double x) { return std::sin(x); });
  expect("cos", ops::cos, [](double x) { return std::cos(x); });
  expect("tanh", ops::tanh, [](double x) { return std::tanh(x); });
  expect("sigmoid", ops::sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); });
  expect("erf", ops::erf, [](double x) { return std::erf(x); });
  expect("relu", ops::relu, [](double x) { return std::fmax(x, 0); });
  expect("gelu", ops::gelu, [](double x) { return x * std::erfc(-x / sqrt2) / 2; });
  expect("gelu_tanh", ops::gelu_tanh,
         [](double x) { return x / 2 * (1 + std::tanh(std::sqrt(2 / pi) * (x + 0.044715 * std::pow(x, 3)))); });
  expect("silu", ops::silu, [](double x) { return x / (1 + std::exp(-x)); });
  expect("softplus", ops::softplus, [](double x) { return std::log1p(std::exp(x)); });
  expect("sign", ops::sign, [](double x) { return double((x > 0) - (x < 0)); });
  expect("floor", ops::floor, [](double x) { return std::floor(x); });
  expect("ceil", ops::ceil, [](double x) { return std::ceil(x); });
  expect("round", ops::round, [](double x) {
    const double below = std::floor(x), half = x - below;
    return half < 0.5 || (half == 0.5 && std::fmod(below, 2) == 0) ? below : below + 1;
  });
}

TEST_CASE("functions with numbers have the C library's values", "[unit]") {
  expect(
      "clamp", [](const Tensor& x) { return ops::clamp(x, -1, 1.5); },
      [](double x) { return std::fmin(std::fmax(x, -1), 1.5); });
  expect(
      "pow", [](const Tensor& x) { return ops::pow(x, 2.5); }, [](double x) { return std::pow(x, 2.5); });
  expect(
      "x + number", [](const Tensor& x) { return ops::add(x, 3); }, [](double x) { return x + 3; });
  expect(
      "number + x", [](const Tensor& x) { return ops::add(3, x); }, [](double x) { return x + 3; });
  expect(
      "x - number", [](const Tensor& x) { return ops::sub(x, 3); }, [](double x) { return x - 3; });
  expect(
      "number - x", [](const Tensor& x) { return ops::sub(3, x); }, [](double x) { return 3 - x; });
  expect(
      "x * number", [](const Tensor& x) { return ops::mul(x, 3); }, [](double x) { return x * 3; });
  expect(
      "number * x", [](const Tensor& x) { return ops::mul(3, x); }, [](double x) { return x * 3; });
  expect(
      "x / number", [](const Tensor& x) { return ops::div(x, 3); }, [](double x) { return x / 3; });
  expect(
      "number / x", [](const Tensor& x) { return ops::div(3, x); }, [](double x) { return 3 / x; });
}

void expect(const char* name, Binary f, double (*g)(double, double)) {
  INFO(name);
  std::vector<double> points = kPoints;
  for (double special : {double(NAN), double(INFINITY), -double(INFINITY)}) points.push_back(special);
  const std::vector<double> y = f(numbers(points).unsqueeze(1), numbers(points)).to_vector();
  for (size_t i = 0; i < y.size(); ++i) {
    const double a = points[i / points.size()], b = points[i % points.size()];
    INFO("at " << a << ", " << b << ": " << y[i] << ", expected " << g(a, b));
    CHECK(same(y[i], g(a, b)));
  }
}

TEST_CASE("binary functions and comparisons have the language's values", "[unit]") {
  expect("add", ops::add, [](double a, double b) { return a + b; });
  expect("sub", ops::sub, [](double a, double b) { return a - b; });
  expect("mul", ops::mul, [](double a, double b) { return a * b; });
  expect("div", ops::div, [](double a, double b) { return a / b; });
  expect("pow", ops::pow, [](double a, double b) { return std::pow(a, b); });
  expect("maximum", ops::maximum,
         [](double a, double b) { return std::isnan(a) || std::isnan(b) ? NAN : std::fmax(a, b); });
  expect("minimum", ops::minimum,
         [](double a, double b) { return std::isnan(a) || std::isnan(b) ? NAN : std::fmin(a, b); });
  expect("eq", ops::eq, [](double a, double b) { return double(a == b); });
  expect("ne", ops::ne, [](double a, double b) { return double(a != b); });
  expect("lt", ops::lt, [](double a, double b) { return double(a < b); });
  expect("le", ops::le, [](double a, double b) { return double(a <= b); });
  expect("gt", ops::gt, [](double a, double b) { return double(a > b); });
  expect("ge", ops::ge, [](double a, double b) { return double(a >= b); });
}

TEST_CASE("logical functions have their truth tables", "[unit]") {
  const auto booleans = [](const std::vector<double>& v) { return from_vector(v, {4}, {.dtype = Dtype::boolean}); };
  const Tensor a = booleans({0, 0, 1, 1}), b = booleans({0, 1, 0, 1});
  CHECK(ops::logical_and(a, b).to_vector() == std::vector<double>{0, 0, 0, 1});
  CHECK(ops::logical_or(a, b).to_vector() == std::vector<double>{0, 1, 1, 1});
  CHECK(ops::logical_not(b).to_vector() == std::vector<double>{1, 0, 1, 0});
  const Tensor x = numbers({NAN, INFINITY, -INFINITY, 0});
  CHECK(ops::isnan(x).to_vector() == std::vector<double>{1, 0, 0, 0});
  CHECK(ops::isfinite(x).to_vector() == std::vector<double>{0, 0, 0, 1});
}

TEST_CASE("a permuted layout passes through elementwise ops", "[unit]") {
  const Tensor image = zeros({2, 5, 7, 3}).permute({0, 3, 1, 2});  // channels last
  CHECK(ops::relu(image).strides() == image.strides());
  CHECK(ops::add(image, image).strides() == image.strides());
  CHECK(ops::mul(zeros({3, 1, 1}), image).strides() == image.strides());
  CHECK(ops::relu(image.narrow(2, 1, 3)).is_contiguous());
  CHECK(ops::relu(zeros({1, 3}).expand({4, 3})).is_contiguous());
}

}  // namespace
}  // namespace vitrine
