#pragma once
#include <cstdint>

#include "core/simd.h"

namespace vitrine {

/// y_j += table[ids_j] for j < n. Every id is in [0, size), and y lies outside of the table. A float table of up to 64
/// entries is read from registers.
template <class T>
inline void add_lookup(const T* table, [[maybe_unused]] int64_t size, const int32_t* ids, int64_t n, T* __restrict y) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    if (size <= 64) {
      const auto part = [&](int64_t first) {
        return std::bit_cast<__m512>(simd::load_first(table + first, int(size < first        ? 0
                                                                         : size - first < 16 ? size - first
                                                                                             : 16)));
      };
      const __m512 t0 = part(0), t1 = part(16), t2 = part(32), t3 = part(48);
      const __m512i upper = _mm512_set1_epi32(32);
      const auto select = [&](__m512i id) {
        const __m512 low = _mm512_permutex2var_ps(t0, id, t1), high = _mm512_permutex2var_ps(t2, id, t3);
        return _mm512_mask_blend_ps(_mm512_test_epi32_mask(id, upper), low, high);
      };
      for (; n >= 16; n -= 16, ids += 16, y += 16)
        _mm512_storeu_ps(y, _mm512_add_ps(_mm512_loadu_ps(y), select(_mm512_loadu_si512(ids))));
      if (n > 0) {
        const __mmask16 first = __mmask16((1u << n) - 1);
        const __m512 sum = _mm512_add_ps(_mm512_maskz_loadu_ps(first, y), select(_mm512_maskz_loadu_epi32(first, ids)));
        _mm512_mask_storeu_ps(y, first, sum);
      }
      return;
    }
  }
#endif
  for (int64_t j = 0; j < n; ++j) y[j] += table[ids[j]];
}

}  // namespace vitrine
