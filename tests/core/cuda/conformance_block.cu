#include "core/cuda/launch.h"
#include "core/cuda/reduce.h"
#include "core/cuda/vector.h"
#include "tests/core/cuda/device_buffer.h"
#include "tests/core/cuda/runners.h"

// Indices, barriers, shared memory, atomics, block reductions, vector accesses and conversions, on integers.
namespace vitrine::testing {
namespace {

// out [blocks, threads]: a number made of all indices of the thread.
__global__ void indices(uint32_t* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[block * threads + thread] =
      threadIdx.x + 10 * threadIdx.y + 100 * threadIdx.z + 1000 * blockIdx.x + 10000 * blockIdx.y + 100000 * blockIdx.z;
}

// Values wander around a ring in dynamic shared memory, one place per round. The first barrier of a round lets all
// values be in place before they are read; the second keeps the next round's writes behind the reads.
__global__ void ring(uint32_t* out, int rounds) {
  VITRINE_SHARED_DYNAMIC(raw);
  int* const place = reinterpret_cast<int*>(raw);
  const int t = int(threadIdx.x), n = int(blockDim.x);
  int value = t;
  for (int round = 0; round < rounds; ++round) {
    place[t] = value;
    __syncthreads();
    value = place[(t + 1) % n];
    __syncthreads();
  }
  out[t] = uint32_t(value);
}

__global__ void barrier_votes(uint32_t* out) {
  const int t = int(threadIdx.x);
  const int count = __syncthreads_count(t % 3 == 0);
  const int any = __syncthreads_or(t == 7);
  const int all = __syncthreads_and(t < 64);
  out[t] = uint32_t(count * 4 + (any != 0) * 2 + (all != 0));
}

// Two arrays and a scalar in shared memory, one of them of bytes that different threads write.
__global__ void shared_arrays(uint32_t* out) {
  VITRINE_SHARED(unsigned char, bytes, [2][48]);
  VITRINE_SHARED(double, wide, [96]);
  VITRINE_SHARED(int, total);
  const int t = int(threadIdx.x);
  bytes[t / 48][t % 48] = (unsigned char)(t);
  wide[95 - t] = t;
  if (t == 17) total = 5;
  __syncthreads();
  out[t] = uint32_t(bytes[t % 2][t / 2]) * 1000 + uint32_t(wide[t]) + uint32_t(total);
}

__global__ void atomics(int* sum, unsigned* bits, unsigned long long* wide, int* extremes, unsigned* wrap) {
  const int t = int(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(sum, t);
  atomicSub(sum + 1, t);
  atomicOr(bits, 1u << t % 32);
  atomicAnd(bits + 1, ~(1u << t % 16));
  atomicXor(bits + 2, 1u << t % 5);
  atomicAdd(wide, (unsigned long long)(t) << 32);
  atomicMin(extremes, 100 - t);
  atomicMax(extremes + 1, t - 100);
  atomicInc(wrap, 9u);
  if (t == 3) atomicExch(wrap + 1, 77u);
  atomicCAS(wrap + 2, t == 4 ? 1000u : 2000u + unsigned(t), 5u);
}

// out [blocks, threads, 3]
__global__ void reductions(uint32_t* out, int n) {
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  const int t = int(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
  const int value = t * t % n - int(blockIdx.x);
  uint32_t* const mine = out + 3 * (size_t(blockIdx.x) * threads + size_t(t));
  const int sum = cuda::block_reduce<cuda::Sum>(value, 0);
  const int again = cuda::block_reduce<cuda::Sum>(value + 1, 0);
  mine[0] = uint32_t(sum);
  mine[1] = uint32_t(int(cuda::block_reduce<cuda::Max>(float(value), -INFINITY)));
  mine[2] = uint32_t(int(cuda::block_reduce<cuda::Min>(double(value), double(INFINITY))) + again);
}

__global__ void warp_reductions(uint32_t* out) {
  const int t = int(threadIdx.x);
  out[t] = uint32_t(cuda::warp_reduce<cuda::Sum>(t)) * 1000 + uint32_t(cuda::warp_reduce<cuda::Max>(float(t % 19)));
}

// Copies n elements in packs of N, with the remainder one by one.
template <class T, int N>
__global__ void copy_packs(T* to, const T* from, int n) {
  const int i = N * int(blockIdx.x * blockDim.x + threadIdx.x);
  if (i + N <= n) {
    auto pack = cuda::load<N>(from + i);
    const T first = pack[0];  // rotated by one, so that the order inside a pack shows
    for (int k = 0; k + 1 < N; ++k) pack[k] = pack[k + 1];
    pack[N - 1] = first;
    cuda::store(to + i, pack);
  } else {
    for (int k = i; k < n; ++k) to[k] = from[k];
  }
}

// From each pattern of 16 bits: as bf16 and as f16 to float; and the floats around it and around the tie above it,
// given by `in`, to bf16 and f16.
__global__ void widen(uint32_t* out) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  bf16 b;
  f16 h;
  b.bits = uint16_t(i), h.bits = uint16_t(i);
  out[2 * i] = __float_as_uint(float(b));
  out[2 * i + 1] = __float_as_uint(float(h));
}
__global__ void narrow(uint32_t* out, const uint32_t* in, int n) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= n) return;
  const float x = __uint_as_float(in[i]);
  out[i] = uint32_t(bf16(x).bits) | uint32_t(f16(x).bits) << 16;
}

Words run_indices(const Words& a) {
  DeviceBuffer<uint32_t> out(size_t(a[0]) * a[1] * a[2] * a[3] * a[4] * a[5]);
  cuda::launch("indices", indices, {.grid = {a[0], a[1], a[2]}, .block = dim3(a[3], a[4], a[5])}, out.data());
  return out.read();
}
Words run_ring(const Words& a) {
  DeviceBuffer<uint32_t> out(a[0]);
  cuda::launch("ring", ring, {.grid = 1, .block = a[0], .shared = a[0] * sizeof(int)}, out.data(), a[1]);
  return out.read();
}
Words run_barrier_votes(const Words& threads) {
  DeviceBuffer<uint32_t> out(threads[0]);
  cuda::launch("barrier_votes", barrier_votes, {.grid = 1, .block = threads[0]}, out.data());
  return out.read();
}
Words run_shared_arrays(const Words&) {
  DeviceBuffer<uint32_t> out(96);
  cuda::launch("shared_arrays", shared_arrays, {.grid = 1, .block = 96}, out.data());
  return out.read();
}
Words run_atomics(const Words&) {
  DeviceBuffer<int> sum(std::vector<int>{0, 0}), extremes(std::vector<int>{1000, -1000});
  DeviceBuffer<unsigned> bits(Words{0, ~0u, 0}), wrap(Words{0, 0, 1000});
  DeviceBuffer<unsigned long long> wide(std::vector<unsigned long long>{1});
  cuda::launch("atomics", atomics, {.grid = 3, .block = 50}, sum.data(), bits.data(), wide.data(), extremes.data(),
               wrap.data());
  Words all;
  for (int x : sum.read()) all.push_back(uint32_t(x));
  for (unsigned x : bits.read()) all.push_back(x);
  all.push_back(uint32_t(wide.read()[0] >> 32));
  for (int x : extremes.read()) all.push_back(uint32_t(x));
  for (unsigned x : wrap.read()) all.push_back(x);
  return all;
}
Words run_reductions(const Words& a) {
  DeviceBuffer<uint32_t> out(2 * 3 * size_t(a[0]) * a[1] * a[2]);
  cuda::launch("reductions", reductions, {.grid = 2, .block = {a[0], a[1], a[2]}}, out.data(), 53);
  return out.read();
}
Words run_warp_reductions(const Words&) {
  DeviceBuffer<uint32_t> out(64);
  cuda::launch("warp_reductions", warp_reductions, {.grid = 1, .block = 64}, out.data());
  return out.read();
}
template <class T, int N>
Words run_packs(const Words& count) {
  std::vector<T> values;
  for (uint32_t i = 0; i < count[0]; ++i) values.push_back(T(float(i % 256)));
  DeviceBuffer<T> from(values), to(values.size());
  cuda::launch("copy_packs", copy_packs<T, N>, {.grid = (count[0] + 32 * N - 1) / (32 * N), .block = 32}, to.data(),
               from.data(), count[0]);
  Words words;
  for (T x : to.read()) words.push_back(uint32_t(float(x)));
  return words;
}
Words run_widen(const Words&) {
  DeviceBuffer<uint32_t> out(2 * 65536);
  cuda::launch("widen", widen, {.grid = 256, .block = 256}, out.data());
  return out.read();
}
Words run_narrow(const Words& patterns) {
  const int64_t n = int64_t(patterns.size());
  DeviceBuffer<uint32_t> in(patterns), out(patterns.size());
  cuda::launch("narrow", narrow, {.grid = (n + 255) / 256, .block = 256}, out.data(), in.data(), n);
  return out.read();
}

Words run_present(const Words&) { return {device_present()}; }

const AddRunner add_runners[] = {
    {"present", cuda::kKernelDevice, run_present},
    {"indices", cuda::kKernelDevice, run_indices},
    {"ring", cuda::kKernelDevice, run_ring},
    {"barrier_votes", cuda::kKernelDevice, run_barrier_votes},
    {"shared_arrays", cuda::kKernelDevice, run_shared_arrays},
    {"atomics", cuda::kKernelDevice, run_atomics},
    {"reductions", cuda::kKernelDevice, run_reductions},
    {"warp_reductions", cuda::kKernelDevice, run_warp_reductions},
    {"packs f32 4", cuda::kKernelDevice, run_packs<float, 4>},
    {"packs f32 2", cuda::kKernelDevice, run_packs<float, 2>},
    {"packs f64 4", cuda::kKernelDevice, run_packs<double, 4>},
    {"packs bf16 4", cuda::kKernelDevice, run_packs<bf16, 4>},
    {"packs bf16 8", cuda::kKernelDevice, run_packs<bf16, 8>},
    {"packs bf16 2", cuda::kKernelDevice, run_packs<bf16, 2>},
    {"widen", cuda::kKernelDevice, run_widen},
    {"narrow", cuda::kKernelDevice, run_narrow},
};

}  // namespace
}  // namespace vitrine::testing
