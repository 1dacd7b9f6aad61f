#pragma once
#include "core/cuda/device.h"
#if !defined(__CUDACC__)
#include "core/cuda/emulator/instructions.h"
#endif

/// Thin wrappers of single instructions (sm_80 and later). On the GPU each is one `asm`; the emulator has a twin of
/// each.
///
/// Fragments, with g = lane / 4 and t = lane % 4:
///   A (16x16, row-major): register i holds row g + 8*(i%2), columns 2t and 2t+1 (+8 for i >= 2), the lower in the low
///   half B (16x8): register i holds rows 2t and 2t+1 (+8*i) of column g C, D (16x8): values 0, 1 are row g, values 2,
///   3 row g + 8, columns 2t and 2t+1
namespace vitrine::cuda {
inline namespace VITRINE_WORLD {

/// Two floats as bf16, rounded to nearest even, `low` in the lower half. A NaN becomes 0x7FFF.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
#if defined(__CUDACC__)
  uint32_t r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
#else
  const uint32_t l = low != low ? 0x7FFF : bf16(low).bits, h = high != high ? 0x7FFF : bf16(high).bits;
  return l | h << 16;
#endif
}

/// d = a * b + c for 16x16 by 16x8 tiles, bf16 factors, f32 sums. All 32 lanes must call it. `d` may be `c`.
/// The emulator adds the 16 products of an element to c in ascending k, each sum rounded to f32; the order inside a
/// tensor core is not specified, so only sums that are exact in any order agree bit for bit.
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                             const float (&c)[4]) {
#if defined(__CUDACC__)
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
#else
  emulator::mma_m16n8k16(d, a, b, c);
#endif
}

/// Loads four 8x8 matrices of 16-bit elements from shared memory. Lanes 8m .. 8m+7 point to the rows of matrix m, 16
/// bytes each and 16-byte aligned. Lane l receives in r[m] elements 2(l%4) and +1 of row l/4; with kTranspose, elements
/// l/4 of rows 2(l%4) and +1. All 32 lanes must call it.
template <bool kTranspose = false>
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
#if defined(__CUDACC__)
  const unsigned address = unsigned(__cvta_generic_to_shared(row));
  if constexpr (kTranspose) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  }
#else
  emulator::ldmatrix(r, 4, row, kTranspose);
#endif
}

/// The same for two matrices, whose rows are addressed by lanes 0..15; the other lanes' pointers are not used.
template <bool kTranspose = false>
__device__ __forceinline__ void ldmatrix_x2(uint32_t (&r)[2], const void* row) {
#if defined(__CUDACC__)
  const unsigned address = unsigned(__cvta_generic_to_shared(row));
  if constexpr (kTranspose) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
  }
#else
  emulator::ldmatrix(r, 2, row, kTranspose);
#endif
}

/// Starts to copy 16 bytes from global to shared memory, both 16-byte aligned. The bytes are there for this thread
/// after cp_async_wait, and for other threads after a barrier that follows it; the emulator leaves NaN there until
/// then.
__device__ __forceinline__ void cp_async16(void* shared, const void* global) {
#if defined(__CUDACC__)
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(unsigned(__cvta_generic_to_shared(shared))),
               "l"(global)
               : "memory");
#else
  emulator::async_copy(shared, global, 16);
#endif
}

/// Closes a group: the copies that this thread has started since the last commit.
__device__ __forceinline__ void cp_async_commit() {
#if defined(__CUDACC__)
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  emulator::async_commit();
#endif
}

/// Waits until at most the kKeep newest groups of this thread are unfinished; 0 waits for all groups.
template <int kKeep>
__device__ __forceinline__ void cp_async_wait() {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_group %0;" ::"n"(kKeep) : "memory");
#else
  emulator::async_wait(kKeep);
#endif
}

}  // namespace VITRINE_WORLD
}  // namespace vitrine::cuda
