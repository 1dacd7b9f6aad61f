#include "core/backend.h"
#include "core/cuda/caching_allocator.h"
#include "core/cuda/check.h"
#include "core/cuda/graph.h"
#include "core/cuda/stream.h"

// The cuda device's side of core/backend.h, on the CUDA runtime.
namespace vitrine {
namespace {

int device_count() {
  static const int count = [] {
    int n = 0;
    if (cudaGetDeviceCount(&n) != cudaSuccess) {
      cudaGetLastError();  // no driver: a machine without a GPU runs this build too
      return 0;
    }
    return n;
  }();
  return count;
}

// Never destroyed: tensors may live in static objects that go later.
Allocator& device_allocator(int index) {
  static std::vector<cuda::CachingAllocator*>& allocators = [&]() -> auto& {
    auto& list = *new std::vector<cuda::CachingAllocator*>;
    for (int i = 0; i < device_count(); ++i) list.push_back(new cuda::CachingAllocator(i));
    return list;
  }
  ();
  return *allocators.at(size_t(index));
}

void copy(void* to, const void* from, size_t bytes) {
  const auto stream = static_cast<cudaStream_t>(cuda::current_stream());
  cuda::check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream), "copy");
  if (!cuda::stream_records()) cuda::check_cuda(cudaStreamSynchronize(stream), "copy");
}

const Backend kCuda{
    .device_count = device_count,
    .allocator = device_allocator,
    .copy_bytes = copy,
    .synchronize = [] { cuda::check_cuda(cudaDeviceSynchronize(), "synchronize"); },
    .graphs = &cuda::kGraphSupport,
};
const RegisterBackend register_cuda(DeviceType::cuda, kCuda);

thread_local void* stream = nullptr;

}  // namespace

void* cuda::current_stream() { return stream; }
cuda::StreamGuard::StreamGuard(void* s) : previous_(stream) { stream = s; }
cuda::StreamGuard::~StreamGuard() { stream = previous_; }

}  // namespace vitrine
