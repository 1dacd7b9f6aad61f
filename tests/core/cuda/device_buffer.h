#pragma once
#include <cstring>
#include <vector>

#include "core/cuda/launch.h"

namespace vitrine::testing {
inline namespace VITRINE_WORLD {

/// Whether a device of this compilation's kind can run kernels now.
inline bool device_present() {
#if defined(__CUDACC__)
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
#else
  return true;
#endif
}

/// An exact-size buffer on the device of this compilation.
template <class T>
class DeviceBuffer {
 public:
  /// `count` elements; what they hold is not specified (on the emulated device all bits are set).
  explicit DeviceBuffer(size_t count) : count_(count) {
#if defined(__CUDACC__)
    void* p = nullptr;
    cuda::check_launch(cudaMalloc(&p, count * sizeof(T) + 1), "DeviceBuffer", "cudaMalloc");
    cuda::check_launch(cudaMemset(p, 0xFF, count * sizeof(T)), "DeviceBuffer", "cudaMemset");
    data_ = static_cast<T*>(p);
#else
    data_ = static_cast<T*>(emulator::device_malloc(count * sizeof(T)));
#endif
  }
  explicit DeviceBuffer(const std::vector<T>& values) : DeviceBuffer(values.size()) {
#if defined(__CUDACC__)
    cuda::check_launch(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice), "DeviceBuffer",
                       "copy");
#else
    emulator::device_memcpy(data_, values.data(), count_ * sizeof(T));
#endif
  }
  ~DeviceBuffer() {
#if defined(__CUDACC__)
    cudaFree(data_);
#else
    emulator::device_free(data_);
#endif
  }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  T* data() { return data_; }
  std::vector<T> read() const {
    std::vector<T> values(count_);
#if defined(__CUDACC__)
    cuda::check_launch(cudaDeviceSynchronize(), "DeviceBuffer", "wait");
    cuda::check_launch(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost), "DeviceBuffer",
                       "copy");
#else
    emulator::device_memcpy(values.data(), data_, count_ * sizeof(T));
#endif
    return values;
  }

 private:
  T* data_ = nullptr;
  size_t count_;
};

}  // namespace VITRINE_WORLD
}  // namespace vitrine::testing
