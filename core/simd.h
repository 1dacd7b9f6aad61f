#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "core/float16.h"
#if defined(__AVX__)
#include <immintrin.h>
#endif

/// Fixed-width vectors for the few CPU loops that are blocked by hand (products, transposes). Everything else stays a
/// plain loop that the compiler vectorizes. Arithmetic and comparison are the compiler's own vector operators, and
/// a * b + c becomes one fma; this header adds memory access, maxima and sums across lanes.
namespace vitrine::simd {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

/// Elements of T in one register.
template <class T>
constexpr int kLanes = kVectorBytes / int(sizeof(T));

namespace detail {
template <class T, int N>
struct VectorType {
  typedef T type __attribute__((vector_size(N * sizeof(T))));
};
}  // namespace detail

/// N elements of T; `Vec<float>` fills a register.
template <class T, int N = kLanes<T>>
using Vec = typename detail::VectorType<T, N>::type;

/// The vector at `p`, any alignment.
template <class T>
inline Vec<T> load(const T* p) {
  Vec<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

/// The kLanes<A> elements at `p` as a vector of A.
template <class A, class T>
inline Vec<A> load_as(const T* p) {
  constexpr int n = kLanes<A>;
  if constexpr (std::is_same_v<A, T>) {
    return load(p);
  } else if constexpr (std::is_same_v<T, bf16> && std::is_same_v<A, float>) {
    Vec<uint16_t, n> bits;
    std::memcpy(&bits, p, sizeof bits);
#if defined(__AVX512F__)  // one instruction, where the compiler makes four of the builtin
    const auto wide =
        std::bit_cast<Vec<uint32_t, n>>(_mm512_maskz_cvtepu16_epi32(0xFFFF, std::bit_cast<__m256i>(bits)));
#else
    const auto wide = __builtin_convertvector(bits, Vec<uint32_t, n>);
#endif
    return std::bit_cast<Vec<A>>(wide << 16);
  } else {
#if defined(__AVX512F__)
    static_assert(std::is_same_v<T, f16>);
    __m256i bits;
    std::memcpy(&bits, p, sizeof bits);
    return std::bit_cast<Vec<A>>(_mm512_maskz_cvtph_ps(0xFFFF, bits));
#else
    A lanes[n];
    for (int i = 0; i < n; ++i) lanes[i] = A(p[i]);
    return load(lanes);
#endif
  }
}

/// Writes v to `p`, any alignment.
template <class T>
inline void store(T* p, Vec<T> v) {
  std::memcpy(p, &v, sizeof v);
}

/// Writes v to the kLanes<A> elements at `p`, rounded to T.
template <class A, class T>
inline void store_as(T* p, Vec<A> v) {
  if constexpr (std::is_same_v<A, T>) {
    store(p, v);
  } else if constexpr (std::is_same_v<T, bf16> && std::is_same_v<A, float>) {
#if defined(__AVX512BF16__)
    // The processor rounds as bf16 does, but flushes subnormals.
    constexpr int kSubnormal = 0x20;
    if (!_mm512_fpclass_ps_mask(std::bit_cast<__m512>(v), kSubnormal)) [[likely]] {
      const auto rounded = _mm512_cvtneps_pbh(std::bit_cast<__m512>(v));
      std::memcpy(p, &rounded, sizeof rounded);
      return;
    }
#endif
    using Bits = Vec<uint32_t, kLanes<A>>;
    const Bits u = std::bit_cast<Bits>(v), rounded = v != v ? u | 0x400000 : u + 0x7FFF + (u >> 16 & 1);
    const auto high = __builtin_convertvector(rounded >> 16, Vec<uint16_t, kLanes<A>>);
    std::memcpy(p, &high, sizeof high);
  } else {
#if defined(__AVX512F__)
    static_assert(std::is_same_v<T, f16>);
    const __m256i rounded = _mm512_maskz_cvtps_ph(0xFFFF, std::bit_cast<__m512>(v), _MM_FROUND_TO_NEAREST_INT);
    std::memcpy(p, &rounded, sizeof rounded);
#else
    A lanes[kLanes<A>];
    store(lanes, v);
    for (int i = 0; i < kLanes<A>; ++i) p[i] = T(lanes[i]);
#endif
  }
}

/// x in every lane.
template <class T>
inline Vec<T> broadcast(T x) {
  return x - Vec<T>{};
}

/// All ones in the lanes of a vector of T below `n`, zeros in the others.
template <class T>
inline auto lanes_below(int n) {
  using Int = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  Vec<Int> lane;
  for (int i = 0; i < kLanes<T>; ++i) lane[i] = i;
  return lane < broadcast(Int(n));
}

/// The first `n` elements at `p` (0 <= n <= kLanes), zeros behind them; memory past them is not touched.
template <class T>
inline Vec<T> load_first(const T* p, int n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    return std::bit_cast<Vec<T>>(_mm512_maskz_loadu_ps(__mmask16((1u << n) - 1), p));
  } else {
    return std::bit_cast<Vec<T>>(_mm512_maskz_loadu_pd(__mmask8((1u << n) - 1), p));
  }
#elif defined(__AVX__)
  if constexpr (sizeof(T) == 4) {
    return std::bit_cast<Vec<T>>(
        _mm256_maskload_ps(reinterpret_cast<const float*>(p), std::bit_cast<__m256i>(lanes_below<T>(n))));
  } else {
    return std::bit_cast<Vec<T>>(_mm256_maskload_pd(p, std::bit_cast<__m256i>(lanes_below<T>(n))));
  }
#else
  Vec<T> v{};
  for (int i = 0; i < kLanes<T>; ++i)
    if (i < n) v[i] = p[i];
  return v;
#endif
}

/// Writes the first `n` elements of `v` (0 <= n <= kLanes) and nothing else.
template <class T>
inline void store_first(T* p, Vec<T> v, int n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), std::bit_cast<__m512>(v));
  } else {
    _mm512_mask_storeu_pd(p, __mmask8((1u << n) - 1), std::bit_cast<__m512d>(v));
  }
