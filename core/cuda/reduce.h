#pragma once
#include "core/cuda/device.h"

/// Reductions over a warp and over a block, in an order that is the same in every run.
namespace vitrine::cuda {
inline namespace VITRINE_WORLD {

/// The operations. Each is associative up to rounding and commutative.
struct Sum {
  template <class T>
  static __device__ __forceinline__ T apply(T a, T b) {
    return a + b;
  }
};
/// A NaN gives way to the other operand, as in CUDA's max; the same for Min.
struct Max {
  template <class T>
  static __device__ __forceinline__ T apply(T a, T b) {
    return max(a, b);
  }
};
struct Min {
  template <class T>
  static __device__ __forceinline__ T apply(T a, T b) {
    return min(a, b);
  }
};

/// The reduction over all 32 lanes of the calling warp, in each of them. Every lane must call it.
///
/// @param value  this lane's value: int, unsigned, float, double or a 64-bit integer
template <class Op, class T>
__device__ __forceinline__ T warp_reduce(T value) {
#pragma unroll
  for (int bit = kWarp / 2; bit; bit /= 2) value = Op::apply(value, __shfl_xor_sync(kAllLanes, value, bit));
  return value;
}

/// The reduction over all threads of the block, in each of them. Every thread of the block must call it; any block size
/// and shape will do. Calls may follow each other directly, and each call is also a barrier: what a thread wrote to
/// memory before it, every thread sees after it.
///
/// Each warp reduces by shuffles into its lane 0, which leaves the result in shared memory; every thread then folds the
/// warps' results in ascending order. The first barrier puts the writes before the reads, the second one puts the reads
/// before the writes of a following call.
///
/// @param value     this thread's value: int, unsigned, float, double or a 64-bit integer
/// @param identity  the neutral element of Op
template <class Op, class T>
__device__ __forceinline__ T block_reduce(T value, T identity) {
  VITRINE_SHARED(T, parts, [kWarp]);
  const int thread = int(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
  const int count = int(blockDim.x * blockDim.y * blockDim.z);
  const int lane = thread % kWarp, lanes = min(kWarp, count - (thread - lane));
#pragma unroll
  for (int step = kWarp / 2; step; step /= 2) {
    // Lanes that the last warp of an odd block lacks are neither read nor counted.
    const T other = __shfl_sync(kAllLanes, value, lane + step < lanes ? lane + step : lane);
    if (lane + step < lanes) value = Op::apply(value, other);
  }
  if (lane == 0) parts[thread / kWarp] = value;
  __syncthreads();
  T total = identity;
  for (int warp = 0; warp * kWarp < count; ++warp) total = Op::apply(total, parts[warp]);
  __syncthreads();
  return total;
}

}  // namespace VITRINE_WORLD
}  // namespace vitrine::cuda
