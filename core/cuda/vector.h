#pragma once
#include "core/cuda/device.h"

/// Loads and stores of several neighbouring elements at once, the widest being 16 bytes.
namespace vitrine::cuda {
inline namespace VITRINE_WORLD {

/// N neighbouring elements of type T, in registers.
template <class T, int N>
struct Pack {
  T v[N];
  __device__ __forceinline__ T& operator[](int i) { return v[i]; }
  __device__ __forceinline__ const T& operator[](int i) const { return v[i]; }
};

namespace vector_detail {

#if defined(__CUDACC__)
template <int kBytes>
struct Word;
template <>
struct Word<16> {
  using type = uint4;
};
template <>
struct Word<8> {
  using type = uint2;
};
template <>
struct Word<4> {
  using type = unsigned;
};
__device__ __forceinline__ void check_alignment(const char*, const void*, int) {}
#else
// The host compiler is told that these alias everything, and keeps each access in one piece for the checker.
template <int kBytes>
struct Word {
  struct [[gnu::may_alias]] alignas(kBytes) type {
    unsigned w[kBytes / 4];
  };
};
inline void check_alignment(const char* what, const void* p, int bytes) {
  if (reinterpret_cast<uintptr_t>(p) % uintptr_t(bytes))
    emulator::fail("%s: %p is not a multiple of %d", what, p, bytes);
}
#endif

/// Bytes moved by one instruction for a pack of kBytes bytes.
template <int kBytes>
inline constexpr int kWordBytes = kBytes % 16 == 0  ? 16
                                  : kBytes % 8 == 0 ? 8
                                                    : 4;

}  // namespace vector_detail

/// N elements from `p`, in accesses of 16 (or, for smaller packs, 8 or 4) bytes, to whose size `p` must be aligned.
template <int N, class T>
__device__ __forceinline__ Pack<T, N> load(const T* p) {
  constexpr int kBytes = N * int(sizeof(T)), kWord = vector_detail::kWordBytes<kBytes>;
  static_assert(kBytes % kWord == 0, "load: a multiple of 4 bytes");
  using Word = typename vector_detail::Word<kWord>::type;
  vector_detail::check_alignment("load", p, kWord);
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < kBytes / kWord; ++i) {
    const Word word = reinterpret_cast<const Word*>(p)[i];
    memcpy(reinterpret_cast<char*>(pack.v) + i * kWord, &word, kWord);
  }
  return pack;
}

/// Stores N elements at `p`; alignment as for load.
template <class T, int N>
__device__ __forceinline__ void store(T* p, const Pack<T, N>& pack) {
  constexpr int kBytes = N * int(sizeof(T)), kWord = vector_detail::kWordBytes<kBytes>;
  static_assert(kBytes % kWord == 0, "store: a multiple of 4 bytes");
  using Word = typename vector_detail::Word<kWord>::type;
  vector_detail::check_alignment("store", p, kWord);
#pragma unroll
  for (int i = 0; i < kBytes / kWord; ++i) {
    Word word;
    memcpy(&word, reinterpret_cast<const char*>(pack.v) + i * kWord, kWord);
    reinterpret_cast<Word*>(p)[i] = word;
  }
}

/// Four elements: 16 bytes of f32 or int, 8 bytes of a 16-bit type, 32 bytes (two accesses) of f64.
template <class T>
__device__ __forceinline__ Pack<T, 4> load4(const T* p) {
  return load<4>(p);
}
template <class T>
__device__ __forceinline__ void store4(T* p, const Pack<T, 4>& pack) {
  store(p, pack);
}

/// Elements of T in 16 bytes: 2 of f64, 4 of f32, 8 of bf16 and f16.
template <class T>
inline constexpr int kPer16 = 16 / int(sizeof(T));

/// Whether `p` may be loaded in units of `bytes` bytes; for launch functions that choose a kernel.
inline bool aligned_to(const void* p, int bytes) { return reinterpret_cast<uintptr_t>(p) % uintptr_t(bytes) == 0; }

}  // namespace VITRINE_WORLD
}  // namespace vitrine::cuda
