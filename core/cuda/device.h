#pragma once
#include <cstdint>

#include "core/device.h"
#include "core/dtype.h"
#include "core/float16.h"

/// The one CUDA header that a kernel file includes (core/cuda/launch.h, reduce.h, ... include it too).
///
/// Under nvcc it gives CUDA itself; under the host compiler the same names from the emulator, so that the same `.cu`
/// file also becomes the kernels of Device::emulated(). What the dialect allows is in core/cuda/README.md.
///
///   VITRINE_SHARED(float, tile, [32][33]);              a shared array (no dimensions: a shared scalar)
///   VITRINE_SHARED_ALIGNED(16, bf16, rows, [64][72]);   aligned beyond its type, as 16-byte accesses need
///   VITRINE_SHARED_DYNAMIC(raw);                        `unsigned char* raw`, the launch's dynamic bytes, 16-aligned

#if defined(__CUDACC__)

#include <cuda_runtime.h>
/// The two compilations of a header below core/cuda meet in one binary, so its names sit in different namespaces.
#define VITRINE_WORLD gpu_world
#define VITRINE_SHARED_ALIGNED(align, type, name, ...) \
  __shared__ __align__(align)                          \
  type name __VA_ARGS__
#define VITRINE_SHARED(type, name, ...) __shared__ type name __VA_ARGS__
#define VITRINE_SHARED_DYNAMIC(raw)                                       \
  extern __shared__ __align__(16) unsigned char vitrine_dynamic_shared[]; \
  unsigned char* const raw = vitrine_dynamic_shared

#else

#include "core/cuda/emulator/device_functions.h"
#define VITRINE_WORLD emulated_world

#endif

namespace vitrine::cuda {
inline namespace VITRINE_WORLD {

/// The device whose kernels this compilation makes.
#if defined(__CUDACC__)
inline constexpr DeviceType kKernelDevice = DeviceType::cuda;
#else
inline constexpr DeviceType kKernelDevice = DeviceType::emulated;
#endif

/// Lanes in a warp, as a constant for array sizes.
inline constexpr int kWarp = 32;
/// The mask that names every lane of a warp.
inline constexpr unsigned kAllLanes = 0xFFFFFFFFu;

}  // namespace VITRINE_WORLD
}  // namespace vitrine::cuda
