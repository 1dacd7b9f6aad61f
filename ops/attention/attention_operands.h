#pragma once
#include <cstring>

#include "core/bf16_pairs.h"
#include "ops/attention/attention_scratch.h"

/// Factors of the products of fused attention on a CPU: how they lie in scratch, and how rows of a head come there.
/// Private to attention and the ops that add terms to it.
///
/// bf16 is multiplied as it is, two values at a time (core/bf16_pairs.h), so weights and their gradients are rounded to
/// it on the way into a product. Other types are widened to the accumulator's first. What an element of a factor holds
/// depends on the dimension that the product sums over:
///
///     side by side   [rows, elements(d)], neighbours of a row: for sums over d
///     by rows        [elements(rows), d], neighbours of a column: for sums over rows
///
/// which are one and the same where an element is one value. Behind an odd end stands a 0.
namespace vitrine::ops::attention_cpu {

/// An element of a factor, and how many values it holds.
template <class T>
using element_t = std::conditional_t<std::is_same_v<T, bf16>, Bf16Pair, accumulate_t<T>>;
template <class T>
constexpr int64_t kPer = std::is_same_v<T, bf16> ? 2 : 1;
/// Elements for n values.
template <class T>
constexpr int64_t elements(int64_t n) {
  return (n + kPer<T> - 1) / kPer<T>;
}

/// y [rows, elements(d)] = x, side by side.
template <class T>
void load_rows(Matrix<const T> x, int64_t first, int64_t rows, int64_t d, element_t<T>* y) {
  for (int64_t i = 0; i < rows; ++i, y += elements<T>(d)) {
    const T* from = x.at(first + i);
    if constexpr (kPer<T> == 2) {
      if (d % 2) y[d / 2] = 0;
      if (x.column == 1) {
        std::memcpy(y, from, size_t(d) * sizeof(T));
      } else {
        for (int64_t c = 0; c < d; ++c)
          std::memcpy(reinterpret_cast<std::byte*>(y) + c * int64_t(sizeof(T)), from + c * x.column, sizeof(T));
      }
    } else if (x.column == 1) {
      for (int64_t c = 0; c < d; ++c) y[c] = accumulate_t<T>(from[c]);
    } else {
      for (int64_t c = 0; c < d; ++c) y[c] = accumulate_t<T>(from[c * x.column]);
    }
  }
}

/// Elements of scratch that by_rows needs.
template <class T>
constexpr int64_t by_rows_size(int64_t rows, int64_t d) {
  return kPer<T> == 1 ? 0 : round_up(elements<T>(rows) * d, kLine);
}
/// x [rows, elements(d)], given side by side, by rows: in `scratch`, or x itself.
template <class T>
const element_t<T>* by_rows(const element_t<T>* x, int64_t rows, int64_t d, element_t<T>* scratch) {
  if constexpr (kPer<T> == 1) {
    return x;
  } else {
    element_t<T>* to = scratch;
    for (int64_t i = 0; i < rows; i += 2, to += d) {
      const auto* first = reinterpret_cast<const bf16*>(x + i * elements<T>(d));
      simd::pair_rows(first, i + 1 < rows ? first + 2 * elements<T>(d) : nullptr, d, to);
    }
    return scratch;
  }
}

/// y [elements(d), columns] = x [keys, elements(d)] transposed, zeros behind column `keys`; rows of y lie `stride`
/// apart.
template <class E>
void transpose_keys(const E* x, int64_t keys, int64_t d, E* y, int64_t columns, int64_t stride) {
  transpose_small(keys, d, x, d, y, stride);
  for (int64_t c = 0; c < d; ++c) std::fill(y + c * stride + keys, y + c * stride + columns, E(0));
}

/// Rows of scores [rows, stride] become factors where they lie, as an element is as large as a score: n weights of
/// each, side by side.
template <class T, class A = accumulate_t<T>>
const element_t<T>* weights_side_by_side(A* s, int64_t rows, int64_t n, int64_t stride) {
  static_assert(sizeof(element_t<T>) == sizeof(A));
  auto* to = reinterpret_cast<element_t<T>*>(s);
  if constexpr (kPer<T> == 2) {
    constexpr int64_t kLanes = simd::kLanes<A>;
    for (int64_t i = 0; i < rows; ++i, s += stride) {
      if (n % 2) s[n] = 0;
      for (int64_t j = 0; j < n; j += 2 * kLanes) {
        const auto high = j + kLanes < n ? simd::load(s + j + kLanes) : simd::Vec<A>{};
        simd::store(to + i * stride + j / 2, simd::round_neighbours(simd::load(s + j), high));
      }
    }
  }
  return to;
}

/// Weights by rows: rows of elements, `stride` from one to the next.
template <class E>
struct WeightsByRows {
  const E* data;
  int64_t stride;
};
/// Weights [rows, stride], of which n of each row count, by rows. Those of two rows come to where the upper one of them
/// lies in `to`, which has their stride and may be s.
template <class T, class A = accumulate_t<T>>
WeightsByRows<element_t<T>> weights_by_rows(const A* s, int64_t rows, int64_t n, int64_t stride, A* to) {
  if constexpr (kPer<T> == 1) {
    return {s, stride};
  } else {
    auto* pairs = reinterpret_cast<element_t<T>*>(to);
    for (int64_t i = 0; i < rows; i += 2) {
      const A *upper = s + i * stride, *lower = upper + stride;
      element_t<T>* y = pairs + i * stride;
      if (i + 1 < rows) {
        for (int64_t j = 0; j < n; j += simd::kLanes<A>)
          simd::store(y + j, simd::round_pairs(simd::load(upper + j), simd::load(lower + j)));
      } else {
        for (int64_t j = 0; j < n; j += simd::kLanes<A>)
          simd::store(y + j, simd::round_pairs(simd::load(upper + j), simd::Vec<A>{}));
      }
    }
    return {pairs, 2 * stride};
  }
}

}  // namespace vitrine::ops::attention_cpu
