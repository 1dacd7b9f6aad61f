#pragma once
#include <cstdint>

#include "core/simd.h"

namespace vitrine {

/// y_j += table[lead_id] for j < lead, which is at most 16, and y_{lead + j} += table[ids_j] for j < n. Every id is in
/// [0, size). A float table of up to 64 entries is read from registers, and y is written in whole vectors from its
/// start on, the way it will be read: a load waits for a store that is narrower or masked. So y has room for whole
/// vectors, whose rest stays as it is, and may hold the table there. Other tables lie outside of y.
template <class T>
inline void add_lookup(const T* table, [[maybe_unused]] int64_t size, int64_t lead, int32_t lead_id, const int32_t* ids,
                       int64_t n, T* y) {
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
      const auto add = [&](__mmask16 there, __m512i id) {
        const __m512 before = _mm512_loadu_ps(y);
        _mm512_storeu_ps(y, _mm512_mask_add_ps(before, there, before, select(id)));
        y += 16, n -= 16;
      };
      const auto first_of = [](int64_t count) { return __mmask16(count < 16 ? (1u << count) - 1 : 0xFFFF); };
      n += lead;
      if (lead > 0) {
        const __mmask16 there = first_of(n), leading = first_of(lead);
        const __m512i id = _mm512_maskz_expandloadu_epi32(there & ~leading, ids);
        add(there, _mm512_mask_set1_epi32(id, leading, lead_id));
        ids += 16 - lead;
      }
      for (; n >= 16; ids += 16) add(0xFFFF, _mm512_loadu_si512(ids));
      if (n > 0) add(first_of(n), _mm512_maskz_loadu_epi32(first_of(n), ids));
      return;
    }
  }
#endif
  T* __restrict to = y;  // what is written here is not in the table, so that the loop becomes vectors
  for (int64_t j = 0; j < lead; ++j) to[j] += table[lead_id];
  for (int64_t j = 0; j < n; ++j) to[lead + j] += table[ids[j]];
}

}  // namespace vitrine
