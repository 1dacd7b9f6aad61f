#pragma once
#include "core/simd.h"

/// Products of bf16 in vectors. They take two bf16 at a time, which lie side by side as one element of 32 bits and are
/// neighbours in the dimension that the product sums over. AVX512_BF16 multiplies so at twice the rate of float.
namespace vitrine {

/// Two bf16, the first in the lower half.
using Bf16Pair = uint32_t;

namespace simd {

namespace detail {
inline Vec<float> first_of(Vec<Bf16Pair> pairs) { return std::bit_cast<Vec<float>>(pairs << 16); }
inline Vec<float> second_of(Vec<Bf16Pair> pairs) { return std::bit_cast<Vec<float>>(pairs & 0xFFFF0000u); }
/// x rounded to bf16 as bf16(float) does, in the upper half; the lower one is anything.
inline Vec<uint32_t> round_upper(Vec<float> x) {
  const auto u = std::bit_cast<Vec<uint32_t>>(x);
  const auto nan = std::bit_cast<Vec<uint32_t>>(x != x);
  return (nan & (u | 0x400000u)) | (~nan & (u + 0x7FFFu + (u >> 16 & 1u)));
}
}  // namespace detail

/// sum + a.second b.second + a.first b.first in each lane, in this order, rounded after each. (AVX512_BF16 takes
/// subnormal numbers for 0.)
inline Vec<float> dot_pairs(Vec<float> sum, Vec<Bf16Pair> a, Vec<Bf16Pair> b) {
#if defined(__AVX512BF16__)
  return std::bit_cast<Vec<float>>(
      _mm512_dpbf16_ps(std::bit_cast<__m512>(sum), std::bit_cast<__m512bh>(a), std::bit_cast<__m512bh>(b)));
#else
  sum += detail::second_of(a) * detail::second_of(b);
  sum += detail::first_of(a) * detail::first_of(b);
  return sum;
#endif
}

/// The pair (first_i, second_i) in each lane i, rounded to nearest even. (AVX512_BF16 makes subnormal numbers 0.)
inline Vec<Bf16Pair> round_pairs(Vec<float> first, Vec<float> second) {
#if defined(__AVX512BF16__)
  static constexpr auto kInterleave = [] {
    std::array<uint16_t, 32> order{};
    for (int i = 0; i < 32; ++i) order[size_t(i)] = uint16_t(i / 2 + i % 2 * 16);
    return order;
  }();
  const auto both = _mm512_cvtne2ps_pbh(std::bit_cast<__m512>(second), std::bit_cast<__m512>(first));
  return std::bit_cast<Vec<Bf16Pair>>(
      _mm512_permutexvar_epi16(_mm512_loadu_si512(kInterleave.data()), std::bit_cast<__m512i>(both)));
#else
  return detail::round_upper(first) >> 16 | (detail::round_upper(second) & 0xFFFF0000u);
#endif
}

/// The elements of `low`, then those of `high`, rounded as by round_pairs: neighbours are pairs.
inline Vec<Bf16Pair> round_neighbours(Vec<float> low, Vec<float> high) {
#if defined(__AVX512BF16__)
  return std::bit_cast<Vec<Bf16Pair>>(_mm512_cvtne2ps_pbh(std::bit_cast<__m512>(high), std::bit_cast<__m512>(low)));
#else
  constexpr int n = kLanes<float>;
  const auto halves = [](Vec<float> x) {
    return __builtin_convertvector(detail::round_upper(x) >> 16, Vec<uint16_t, n>);
  };
  const std::array<Vec<uint16_t, n>, 2> both{halves(low), halves(high)};
  return std::bit_cast<Vec<Bf16Pair>>(both);
#endif
}

/// y_i = the pair (first_i, second_i) for i < n; null for `second` stands for zeros.
inline void pair_rows(const bf16* first, const bf16* second, int64_t n, Bf16Pair* y) {
  if (second) {
    for (int64_t i = 0; i < n; ++i) y[i] = Bf16Pair(first[i].bits) | Bf16Pair(second[i].bits) << 16;
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = first[i].bits;
  }
}

}  // namespace simd
}  // namespace vitrine
