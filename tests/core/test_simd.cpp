#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/dtype.h"
#include "core/reduce_row.h"
#include "tests/support/catch.h"

using namespace vitrine;

namespace {

constexpr int kLanes = simd::kLanes<float>;

bool same(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

/// Floats of every kind: a stride through all bits, subnormals of both signs beside normal values, and halfway cases.
std::vector<float> many_floats() {
  std::vector<float> x;
  for (uint64_t u = 0; u < uint64_t(1) << 32; u += 65521) x.push_back(std::bit_cast<float>(uint32_t(u)));
  for (uint32_t high = 0; high < 0x10000; ++high)
    for (uint32_t low : {0u, 1u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu})
      x.push_back(std::bit_cast<float>(high << 16 | low));
  x.resize(x.size() / kLanes * kLanes);
  return x;
}

/// T(x) for each x as store_as rounds it: bit for bit, but for the payload of a NaN.
template <class T>
void check_rounding() {
  const std::vector<float> x = many_floats();
  for (size_t i = 0; i < x.size(); i += kLanes) {
    T got[kLanes];
    simd::store_as<float>(got, simd::load(x.data() + i));
    for (int l = 0; l < kLanes; ++l) {
      const T want(x[i + l]);
      if (got[l].bits == want.bits || (std::isnan(float(want)) && std::isnan(float(got[l])))) continue;
      INFO(x[i + l] << " rounds to " << got[l].bits << ", not " << want.bits);
      CHECK(false);
    }
  }
}

template <class T>
void check_widening() {
  for (uint32_t bits = 0; bits < 0x10000; bits += kLanes) {
    T x[kLanes];
    for (int l = 0; l < kLanes; ++l) x[l].bits = uint16_t(bits + l);
    const auto got = simd::load_as<float>(x);
    for (int l = 0; l < kLanes; ++l) {
      if (same(got[l], float(x[l])) || (std::isnan(float(x[l])) && std::isnan(got[l]))) continue;
      INFO("bits " << x[l].bits);
      CHECK(false);
    }
  }
}

/// Rows of every length around one and two vectors: nothing behind them is read into a result, or written.
template <class T>
void check_rows() {
  using A = accumulate_t<T>;
  for (int n = 0; n <= 2 * simd::kLanes<A> + 1; ++n) {
    std::vector<T> x(size_t(n) + 1), y(size_t(n) + 1);
    A sum = 0;
    for (int i = 0; i < n; ++i) x[i] = T(A(i + 1)), sum += A(i + 1);
    x[n] = T(A(NAN)), y[n] = T(A(77));
    INFO("row of " << n);
    CHECK(row_sum_of<A>(
              n, [](auto v) { return v + A(1); }, x.data()) == sum + A(n));
    A least = 0;  // the smallest value that f sees behind the end
    map_row<A>(
        n, A(-9),
        [&](auto v) {
          for (int l = 0; l < simd::kLanes<A>; ++l) least = std::min<A>(least, v[l]);
          return v * A(2);
        },
        y.data(), static_cast<const T*>(x.data()));
    CHECK(least == (n % simd::kLanes<A> ? A(-9) : A(0)));
    for (int i = 0; i < n; ++i) CHECK(A(y[i]) == A(2 * (i + 1)));
    CHECK(A(y[n]) == A(77));
  }
}

}  // namespace

TEST_CASE("simd: vectors round to bf16 and f16 as single values do", "[unit]") {
  check_rounding<bf16>();
  check_rounding<f16>();
}
TEST_CASE("simd: bf16 and f16 widen as single values do", "[unit]") {
  check_widening<bf16>();
  check_widening<f16>();
}
TEST_CASE("simd: rows end where they end", "[unit]") {
  check_rows<float>();
  check_rows<double>();
  check_rows<bf16>();
  check_rows<f16>();
}
