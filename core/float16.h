#pragma once
#include <cstdint>
#include <cstring>

/// Marks a function that host code and kernels both call. The engine's only function-like keyword.
#if defined(__CUDACC__)
#define VITRINE_HD __host__ __device__
#else
#define VITRINE_HD
#endif

namespace vitrine {

namespace bits {
/// The bits of x.
VITRINE_HD inline uint32_t of_float(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  return u;
}
/// The float with the bits u.
VITRINE_HD inline float to_float(uint32_t u) {
  float x;
  memcpy(&x, &u, 4);
  return x;
}
}  // namespace bits

/// bfloat16 storage: the upper 16 bits of a float. Rounds to nearest even; NaN stays NaN. Arithmetic happens in float.
struct bf16 {
  uint16_t bits;
  bf16() = default;
  VITRINE_HD explicit bf16(float x) {
    const uint32_t u = bits::of_float(x);
    bits = x != x ? uint16_t(u >> 16 | 0x40) : uint16_t((u + 0x7FFF + (u >> 16 & 1)) >> 16);
  }
  VITRINE_HD operator float() const { return bits::to_float(uint32_t(bits) << 16); }
};

/// IEEE binary16 storage. Rounds to nearest even, overflows to infinity, keeps subnormals and NaN. Arithmetic happens
/// in float.
struct f16 {
  uint16_t bits;
  f16() = default;
  VITRINE_HD explicit f16(float x) {
    const uint32_t u = bits::of_float(x), sign = u >> 16 & 0x8000, a = u & 0x7FFFFFFF;
    uint32_t h;
    if (a > 0x7F800000) {
      h = 0x7E00;  // NaN
    } else if (a >= 0x477FF000) {
      h = 0x7C00;  // 65520 and above round to infinity
    } else if (a < 0x38800000) {
      // Subnormal: adding 0.5 aligns the mantissa so that the float adder does the rounding.
      h = bits::of_float(bits::to_float(a) + 0.5f) - 0x3F000000;
    } else {
      h = (a - 0x38000000 + 0xFFF + (a >> 13 & 1)) >> 13;
    }
    bits = uint16_t(h | sign);
  }
  VITRINE_HD operator float() const {
    const uint32_t sign = uint32_t(bits & 0x8000) << 16, a = bits & 0x7FFF;
    if (a >= 0x7C00) return bits::to_float(sign | 0x7F800000 | (a & 0x3FF) << 13);
    if (a < 0x400) {
      const float v = float(a) * 0x1p-24f;
      return bits::to_float(bits::of_float(v) | sign);
    }
    return bits::to_float(sign | ((a << 13) + 0x38000000));
  }
};

}  // namespace vitrine