#elif defined(__AVX__)
  if constexpr (sizeof(T) == 4) {
    _mm256_maskstore_ps(reinterpret_cast<float*>(p), std::bit_cast<__m256i>(lanes_below<T>(n)),
                        std::bit_cast<__m256>(v));
  } else {
    _mm256_maskstore_pd(p, std::bit_cast<__m256i>(lanes_below<T>(n)), std::bit_cast<__m256d>(v));
  }
#else
  for (int i = 0; i < kLanes<T>; ++i)
    if (i < n) p[i] = v[i];
#endif
}

/// The first `n` elements at `p` (0 <= n <= kLanes<A>) as a vector of A, with `rest` behind them.
template <class A, class T>
inline Vec<A> load_first_as(const T* p, int n, A rest) {
  if constexpr (std::is_same_v<A, T>) {
    return lanes_below<A>(n) ? load_first(p, n) : broadcast(rest);
  } else {
    static_assert(sizeof(T) == 2);
    T elements[kLanes<A>];
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    const __m256i bits = _mm256_maskz_loadu_epi16(__mmask16((1u << n) - 1), p);
    std::memcpy(elements, &bits, sizeof bits);
#else
    for (int i = 0; i < kLanes<A>; ++i) elements[i] = i < n ? p[i] : T(0);
#endif
    return lanes_below<A>(n) ? load_as<A>(elements) : broadcast(rest);
  }
}

/// Writes the first `n` elements of `v` (0 <= n <= kLanes<A>), rounded to T, and nothing else.
template <class A, class T>
inline void store_first_as(T* p, Vec<A> v, int n) {
  if constexpr (std::is_same_v<A, T>) {
    store_first(p, v, n);
  } else {
    static_assert(sizeof(T) == 2);
    T elements[kLanes<A>];
    store_as<A>(elements, v);
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    __m256i bits;
    std::memcpy(&bits, elements, sizeof bits);
    _mm256_mask_storeu_epi16(p, __mmask16((1u << n) - 1), bits);
#else
    for (int i = 0; i < n; ++i) p[i] = elements[i];
#endif
  }
}

/// Some lanes of a vector of T, made of the bits of a number (bit i: lane i), for keep().
template <class T>
inline auto lanes_of(uint32_t bits) {
#if defined(__AVX512F__)
  return bits;
#else
  using Int = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  Vec<Int> bit;
  for (int i = 0; i < kLanes<T>; ++i) bit[i] = Int(1) << i;
  return (broadcast(Int(bits)) & bit) != 0;
#endif
}
template <class T>
using Lanes = decltype(lanes_of<T>(0));

