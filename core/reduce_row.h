#pragma once
#include <cstdint>
#include <limits>

namespace vitrine {

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

}  // namespace vitrine
