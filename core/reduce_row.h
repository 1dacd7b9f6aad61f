#pragma once
#include <array>
#include <cstdint>
#include <limits>

#include "core/simd.h"

namespace vitrine {

/// sums[k] = sum of f(0)[k] ... f(n-1)[k]: 16 interleaved partial sums, twice, added in a fixed order, so the compiler
/// may vectorize it without reordering. The 16 are folded by halves of constant length, which stay in registers.
template <int K, class A, class F>
std::array<A, K> row_sums(int64_t n, F f) {
  constexpr int kLanes = 16;
  A even[K][kLanes] = {}, odd[K][kLanes] = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      const std::array<A, K> v = f(i + l);
      for (int k = 0; k < K; ++k) even[k][l] += v[k];
    }
    for (int l = 0; l < kLanes; ++l) {
      const std::array<A, K> v = f(i + kLanes + l);
      for (int k = 0; k < K; ++k) odd[k][l] += v[k];
    }
  }
  std::array<A, K> sums = {};
  for (; i < n; ++i) {
    const std::array<A, K> v = f(i);
    for (int k = 0; k < K; ++k) sums[k] += v[k];
  }
  for (int k = 0; k < K; ++k) {
    A eight[8], four[4];
    for (int l = 0; l < kLanes; ++l) even[k][l] += odd[k][l];
    for (int l = 0; l < 8; ++l) eight[l] = even[k][l] + even[k][l + 8];
    for (int l = 0; l < 4; ++l) four[l] = eight[l] + eight[l + 4];
    sums[k] += (four[0] + four[2]) + (four[1] + four[3]);
  }
  return sums;
}

/// Sum of f(0) ... f(n-1) in 16 interleaved partial sums added in a fixed order: the compiler may vectorize it without
/// reordering.
template <class A, class F>
A row_sum(int64_t n, F f) {
  constexpr int kLanes = 16;
  A lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; ++l) lanes[l] += f(i + l);
  A tail = 0;
  for (; i < n; ++i) tail += f(i);
  for (int half = kLanes / 2; half; half /= 2)
    for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  return lanes[0] + tail;
}

/// Maximum of f(0) ... f(n-1), -inf if there are none; a NaN anywhere may be passed over, but stays visible to a later
/// sum.
template <class A, class F>
A row_max(int64_t n, F f) {
  constexpr int kLanes = 16;
  constexpr A kLowest = -std::numeric_limits<A>::infinity();
  A lanes[kLanes];
  for (int l = 0; l < kLanes; ++l) lanes[l] = kLowest;
  const auto larger = [](A a, A b) { return a < b ? b : a; };
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; ++l) lanes[l] = larger(lanes[l], f(i + l));
  A m = kLowest;
  for (; i < n; ++i) m = larger(m, f(i));
  for (int l = 0; l < kLanes; ++l) m = larger(m, lanes[l]);
  return m;
}

/// Sum over i < n of f(x_i...), where each x is a row of T and f takes and returns vectors of A: two registers of
/// partial sums, folded in a fixed order. Explicit vectors, where the compiler leaves row_sum scalar.
template <class A, class F, class... T>
A row_sum_of(int64_t n, F f, const T*... x) {
  constexpr int64_t kLanes = simd::kLanes<A>;
  simd::Vec<A> even{}, odd{};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    even += f(simd::load_as<A>(x + i)...);
    odd += f(simd::load_as<A>(x + i + kLanes)...);
  }
  if (i + kLanes <= n) even += f(simd::load_as<A>(x + i)...), i += kLanes;
  if (const int left = int(n - i)) {
    const auto last = f(simd::load_first_as<A>(x + i, left, A(0))...);
    odd += simd::lanes_below<A>(left) ? last : simd::Vec<A>{};
  }
  return simd::horizontal_sum<A>(even + odd);
}

/// y_i = f(x_i...) for i < n, rounded to the elements of y; f takes and returns vectors of A. In the last one `rest`
/// stands behind the end of each x. No x overlaps y, unless it is y.
template <class A, class F, class R, class... T>
void map_row(int64_t n, A rest, F f, R* y, const T*... x) {
  constexpr int64_t kLanes = simd::kLanes<A>;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) simd::store_as<A>(y + i, f(simd::load_as<A>(x + i)...));
  if (const int left = int(n - i))
    simd::store_first_as<A>(y + i, f(simd::load_first_as<A>(x + i, left, rest)...), left);
}

}  // namespace vitrine