/// v in those lanes, zeros in the others.
template <class T>
inline Vec<T> keep(Vec<T> v, Lanes<T> lanes) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    return std::bit_cast<Vec<T>>(_mm512_maskz_mov_ps(__mmask16(lanes), std::bit_cast<__m512>(v)));
  } else {
    return std::bit_cast<Vec<T>>(_mm512_maskz_mov_pd(__mmask8(lanes), std::bit_cast<__m512d>(v)));
  }
#else
  return lanes ? v : Vec<T>{};
#endif
}

/// x[from_i] in each lane i, 0 where from_i is negative.
inline Vec<float> choose(Vec<float> x, Vec<int32_t> from) {
#if defined(__AVX512F__)
  const __m512i index = std::bit_cast<__m512i>(from);
  return std::bit_cast<Vec<float>>(_mm512_maskz_permutexvar_ps(_mm512_cmpge_epi32_mask(index, _mm512_setzero_si512()),
                                                               index, std::bit_cast<__m512>(x)));
#elif defined(__AVX2__)
  const auto there = _mm256_permutevar8x32_ps(std::bit_cast<__m256>(x), std::bit_cast<__m256i>(from));
  return from < 0 ? Vec<float>{} : std::bit_cast<Vec<float>>(there);
#else
  Vec<float> y{};
  for (int i = 0; i < kLanes<float>; ++i)
    if (from[i] >= 0) y[i] = x[from[i]];
  return y;
#endif
}

/// The larger of each pair; where one is NaN, the second.
template <class V>
inline V max(V a, V b) {
#if defined(__AVX512F__)
  // Else the compiler compares and makes b under the mask: a long chain in a row's maximum.
  if constexpr (std::is_same_v<V, Vec<float>>)
    return std::bit_cast<V>(_mm512_maskz_max_ps(0xFFFF, std::bit_cast<__m512>(a), std::bit_cast<__m512>(b)));
#endif
  return a > b ? a : b;
}

namespace detail {
/// The lanes of `v` with those S apart exchanged.
template <int S, class V, int... I>
inline V swap_lanes(V v, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(v, v, (I ^ S)...);
}
/// All lanes folded by f, halves first: a fixed order.
template <int S, int N, class V, class F>
inline V fold(V v, F f) {
  v = f(v, swap_lanes<S>(v, std::make_integer_sequence<int, N>{}));
  if constexpr (S > 1) {
    return fold<S / 2, N>(v, f);
  } else {
    return v;
  }
}
}  // namespace detail

/// The sum of the lanes, halves first: a fixed order. T and N are given: horizontal_sum<float, 16>(v).
template <class T, int N = kLanes<T>>
inline T horizontal_sum(Vec<T, N> v) {
  return detail::fold<N / 2, N>(v, [](Vec<T, N> a, Vec<T, N> b) { return a + b; })[0];
}

/// The largest lane.
template <class T, int N = kLanes<T>>
inline T horizontal_max(Vec<T, N> v) {
  return detail::fold<N / 2, N>(v, [](Vec<T, N> a, Vec<T, N> b) { return max(a, b); })[0];
}

namespace detail {
/// One butterfly of a transpose: exchanges the off-diagonal S x S blocks of every 2S x 2S block of the rows a (above)
/// and b (below).
template <int S, class V, int... I>
inline void exchange(V& a, V& b, std::integer_sequence<int, I...>) {
  constexpr int n = int(sizeof...(I));
  const V upper = __builtin_shufflevector(a, b, (I & S ? (I ^ S) + n : I)...);
  b = __builtin_shufflevector(a, b, (I & S ? I + n : I ^ S)...);
  a = upper;
}

template <int S, class V, int N>
inline void transpose_step(std::array<V, N>& rows) {
  for (int i = 0; i < N; ++i)
    if (!(i & S)) exchange<S>(rows[i], rows[i | S], std::make_integer_sequence<int, N>{});
  if constexpr (2 * S < N) transpose_step<2 * S, V, N>(rows);
}
}  // namespace detail

/// Transposes a square of kLanes<T> rows in registers.
template <class T>
inline void transpose(std::array<Vec<T>, size_t(kLanes<T>)>& rows) {
  detail::transpose_step<1, Vec<T>, kLanes<T>>(rows);
}

}  // namespace vitrine::simd
