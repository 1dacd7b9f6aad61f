#include <cmath>
#include <limits>
#include <vector>

#include "ops/softmax/softmax.h"
#include "tests/support/catch.h"

using namespace vitrine;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity(), kNan = std::numeric_limits<double>::quiet_NaN();

/// One row through `f` in `dtype`.
template <class F>
std::vector<double> row(F f, const std::vector<double>& x, Dtype dtype) {
  return f(from_vector(x, {int64_t(x.size())}).to(dtype), -1).to_vector();
}

}  // namespace

TEST_CASE("softmax: masked entries, rows of them, infinities and NaN", "[unit]") {
  for (Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::bf16, Dtype::f16}) {
    INFO(to_string(dtype));
    // 37 entries: whole vectors and a rest in every dtype. The ones that count are the first and the last.
    std::vector<double> x(37, -kInf);
    x.front() = x.back() = 1;
    const auto y = row(ops::softmax, x, dtype), log_y = row(ops::log_softmax, x, dtype);
    for (size_t i = 0; i < x.size(); ++i) {
      const bool counts = i == 0 || i + 1 == x.size();
      CHECK(y[i] == (counts ? 0.5 : 0));
      if (counts) CHECK(log_y[i] == Approx(-0.6931).epsilon(1e-2));
      if (!counts) CHECK(log_y[i] == -kInf);
    }
    for (double everywhere : {-kInf, kInf, kNan})
      for (double v : row(ops::softmax, std::vector<double>(37, everywhere), dtype)) CHECK(std::isnan(v));
    for (size_t at : {size_t(0), size_t(20), x.size() - 1}) {
      std::vector<double> one_nan(x.size(), 2);
      one_nan[at] = kNan;
      for (double v : row(ops::softmax, one_nan, dtype)) CHECK(std::isnan(v));
      for (double v : row(ops::log_softmax, one_nan, dtype)) CHECK(std::isnan(v));
    }
  }
}

TEST_CASE("softmax: subnormal weights are kept in bf16 and f16", "[unit]") {
  // e^-86.5 and, less ln 37 more, below the smallest normal float; f16 ends at 2^-24.
  std::vector<double> x(37, 0);
  for (double least : {-86.5, -85.0, -15.0}) {
    x[3] = least;
    const double exact = std::exp(least) / (36 + std::exp(least));
    CHECK(row(ops::softmax, x, Dtype::f32)[3] == Approx(exact).epsilon(5e-6).margin(0));
    CHECK(row(ops::softmax, x, Dtype::bf16)[3] == double(float(bf16(float(exact)))));
    CHECK(row(ops::softmax, x, Dtype::f16)[3] == Approx(exact).margin(0x1p-25));
  }
}

TEST_CASE("softmax: rows of every length around a vector", "[unit]") {
  for (size_t n = 1; n <= 50; ++n) {
    std::vector<double> x(n);
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sum += std::exp(x[i] = double(float(std::sin(double(i * i + 1)) * 5)));
    for (Dtype dtype : {Dtype::f64, Dtype::f32}) {
      const auto y = row(ops::softmax, x, dtype), log_y = row(ops::log_softmax, x, dtype);
      for (size_t i = 0; i < n; ++i) {
        // x_i - m, up to 10, is rounded to 6e-7: a relative error of its exponential.
        CHECK(y[i] == Approx(std::exp(x[i]) / sum).epsilon(1e-6).margin(0));
        CHECK(log_y[i] == Approx(x[i] - std::log(sum)).margin(2e-6));
      }
    }
  }
}
