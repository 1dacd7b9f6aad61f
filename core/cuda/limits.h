#pragma once
#include "core/cuda/device.h"

/// What the current device can hold, for kernels that choose by it.
namespace vitrine::cuda {
inline namespace VITRINE_WORLD {

/// Bytes of shared memory that a block may have, static and dynamic together: 163 KiB on sm_80, 227 KiB on sm_90 and on
/// the emulated device.
inline int64_t shared_limit() {
#if defined(__CUDACC__)
  int device = 0, bytes = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  return bytes;
#else
  return 227 << 10;
#endif
}

}  // namespace VITRINE_WORLD
}  // namespace vitrine::cuda
