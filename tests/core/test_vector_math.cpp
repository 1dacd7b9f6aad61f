#include <algorithm>
#include <cstdio>
#include <limits>
#include <vector>

#include "core/parallel.h"
#include "core/vector_math.h"
#include "tests/support/catch.h"

using namespace vitrine;

namespace {

constexpr double kHuge = 1e300;

/// |got - exact| in units of the spacing of floats at `exact`; an infinite `got` counts as 2^128, the float after the
/// largest. NaN must meet NaN, and values that no float rounds to must meet infinity.
double ulp_error(float got, double exact) {
  if (std::isnan(exact) || std::isnan(got)) return std::isnan(exact) && std::isnan(got) ? 0 : kHuge;
  if (std::fabs(exact) >= 0x1p128) return double(got) == std::copysign(INFINITY, exact) ? 0 : kHuge;
  const double value = std::isinf(got) ? std::copysign(0x1p128, got) : double(got);
  const int exponent = int(std::bit_cast<uint64_t>(exact) >> 52 & 0x7FF) - 1023;
  const double inverse_spacing = std::bit_cast<double>(uint64_t(1023 + 23 - std::max(exponent, -126)) << 52);
  return std::fabs(value - exact) * inverse_spacing;
}

struct Worst {
  double error = 0;
  float at = 0;
};

/// The largest error(fast(x), x) over the floats with bits 0, step, 2 step, ...
template <class Fast, class Error>
Worst worst_of(uint32_t step, Fast fast, Error error) {
  const int64_t count = ((int64_t(1) << 32) + step - 1) / step, grain = 1 << 14, length = parallel_chunk(count, grain);
  std::vector<Worst> worst(size_t((count + length - 1) / length));
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    constexpr int64_t kBlock = 1024;
    float x[kBlock], y[kBlock];
    Worst w;
    for (int64_t block = begin; block < end; block += kBlock) {
      const int64_t n = std::min(kBlock, end - block);
      for (int64_t i = 0; i < kBlock; ++i) x[i] = std::bit_cast<float>(uint32_t(block + i) * step);
      for (int64_t i = 0; i < kBlock; ++i) y[i] = fast(x[i]);
      for (int64_t i = 0; i < n; ++i) {
        const double e = error(y[i], double(x[i]));
        if (!(e <= w.error)) w = {e, x[i]};
      }
    }
    worst[size_t(begin / length)] = w;
  });
  return *std::max_element(worst.begin(), worst.end(), [](Worst a, Worst b) { return a.error < b.error; });
}

/// The largest error of `fast` against `exact` in ulps.
template <class Fast, class Exact>
Worst worst_error(uint32_t step, Fast fast, Exact exact) {
  return worst_of(step, fast, [exact](float got, double x) { return ulp_error(got, exact(x)); });
}

// References in double. Outside the interval where a float result can differ from a limit or a two-term series, those
// stand in for the C library, which is slow there; their relative error is below 2^-50.

double exp_reference(double x) {
  if (std::fabs(x) < 0x1p-26) return 1 + x;
  return x > 89 ? INFINITY : x < -104.5 ? 0x1p-151 : std::exp(x);
}

double exp_weight_reference(double x) {
  if (x > 88) return NAN;  // outside the domain; the tested lambda answers NaN there too
  return x < -87 ? 0.0 : exp_reference(x);
}

double tanh_reference(double x) {
  const double a = std::fabs(x);
  if (a < 0x1p-13) return x - x * x * x / 3;
  return a > 19 ? std::copysign(1, x) : std::tanh(x);
}

double erf_reference(double x) {
  const double a = std::fabs(x);
  if (a < 0x1p-13) return 2 / std::sqrt(M_PI) * (x - x * x * x / 3);
  return a > 6 ? std::copysign(1, x) : std::erf(x);
}

double sigmoid_reference(double x) {
  if (std::fabs(x) < 0x1p-26) return 0.5 + x / 4;
  return x < -104.5 ? 0x1p-151 : x > 40 ? 1 : 1 / (1 + std::exp(-x));
}

double log1p_reference(double x) {
  if (std::fabs(x) < 0x1p-26) return x - x * x / 2;
  return x > 0x1p54 ? std::log(x) : std::log1p(x);
}

