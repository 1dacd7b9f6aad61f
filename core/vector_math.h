#pragma once
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "core/simd.h"

/// Elementary functions for the CPU's row kernels. The float forms are branch-free polynomials, so a plain loop that
/// calls them is vectorized by g++ -O3 without unsafe flags. Their error is at most 2 ulp for every float, unless they
/// say otherwise: subnormals are kept, infinities and overflow are exact, NaN gives NaN
/// (tests/core/test_vector_math.cpp tries all 2^32). They need a hardware fma to be fast. The double forms are the C
/// library's, for gradient checks. Coefficients are minimax fits (Remez exchange in 160-bit arithmetic, relative error,
/// rounded to float).
namespace vitrine::vm {

namespace detail {

inline float of_bits(uint32_t u) { return std::bit_cast<float>(u); }
inline uint32_t to_bits(float x) { return std::bit_cast<uint32_t>(x); }
inline simd::Vec<float> of_bits(simd::Vec<uint32_t> u) { return std::bit_cast<simd::Vec<float>>(u); }
inline simd::Vec<uint32_t> to_bits(simd::Vec<float> x) { return std::bit_cast<simd::Vec<uint32_t>>(x); }

/// |x|, and `magnitude` with the sign of x. Written on the bits: a negated comparison would lose the sign of zero.
inline float magnitude(float x) { return of_bits(to_bits(x) & 0x7FFFFFFFu); }
inline float with_sign(float magnitude, float x) { return of_bits(to_bits(magnitude) | (to_bits(x) & 0x80000000u)); }

/// condition ? yes : no, as a mask: a branch would let the compiler move one side's work under it, which then cannot be
/// vectorized without masked instructions.
inline float select(bool condition, float yes, float no) {
  const uint32_t mask = 0u - uint32_t(condition);
  return of_bits((to_bits(yes) & mask) | (to_bits(no) & ~mask));
}
inline simd::Vec<float> select(simd::Vec<int32_t> condition, simd::Vec<float> yes, simd::Vec<float> no) {
  return condition ? yes : no;
}

/// a b + c, rounded once; of vectors where the processor has an instruction for them. (Compilers make one of a product
/// and a sum too, but only when they optimize: with them the last bits would depend on the preset.)
inline float fma(float a, float b, float c) { return std::fma(a, b, c); }
template <class B, class C>
inline simd::Vec<float> fma(simd::Vec<float> a, B b, C c) {
  using V = simd::Vec<float>;
  const V factor = V{} + b, term = V{} + c;
#if defined(__AVX512F__)
  return std::bit_cast<V>(
      _mm512_fmadd_ps(std::bit_cast<__m512>(a), std::bit_cast<__m512>(factor), std::bit_cast<__m512>(term)));
#elif defined(__FMA__)
  return std::bit_cast<V>(
      _mm256_fmadd_ps(std::bit_cast<__m256>(a), std::bit_cast<__m256>(factor), std::bit_cast<__m256>(term)));
#else
  return a * factor + term;
#endif
}

/// Adding 1.5 * 2^23 rounds a float below 2^22 to the nearest integer and leaves that integer in the low bits.
constexpr float kRound = 0x1.8p23f;
constexpr uint32_t kRoundBits = 0x4B400000u;

/// 2^n for -126 <= n <= 127.
inline float power_of_two(int32_t n) { return of_bits(uint32_t(n + 127) << 23); }

/// e^r - 1 for |r| <= 0.35 (half of ln 2). V is float or a vector of them.
template <class V>
inline V expm1_reduced(V r) {
  V q = fma(r, 0x1.6a4f54p-10f, 0x1.1238acp-7f);
  q = fma(q, r, 0x1.5558aap-5f);
  q = fma(q, r, 0x1.555494p-3f);
  q = fma(q, r, 0x1.fffffcp-2f);
  return fma(q, r * r, r);
}

/// x = n ln 2 + r with |r| <= ln 2 / 2, for |x| < 2^20; ln 2 is subtracted in two parts so that r keeps its low bits.
/// `rounded` is n + round, where `round` is kRound or a near integer.
template <class V>
struct Reduced {
  V r, rounded;
};
template <class V>
inline Reduced<V> reduce_by_ln2(V x, float round) {
  const V rounded = fma(x, 0x1.715476p0f, round), n = rounded - round;
  return {fma(n, -0x1.7f7d1cp-20f, fma(n, -0x1.62e4p-1f, x)), rounded};
}

/// vm::exp_weight for a float or a vector of them.
template <class V>
inline V exp_weight(V x) {
  const auto [r, rounded] = reduce_by_ln2(x, kRound + 127);
  // 2^n: the bits of kRound are shifted out, and 127 is the exponent's bias.
  const V power = of_bits(to_bits(rounded) << 23);
  return select(x < -87.0f, V{}, fma(power, expm1_reduced(r), power));
}

#if defined(__AVX512F__)
/// The bits of 2^(i / 32), less i 2^18: what i 2^18 is added to for every i of the same last five bits.
alignas(64) inline constexpr auto kPowers = [] {
  std::array<uint32_t, 32> powers{};
  for (uint32_t i = 0; i < 32; ++i) powers[i] = std::bit_cast<uint32_t>(__builtin_exp2f(float(i) / 32)) - (i << 18);
  return powers;
}();

/// vm::exp_weight: x = n ln 2 / 32 + r with |r| <= ln 2 / 64, so that three terms of its series do for e^r - 1. The
/// power of two is read from registers, by the unit for shuffles: 7 multiply-adds and products, where 10 go by
/// expm1_reduced.
inline simd::Vec<float> exp_weight_by_table(simd::Vec<float> x) {
  using V = simd::Vec<float>;
  const V rounded = fma(x, 32 * 0x1.715476p0f, kRound), n = rounded - kRound;
  // ln 2 / 32 in two floats. The first step is exact, and so near to r that it will do but for the linear term.
  const V high = fma(n, -0x1.62e43p-1f / 32, x), r = fma(n, 0x1.05c61p-29f / 32, high);
  const V e = fma(fma(high, 1 / 6.0f, 0.5f), high * high, r);
  // The last five bits of n choose, and those of kRound are shifted out.
  const __m512i part = _mm512_permutex2var_epi32(_mm512_load_si512(kPowers.data()), std::bit_cast<__m512i>(rounded),
                                                 _mm512_load_si512(kPowers.data() + 16));
  const V power = of_bits(std::bit_cast<simd::Vec<uint32_t>>(part) + (to_bits(rounded) << 18));
  return select(x < -87.0f, V{}, fma(power, e, power));
}
#endif

}  // namespace detail

/// e^x.
inline float exp(float x) {
  x = x > 89.0f ? 89.0f : x;      // e^89 overflows
  x = x < -104.0f ? -104.0f : x;  // e^-104 is less than half of the smallest float
  const auto [r, rounded] = detail::reduce_by_ln2(x, detail::kRound);
  const int32_t n = int32_t(detail::to_bits(rounded) - detail::kRoundBits);
  // Two factors, because 2^n alone leaves the normal range; only the last product can round.
  const int32_t half = n >> 1;
  return (detail::expm1_reduced(r) + 1.0f) * detail::power_of_two(half) * detail::power_of_two(n - half);
}

/// e^x for x <= 88, where results below e^-87 become 0: softmax weights, e^(score - maximum). NaN gives NaN.
/// Vectors of 16 floats (AVX-512) may get another last bit than a float alone.
inline float exp_weight(float x) { return detail::exp_weight(x); }
inline simd::Vec<float> exp_weight(simd::Vec<float> x) {
#if defined(__AVX512F__)
  return detail::exp_weight_by_table(x);
#else
  return detail::exp_weight(x);
#endif
}

/// ln x; -inf at 0, NaN below 0.
inline float log(float x) {
  const bool subnormal = x < 0x1p-126f;
  const float scaled = x * detail::select(subnormal, 0x1p23f, 1.0f);
  // scaled = m 2^e with m in [2/3, 4/3).
  const uint32_t bits = detail::to_bits(scaled), exponent = (bits - 0x3F2AAAABu) & 0xFF800000u;
  const float e = std::fma(float(int32_t(exponent)), 0x1p-23f, detail::select(subnormal, -23.0f, 0.0f));
  const float f = detail::of_bits(bits - exponent) - 1.0f;
  float p = -0x1.0758f4p-3f;
  p = std::fma(p, f, 0x1.1d4638p-3f);
  p = std::fma(p, f, -0x1.f36494p-4f);
  p = std::fma(p, f, 0x1.1f186p-3f);
  p = std::fma(p, f, -0x1.559a98p-3f);
  p = std::fma(p, f, 0x1.99cb94p-3f);
  p = std::fma(p, f, -0x1.ffff04p-3f);
  p = std::fma(p, f, 0x1.555512p-2f);
  p = std::fma(p, f, -0.5f);
  const float y = std::fma(e, 0x1.62e43p-1f, std::fma(p, f * f, f));
  const float limit = detail::select(x < 0.0f, NAN, detail::select(x == 0.0f, -INFINITY, x));
  return detail::select((x > 0.0f) & (x < INFINITY), y, limit);
}

/// ln(1 + x), accurate near 0; -inf at -1, NaN below.
inline float log1p(float x) {
  const float u = 1.0f + x, lost = x - (u - 1.0f);  // 1 + x = u + lost
  const float y = log(u) + lost / u;
  return detail::select(detail::magnitude(x) < 0x1p-25f, x, detail::select((u > 0.0f) & (u < INFINITY), y, log(u)));
}

/// tanh x.
inline float tanh(float x) {
  const float a = detail::magnitude(x), s = a * a;
  float p = -0x1.9460c0p-8f;
  p = std::fma(p, s, 0x1.5812ap-6f);
  p = std::fma(p, s, -0x1.b905c4p-5f);
  p = std::fma(p, s, 0x1.110c5ep-3f);
  p = std::fma(p, s, -0x1.555548p-2f);
  const float small = std::fma(p * s, a, a);
  const float e = exp_weight(-2.0f * a), large = 1.0f - 2.0f * e / (1.0f + e);
  return detail::with_sign(detail::select(a < 0.55f, small, large), x);
}

/// 1 / (1 + e^-x).
inline float sigmoid(float x) {
  const float e = exp(-detail::magnitude(x));
  const float numerator = detail::select(x < 0.0f, e, 1.0f);
  // 1 + e = u + lost. The rounding of u alone would cost an ulp, so one Newton step follows the quotient.
  const float u = 1.0f + e, lost = e - (u - 1.0f), inverse = 1.0f / u, y = numerator * inverse;
  const float remainder = std::fma(-y, lost, std::fma(-y, u, numerator));
  return std::fma(remainder, inverse, y);
}

/// erf x = 2 / sqrt(pi) * integral of e^(-t^2) over [0, x]. Below 0.93 an odd polynomial, above it 1 - 2^-q(|x|), where
/// the polynomial q fits -log2(1 - erf).
inline float erf(float x) {
  const float a = detail::magnitude(x), s = a * a;
  float p = -0x1.386e12p-11f;
  p = std::fma(p, s, 0x1.46d86cp-8f);
  p = std::fma(p, s, -0x1.b67bcep-6f);
  p = std::fma(p, s, 0x1.ce1984p-4f);
  p = std::fma(p, s, -0x1.8126e2p-2f);
  p = std::fma(p, s, 0x1.06eba6p-3f);
  const float small = std::fma(p, a, a);

  const float t = a > 3.93f ? 3.93f : a;  // 1 - erf(3.93) is below half an ulp
  float q = -0x1.286630p-12f;
  q = std::fma(q, t, 0x1.1fba46p-8f);
  q = std::fma(q, t, -0x1.06b052p-5f);
  q = std::fma(q, t, 0x1.331474p-3f);
  q = std::fma(q, t, 0x1.d6a93ap-1f);
  q = std::fma(q, t, 0x1.a07bfep0f);
  q = std::fma(q, t, 0x1.2805f8p-12f);
  const float rounded = detail::kRound - q, f = (detail::kRound - rounded) - q;
  // 2^f, |f| <= 1/2, to 1e-7: enough, since 1 - erf is at most 0.19 here.
  float w = 0x1.5bc1eep-10f;
  w = std::fma(w, f, 0x1.3cea34p-7f);
  w = std::fma(w, f, 0x1.c6b73cp-5f);
  w = std::fma(w, f, 0x1.ebf9bcp-3f);
  w = std::fma(w, f, 0x1.62e42ap-1f);
  w = std::fma(w, f, 1.0f);
  const float tail = w * detail::power_of_two(int32_t(detail::to_bits(rounded) - detail::kRoundBits));
  return detail::with_sign(detail::select(a < 0.93f, small, 1.0f - tail), x);
}

namespace detail {

/// min(|x|, most), taken on the bits; NaN gives `most`.
inline float bounded_magnitude(float x, float most) {
  const uint32_t a = to_bits(x) & 0x7FFFFFFFu, b = to_bits(most);
  return of_bits(a < b ? a : b);
}

/// 2^-ab / 2 for 0 <= ab <= 125, with an absolute error of at most 0.9 * 2^-24. The product is not rounded.
inline float half_power_of_minus(float a, float b) {
  const float rounded = std::fma(-a, b, kRound), f = std::fma(-a, b, kRound - rounded);
  const float high =
      std::fma(std::fma(0x1.5aac8ep-11f, f, 0x1.3cec48p-8f), f * f, std::fma(0x1.c6babap-6f, f, 0x1.ebf9b6p-4f));
  const float w = std::fma(std::fma(high, f, 0x1.62e424p-2f), f, 0.5f);
  return of_bits(to_bits(w) + (to_bits(rounded) << 23));  // kRoundBits << 23 is 0
}

}  // namespace detail

// gelu and its slope have no cancellation to avoid, so they need only be as good as their largest factor: one range
// each, and nothing shared with erf. Phi is the normal distribution, phi its density. Their polynomials are split into
// parts that do not wait for each other: these loops are bound by latency. The last steps are one by one where that
// keeps the error in bounds.

/// x Phi(x), with an error of at most 2^-23 |x| (an ulp of x); NaN at -inf. The polynomial q fits -log2(2 Phi(-t)),
/// less what half_power_of_minus errs there, for an absolute error of Phi.
inline float gelu(float x) {
  const float t = detail::bounded_magnitude(x, 6.0f);  // Phi(-6) < 2^-29
  const float t2 = t * t;
  const float high =
      std::fma(std::fma(0x1.7d01b0p-19f, t, -0x1.505946p-15f), t2, std::fma(0x1.924c7cp-13f, t, 0x1.f8c36cp-14f));
  const float all = std::fma(high, t2, std::fma(-0x1.cd7684p-8f, t, 0x1.adf146p-5f));
  const float q = std::fma(std::fma(all, t, 0x1.d63b5ep-2f), t, 0x1.26aed4p0f);
  const float tail = detail::half_power_of_minus(q, t);
  return x * (0.5f + detail::with_sign(0.5f - tail, x));
}

/// Phi(x) + x phi(x), the derivative of gelu, with an error of at most 3 * 2^-24. For negative x it is e^(-x^2 / 2)
/// s(t), where the polynomial s fits that quotient (twice it, as the power is halved).
inline float gelu_slope(float x) {
  const float a = detail::magnitude(x), t = detail::select(a > 13.0f, 13.0f, a);  // keeps NaN
  const float t2 = t * t, t4 = t2 * t2;
  const float top =
      std::fma(std::fma(-0x1.5bb2ecp-21f, t, 0x1.0860e8p-16f), t2, std::fma(-0x1.69d3aap-13f, t, 0x1.2b5d28p-10f));
  const float high =
      std::fma(std::fma(-0x1.5664d8p-8f, t, 0x1.28708ap-6f), t2, std::fma(-0x1.a232aep-5f, t, 0x1.fb9e4ep-4f));
  const float low = std::fma(std::fma(-0x1.100684p-2f, t, 0x1.fff426p-2f), t2, std::fma(-0x1.98842ep0f, t, 1.0f));
  const float s = std::fma(std::fma(top, t4, high), t4, low);
  const float h = detail::half_power_of_minus(t * t, 0x1.715476p-1f);
  return 0.5f + detail::with_sign(std::fma(-s, h, 0.5f), x);
}

#if defined(__AVX512F__)
namespace detail {

/// The first four coefficients of f's series at multiples of kStep, f odd but for a constant: polynomials of |x| for 32
/// pieces, which registers hold.
struct Pieces {
  static constexpr float kStep = 0.1875f, kEnd = 31.25f * kStep;  // from there on f is 1/2
  alignas(64) std::array<std::array<float, 32>, 4> at;
};
/// Phi(x) - 1/2 and its derivatives: phi is -x times itself the next time.
inline constexpr Pieces kNormal = [] {
  Pieces p{};
  for (size_t i = 0; i < 32; ++i) {
    const double x = Pieces::kStep * double(i), phi = 0.39894228040143268 * __builtin_exp(-0.5 * x * x);
    const double c[] = {0.5 * __builtin_erf(x * 0.70710678118654752), phi, -x * phi / 2, (x * x - 1) * phi / 6};
    for (size_t k = 0; k < 4; ++k) p.at[k][i] = float(c[k]);
  }
  return p;
}();
/// The same of Phi(x) + x phi(x) - 1/2.
inline constexpr Pieces kGeluSlope = [] {
  Pieces p{};
  for (size_t i = 0; i < 32; ++i) {
    const double x = Pieces::kStep * double(i), s = x * x, phi = 0.39894228040143268 * __builtin_exp(-0.5 * s);
    const double c[] = {0.5 * __builtin_erf(x * 0.70710678118654752) + x * phi, (2 - s) * phi, x * (s - 4) * phi / 2,
                        (-s * s + 7 * s - 4) * phi / 6};
    for (size_t k = 0; k < 4; ++k) p.at[k][i] = float(c[k]);
  }
  return p;
}();

/// 1/2 + the function of `pieces`, with the sign of x; NaN gives NaN.
inline simd::Vec<float> half_plus_odd(simd::Vec<float> x, const Pieces& pieces) {
  using V = simd::Vec<float>;
  const V t = std::bit_cast<V>(_mm512_maskz_min_ps(0xFFFF, _mm512_set1_ps(Pieces::kEnd),
                                                   _mm512_abs_ps(std::bit_cast<__m512>(x))));  // NaN stays
  const V rounded = fma(t, 1 / Pieces::kStep, kRound), r = fma(rounded - kRound, -Pieces::kStep, t);
  // The last five bits of `rounded` choose the piece.
  const auto coefficient = [&](size_t k) {
    const float* c = pieces.at[k].data();
    return std::bit_cast<V>(
        _mm512_permutex2var_ps(_mm512_load_ps(c), std::bit_cast<__m512i>(rounded), _mm512_load_ps(c + 16)));
  };
  const V f = fma(fma(fma(coefficient(3), r, coefficient(2)), r, coefficient(1)), r, coefficient(0));
  return of_bits(to_bits(f) ^ (to_bits(x) & 0x80000000u)) + 0.5f;
}

}  // namespace detail
#endif

/// gelu for results in bf16, cheaper: the error is at most 2^-18 |x|, and a bf16 near x is off by up to 2^-9 |x|.
inline simd::Vec<float> gelu_for_bf16(simd::Vec<float> x) {
#if defined(__AVX512F__)
  return x * detail::half_plus_odd(x, detail::kNormal);
#else
  for (int l = 0; l < simd::kLanes<float>; ++l) x[l] = gelu(x[l]);
  return x;
#endif
}
/// gelu_slope for results in bf16, with an error of at most 2^-16.
inline simd::Vec<float> gelu_slope_for_bf16(simd::Vec<float> x) {
#if defined(__AVX512F__)
  return detail::half_plus_odd(x, detail::kGeluSlope);
#else
  for (int l = 0; l < simd::kLanes<float>; ++l) x[l] = gelu_slope(x[l]);
  return x;
#endif
}

inline double exp(double x) { return std::exp(x); }
inline double exp_weight(double x) { return std::exp(x); }
inline simd::Vec<double> exp_weight(simd::Vec<double> x) {
  for (int l = 0; l < simd::kLanes<double>; ++l) x[l] = std::exp(x[l]);
  return x;
}
inline double log(double x) { return std::log(x); }
inline double log1p(double x) { return std::log1p(x); }
inline double tanh(double x) { return std::tanh(x); }
inline double erf(double x) { return std::erf(x); }
inline double gelu(double x) { return 0.5 * x * (1 + std::erf(x * 0.70710678118654752)); }  // 1 / sqrt(2)
inline double gelu_slope(double x) {
  return 0.5 * (1 + std::erf(x * 0.70710678118654752)) + x * 0.39894228040143268 * std::exp(-0.5 * x * x);
}
inline double sigmoid(double x) {
  const double e = std::exp(-std::fabs(x)), y = 1.0 / (1.0 + e);
  return x < 0.0 ? e * y : y;
}

}  // namespace vitrine::vm