/// The normal distribution, and the derivative of gelu.
double normal_reference(double x) {
  if (std::fabs(x) < 0x1p-13) return 0.5 + x / std::sqrt(2 * M_PI);
  return x > 9 ? 1 : x < -9 ? 0 : std::erfc(-x / std::sqrt(2)) / 2;
}
double slope_reference(double x) {
  if (std::fabs(x) > 9) return x > 0 ? 1 : 0;
  return normal_reference(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
}

void check_all(uint32_t step) {
  auto report = [](const char* name, Worst w, double bound = 2) {
    std::printf("  %-10s worst error %.3f at %a\n", name, w.error, double(w.at));
    INFO(name << " at " << w.at);
    CHECK(w.error <= bound);
  };
  report("exp", worst_error(
                    step, [](float x) { return vm::exp(x); }, exp_reference));
  report("exp_weight", worst_error(
                           step, [](float x) { return x > 88 ? NAN : vm::exp_weight(x); }, exp_weight_reference));
  const auto exp_weights = [](float x) { return x > 88 ? NAN : vm::exp_weight(simd::broadcast(x))[0]; };
  report("of vectors", worst_error(step, exp_weights, exp_weight_reference));
  report("log", worst_error(
                    step, [](float x) { return vm::log(x); }, [](double x) { return std::log(x); }));
  report("log1p", worst_error(
                      step, [](float x) { return vm::log1p(x); }, log1p_reference));
  report("tanh", worst_error(
                     step, [](float x) { return vm::tanh(x); }, tanh_reference));
  report("sigmoid", worst_error(
                        step, [](float x) { return vm::sigmoid(x); }, sigmoid_reference));
  report("erf", worst_error(
                    step, [](float x) { return vm::erf(x); }, erf_reference));
  // These two in units of 2^-24 |x| and 2^-24.
  const auto absolute = [](float got, double exact, double unit) {
    return std::isnan(exact) || std::isnan(got) ? (std::isnan(exact) && std::isnan(got) ? 0 : kHuge)
                                                : std::fabs(double(got) - exact) / unit;
  };
  const auto gelu_error = [&](double unit) {
    return [=](float got, double x) {
      if (std::isinf(x)) return x > 0 ? (double(got) == x ? 0 : kHuge) : (std::isnan(got) ? 0 : kHuge);
      return absolute(got, x * normal_reference(x), std::max(unit * std::fabs(x), 0x1p-149));
    };
  };
  report("gelu",
         worst_of(
             step, [](float x) { return vm::gelu(x); }, gelu_error(0x1p-24)),
         2);
  report("gelu_slope",
         worst_of(
             step, [](float x) { return vm::gelu_slope(x); },
             [&](float got, double x) { return absolute(got, slope_reference(x), 0x1p-24); }),
         3);
  // And in units of 2^-18 |x| and 2^-16.
  report("for bf16",
         worst_of(
             step, [](float x) { return vm::gelu_for_bf16(simd::broadcast(x))[0]; }, gelu_error(0x1p-18)),
         1);
  report("its slope",
         worst_of(
             step, [](float x) { return vm::gelu_slope_for_bf16(simd::broadcast(x))[0]; },
             [&](float got, double x) { return absolute(got, slope_reference(x), 0x1p-16); }),
         1);
}

}  // namespace

TEST_CASE("vector math: every 97th float is within its bound of the C library in double", "[unit][plain]") {
  check_all(97);
}

TEST_CASE("vector math: every float is within its bound of the C library in double", "[.][slow]") { check_all(1); }

TEST_CASE("vector math: limits and signs", "[unit]") {
  constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(vm::exp(-inf) == 0);
  CHECK(vm::exp(inf) == inf);
  CHECK(vm::exp(0.0f) == 1);
  CHECK(vm::exp_weight(-inf) == 0);
  CHECK(vm::exp_weight(0.0f) == 1);
  CHECK(std::isnan(vm::exp_weight(nan)));
  CHECK(vm::log(0.0f) == -inf);
  CHECK(vm::log(-0.0f) == -inf);
  CHECK(vm::log(1.0f) == 0);
  CHECK(vm::log(inf) == inf);
  CHECK(std::isnan(vm::log(-1.0f)));
  CHECK(std::isnan(vm::log(-inf)));
  CHECK(vm::log1p(-1.0f) == -inf);
  CHECK(vm::log1p(inf) == inf);
  CHECK(std::isnan(vm::log1p(-1.5f)));
  CHECK(std::signbit(vm::log1p(-0.0f)));
  CHECK(vm::sigmoid(-inf) == 0);
  CHECK(vm::sigmoid(inf) == 1);
  CHECK(vm::sigmoid(0.0f) == 0.5f);
  for (float sign : {1.0f, -1.0f}) {
    CHECK(vm::tanh(sign * inf) == sign);
    CHECK(vm::erf(sign * inf) == sign);
    CHECK(std::signbit(vm::tanh(sign * 0.0f)) == (sign < 0));
    CHECK(std::signbit(vm::erf(sign * 0.0f)) == (sign < 0));
  }
  CHECK(vm::sigmoid(-800.0) == Approx(std::exp(-800.0)));
  CHECK(vm::erf(0.3) == std::erf(0.3));
}
