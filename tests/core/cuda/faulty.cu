#include "core/cuda/instructions.h"
#include "core/cuda/launch.h"
#include "core/cuda/vector.h"
#include "tests/core/cuda/device_buffer.h"
#include "tests/core/cuda/runners.h"

// One small kernel per class of mistake, with its repaired twin (kFixed). Right answers are all ones: each thread
// writes 1 where it saw what it should. Only the emulated device runs them; test_catchers.cpp says who must notice
// what.
namespace vitrine::testing {
namespace {

constexpr int kThreads = 96;

// A thread reads what its neighbour wrote, without waiting for it.
template <bool kFixed>
__global__ void no_barrier_before_read(uint32_t* out) {
  VITRINE_SHARED(int, tile, [kThreads]);
  const int t = int(threadIdx.x);
  tile[t] = t;
  if (kFixed) __syncthreads();
  out[t] = tile[(t + 33) % kThreads] == (t + 33) % kThreads;
}

// The next round overwrites the tile while slower warps still read it.
template <bool kFixed>
__global__ void no_barrier_before_overwrite(uint32_t* out) {
  VITRINE_SHARED(int, tile, [kThreads]);
  const int t = int(threadIdx.x);
  uint32_t right = 1;
  for (int round = 0; round < 3; ++round) {
    tile[t] = 100 * round + t;
    __syncthreads();
    right &= tile[(t + 32) % kThreads] == 100 * round + (t + 32) % kThreads;
    if (kFixed) __syncthreads();
  }
  out[t] = right;
}

template <bool kFixed>
__global__ void no_syncwarp(uint32_t* out) {
  VITRINE_SHARED(int, tile, [32]);
  const int t = int(threadIdx.x);
  tile[t] = t;
  if (kFixed) __syncwarp();
  out[t] = tile[(t + 1) % 32] == (t + 1) % 32;
}

// A shuffle orders registers, not memory.
template <bool kFixed>
__global__ void shuffle_as_fence(uint32_t* out) {
  VITRINE_SHARED(int, tile, [32]);
  const int t = int(threadIdx.x);
  tile[t] = t;
  __shfl_sync(cuda::kAllLanes, t, 0);
  if (kFixed) __syncwarp();
  out[t] = tile[(t + 1) % 32] == (t + 1) % 32;
}

template <bool kFixed>
__global__ void plain_add_in_block(uint32_t* out, int* sum) {
  if (kFixed) {
    atomicAdd(sum, 1);
  } else {
    *sum += 1;
  }
  __syncthreads();
  out[threadIdx.x] = *sum == int(blockDim.x);
}

template <bool kFixed>
__global__ void plain_add_between_blocks(uint32_t* out, int* sum) {
  if (kFixed) {
    atomicAdd(sum, 1);
  } else {
    *sum += 1;
  }
  out[blockIdx.x] = 1;
}

template <bool kFixed>
__global__ void read_past_end(uint32_t* out, const int* in, int n) {
  const int t = int(threadIdx.x);
  const int last = kFixed ? n - 1 : n;
  out[t] = in[min(t + 1, last)] != 12345;
}

template <bool kFixed>
__global__ void write_past_end(uint32_t* out, int n) {
  const int t = int(threadIdx.x);
  if (kFixed ? t < n : t <= n) out[t] = 1;
}

template <bool kFixed>
__global__ void read_before_begin(uint32_t* out, const int* in) {
  const int t = int(threadIdx.x);
  out[t] = in[kFixed ? max(t - 1, 0) : t - 1] != 12345;
}

template <bool kFixed>
__global__ void shared_overrun(uint32_t* out) {
  VITRINE_SHARED(int, tile, [kThreads]);
  const int t = int(threadIdx.x);
  tile[kFixed ? t : t + 1] = 1;
  __syncthreads();
  out[t] = kFixed ? tile[t] == 1 : 1;
}

template <bool kFixed>
__global__ void dynamic_shared_overrun(uint32_t* out) {
  VITRINE_SHARED_DYNAMIC(raw);
  int* const tile = reinterpret_cast<int*>(raw);
  const int t = int(threadIdx.x);
  tile[kFixed ? t : t + 1] = 1;
  __syncthreads();
  out[t] = kFixed ? tile[t] == 1 : 1;
}

template <bool kFixed>
__global__ void stack_overrun(uint32_t* out, int n) {
  volatile int local[8];
  const int end = kFixed ? n : n + 1;
  for (int i = 0; i < end; ++i) local[i] = 1;
  out[threadIdx.x] = uint32_t(local[n - 1]);
}

template <bool kFixed>
__global__ void misaligned_float4(uint32_t* out, const float* in) {
  VITRINE_SHARED(float4, copy);
  copy = *reinterpret_cast<const float4*>(in + (kFixed ? 4 : 1));
  out[threadIdx.x] = copy.x != 12345.0f;
}

template <bool kFixed>
__global__ void misaligned_load4(uint32_t* out, const float* in) {
  const auto v = cuda::load4(in + (kFixed ? 4 : 1));
  out[threadIdx.x] = v[0] != 12345.0f;
}

// The sum takes in an element that no thread has written.
template <bool kFixed>
__global__ void uninitialised_shared(uint32_t* out) {
  VITRINE_SHARED(float, tile, [kThreads + 1]);
  const int t = int(threadIdx.x);
  tile[t] = 1;
  if (kFixed && t == 0) tile[kThreads] = 1;
  __syncthreads();
  out[t] = tile[t] + tile[t + 1] >= 1;
}

template <bool kFixed>
__global__ void divergent_barrier(uint32_t* out) {
  if (kFixed || threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[threadIdx.x] = 1;
}

template <bool kFixed>
__global__ void return_before_barrier(uint32_t* out) {
  out[threadIdx.x] = 1;
  if (!kFixed && threadIdx.x >= 40) return;
  __syncthreads();
}

template <bool kFixed>
__global__ void shuffle_without_all_lanes(uint32_t* out) {
  const int t = int(threadIdx.x);
  if (kFixed || t < 16) __shfl_xor_sync(cuda::kAllLanes, t, 1);
  out[t] = 1;
}

template <bool kFixed>
__global__ void lanes_in_different_operations(uint32_t* out) {
  const int t = int(threadIdx.x);
  if (kFixed || t < 16) {
    __shfl_xor_sync(cuda::kAllLanes, t, 1);
  } else {
    __shfl_up_sync(cuda::kAllLanes, t, 1);
  }
  out[t] = 1;
}

template <bool kFixed>
__global__ void lanes_with_different_masks(uint32_t* out) {
  const int t = int(threadIdx.x);
  __syncwarp(kFixed || t < 16 ? cuda::kAllLanes : 0xFFFF8000u);
  out[t] = 1;
}

template <bool kFixed>
__global__ void lane_outside_its_mask(uint32_t* out) {
  const int t = int(threadIdx.x);
  __ballot_sync(kFixed ? cuda::kAllLanes : 0x7FFFFFFFu, 1);
  out[t] = 1;
}

template <bool kFixed>
__global__ void shuffle_from_outside_the_mask(uint32_t* out) {
  const int t = int(threadIdx.x);
  if (t < 16) out[t] = __shfl_sync(0xFFFFu, t, kFixed ? 3 : 20) == 3;
  if (t >= 16) out[t] = 1;
}

// Two warps wait for each other: one in a barrier, the other for a lane that sits in it.
template <bool kFixed>
__global__ void barrier_against_syncwarp(uint32_t* out) {
  const int t = int(threadIdx.x);
  if (kFixed || t % 32 != 5) {
    __syncwarp();
    __syncthreads();
  } else {
    __syncthreads();
    __syncwarp();
  }
  out[t] = 1;
}

// A lax wait: the newest group, whose bytes are read next, may still be under way.
template <bool kFixed>
__global__ void lax_async_wait(uint32_t* out, const float* in) {
  VITRINE_SHARED_ALIGNED(16, float, tile, [2][4 * 32]);
  const int t = int(threadIdx.x);
  cuda::cp_async16(&tile[0][4 * t], in + 4 * t);
  cuda::cp_async_commit();
  cuda::cp_async16(&tile[1][4 * t], in + 4 * 32 + 4 * t);
  cuda::cp_async_commit();
  if (kFixed) {
    cuda::cp_async_wait<0>();
  } else {
    cuda::cp_async_wait<1>();
  }
  __syncthreads();
  const int from = (t + 1) % 32;
  out[t] = tile[0][4 * from] == float(4 * from) && tile[1][4 * from] == float(4 * 32 + 4 * from);
}

// What lane 0 writes reaches lane 2 through lane 1: the chain of two partial __syncwarps orders them, one alone does
// not.
template <bool kFixed>
__global__ void broken_chain_of_syncwarps(uint32_t* out) {
  VITRINE_SHARED(int, value, [2]);
  const int t = int(threadIdx.x);
  if (t == 0) value[0] = 7;
  if (t < 2) __syncwarp(0x3);
  if (t == 1) value[1] = value[0];
  if (t == 1 || t == 2) __syncwarp(kFixed ? 0x6 : 1u << t);
  out[t] = t == 2 ? value[0] + value[1] == 14 : 1;
}

template <bool kFixed>
__global__ void unsynchronised_bf16(uint32_t* out) {
  VITRINE_SHARED(bf16, tile, [2 * kThreads]);
  const int t = int(threadIdx.x);
  tile[2 * t] = bf16(float(t));
  tile[2 * t + 1] = bf16(-float(t));
  if (kFixed) __syncthreads();
  const int from = (t + 33) % kThreads;
  out[t] = float(tile[2 * from]) == float(from) && float(tile[2 * from + 1]) == -float(from);
}

// Neighbouring bytes of one word belong to different threads: no race, unless two of them share a byte.
template <bool kFixed>
__global__ void shared_byte(uint32_t* out, unsigned char* bytes) {
  const int t = int(threadIdx.x);
  bytes[kFixed ? t : t | 1] = 1;
  out[t] = 1;
}

// The wait is for a thread's own copies; the others' need a barrier behind their waits.
template <bool kFixed>
__global__ void no_barrier_after_async_wait(uint32_t* out, const float* in) {
  VITRINE_SHARED_ALIGNED(16, float, tile, [4 * 32]);
  const int t = int(threadIdx.x), from = (t + 1) % 32;
  cuda::cp_async16(&tile[4 * t], in + 4 * t);
  cuda::cp_async_commit();
  __syncthreads();
  cuda::cp_async_wait<0>();
  if (kFixed) __syncthreads();
  out[t] = tile[4 * from] == float(4 * from);
}

// Bytes of a word that another thread wrote as a whole.
template <bool kFixed>
__global__ void bytes_of_a_word(uint32_t* out) {
  VITRINE_SHARED(uint32_t, words, [kThreads]);
  const int t = int(threadIdx.x);
  words[t] = 0x01010101;
  if (kFixed) __syncthreads();
  const unsigned char* const bytes = reinterpret_cast<const unsigned char*>(words);
  out[t] = t ? bytes[4 * (t - 1) + 2] : 1;
}

// Many threads read a value, and the one that runs last of them (the last to meet the others goes on first) replaces
// it. It is ordered after its own read, not after the other reads. others'.
template <bool kFixed>
__global__ void overwrite_after_reads_of_warp(uint32_t* out) {
  VITRINE_SHARED(int, value);
  const int t = int(threadIdx.x);
  if (t == 0) value = 1;
  __syncwarp();
  out[t] = uint32_t(value);
  if (kFixed) __syncwarp();
  if (t == 30) value = 2;
}

template <bool kFixed>
__global__ void overwrite_after_reads_of_block(uint32_t* out) {
  VITRINE_SHARED(int, value);
  const int t = int(threadIdx.x);
  if (t == 0) value = 1;
  __syncthreads();
  out[t] = uint32_t(value);
  __syncwarp();  // orders this warp only
  if (kFixed) __syncthreads();
  if (t == kThreads - 2) value = 2;
}

template <bool kFixed>
__global__ void overwrite_after_reads_of_blocks(uint32_t* out, unsigned* value) {
  out[blockIdx.x] = *value == 1 || (!kFixed && blockIdx.x == 2);
  if (!kFixed && blockIdx.x == 2) *value = 2;
}

// Half of the threads read the counter that the others still increment.
template <bool kFixed>
__global__ void read_among_atomics(uint32_t* out, unsigned* counter) {
  const int t = int(threadIdx.x);
  if (t < 48) atomicAdd(counter, 1u);
  if (kFixed) __syncthreads();
  out[t] = t >= 48 ? *counter <= 48 : 1;
}

template <bool kFixed>
__global__ void load4_past_end(uint32_t* out, const float* in) {
  const auto v = cuda::load4(in + (kFixed ? 252 : 256));
  out[threadIdx.x] = v[3] != 12345.0f;
}

template <bool kFixed>
__global__ void store4_past_end(uint32_t* out, const float*) {
  cuda::Pack<uint32_t, 4> ones;
  for (int i = 0; i < 4; ++i) ones[i] = 1;
  cuda::store4(out + (kFixed ? 0 : 8), ones);
  cuda::store4(out + 4, ones);
}

template <bool kFixed>
__global__ void ldmatrix_without_syncwarp(uint32_t* out) {
  VITRINE_SHARED_ALIGNED(16, uint16_t, tile, [8][16]);
  const int t = int(threadIdx.x);
  for (int i = t; i < 128; i += 32) tile[i / 16][i % 16] = 3;
  if (kFixed) __syncwarp();
  uint32_t r[2];
  cuda::ldmatrix_x2(r, &tile[t % 8][8 * (t / 8 % 2)]);
  out[t] = r[0] == 0x00030003 && r[1] == 0x00030003;
}

template <bool kFixed>
__global__ void misaligned_ldmatrix(uint32_t* out) {
  VITRINE_SHARED_ALIGNED(16, uint16_t, tile, [9][16]);
  const int t = int(threadIdx.x);
  for (int i = t; i < 144; i += 32) tile[i / 16][i % 16] = 3;
  __syncwarp();
  uint32_t r[2];
  cuda::ldmatrix_x2(r, &tile[t % 8][kFixed ? 8 : 4]);
  out[t] = r[0] == 0x00030003;
}

template <bool kFixed>
__global__ void endless_loop(uint32_t* out, unsigned* flag) {
  if (kFixed) atomicExch(flag, 1u);
  while (atomicAdd(flag, 0u) == 0) {
  }
  out[threadIdx.x] = 1;
}

template <bool kFixed>
__global__ void too_much_shared(uint32_t* out) {
  VITRINE_SHARED_DYNAMIC(raw);
  VITRINE_SHARED(float, more, [1024]);
  raw[threadIdx.x] = 1;
  more[threadIdx.x] = 1;
  out[threadIdx.x] = 1;
}

__global__ void set_flag(unsigned* flag) { *flag = 0; }

// ---- Launching -----------------------------------------------------------------------------------------------------

using Kernel = void (*)(uint32_t*);

template <Kernel kBad, Kernel kGood, int kBlock>
Words simple(const Words& fixed) {
  DeviceBuffer<uint32_t> out(kBlock);
  cuda::launch("faulty", fixed[0] ? kGood : kBad, {.grid = 1, .block = kBlock, .shared = kBlock * 4}, out.data());
  return out.read();
}

template <class T>
std::vector<T> counting(int n) {
  std::vector<T> v(size_t(n), T(0));
  for (int i = 0; i < n; ++i) v[size_t(i)] = T(i);
  return v;
}

Words add_in_block(const Words& fixed) {
  DeviceBuffer<uint32_t> out(kThreads);
  DeviceBuffer<int> sum(std::vector<int>{0});
  cuda::launch("faulty", fixed[0] ? plain_add_in_block<true> : plain_add_in_block<false>,
               {.grid = 1, .block = kThreads}, out.data(), sum.data());
  return out.read();
}
Words add_between_blocks(const Words& fixed) {
  DeviceBuffer<uint32_t> out(3);
  DeviceBuffer<int> sum(std::vector<int>{0});
  cuda::launch("faulty", fixed[0] ? plain_add_between_blocks<true> : plain_add_between_blocks<false>,
               {.grid = 3, .block = 1}, out.data(), sum.data());
  Words result = out.read();
  result.push_back(sum.read()[0] == 3);
  return result;
}
Words past_end(const Words& fixed) {
  DeviceBuffer<uint32_t> out(5);
  DeviceBuffer<int> in(counting<int>(5));
  cuda::launch("faulty", fixed[0] ? read_past_end<true> : read_past_end<false>, {.grid = 1, .block = 5}, out.data(),
               in.data(), 5);
  return out.read();
}
Words past_end_write(const Words& fixed) {
  DeviceBuffer<uint32_t> out(5);
  cuda::launch("faulty", fixed[0] ? write_past_end<true> : write_past_end<false>, {.grid = 1, .block = 32}, out.data(),
               5);
  return out.read();
}
Words before_begin(const Words& fixed) {
  DeviceBuffer<uint32_t> out(5);
  DeviceBuffer<int> in(counting<int>(5));
  cuda::launch("faulty", fixed[0] ? read_before_begin<true> : read_before_begin<false>, {.grid = 1, .block = 5},
               out.data(), in.data());
  return out.read();
}
Words stack(const Words& fixed) {
  DeviceBuffer<uint32_t> out(2);
  cuda::launch("faulty", fixed[0] ? stack_overrun<true> : stack_overrun<false>, {.grid = 1, .block = 2}, out.data(), 8);
  return out.read();
}
template <void (*kBad)(uint32_t*, const float*), void (*kGood)(uint32_t*, const float*), int kBlock>
Words with_floats(const Words& fixed) {
  DeviceBuffer<uint32_t> out(kBlock);
  DeviceBuffer<float> in(counting<float>(256));
  cuda::launch("faulty", fixed[0] ? kGood : kBad, {.grid = 1, .block = kBlock}, out.data(), in.data());
  return out.read();
}
Words one_byte(const Words& fixed) {
  DeviceBuffer<uint32_t> out(8);
  DeviceBuffer<unsigned char> bytes(9);
  cuda::launch("faulty", fixed[0] ? shared_byte<true> : shared_byte<false>, {.grid = 1, .block = 8}, out.data(),
               bytes.data());
  return out.read();
}
Words among_atomics(const Words& fixed) {
  DeviceBuffer<uint32_t> out(kThreads);
  DeviceBuffer<unsigned> counter(std::vector<unsigned>{0});
  cuda::launch("faulty", fixed[0] ? read_among_atomics<true> : read_among_atomics<false>,
               {.grid = 1, .block = kThreads}, out.data(), counter.data());
  return out.read();
}
Words reads_of_blocks(const Words& fixed) {
  DeviceBuffer<uint32_t> out(3);
  DeviceBuffer<unsigned> value(std::vector<unsigned>{1});
  cuda::launch("faulty", fixed[0] ? overwrite_after_reads_of_blocks<true> : overwrite_after_reads_of_blocks<false>,
               {.grid = 3, .block = 1}, out.data(), value.data());
  return out.read();
}
template <void (*kBad)(uint32_t*, const float*), void (*kGood)(uint32_t*, const float*)>
Words eight_words(const Words& fixed) {
  DeviceBuffer<uint32_t> out(8);
  cuda::launch("faulty", fixed[0] ? kGood : kBad, {.grid = 1, .block = 1}, out.data(), nullptr);
  return out.read();
}
Words endless(const Words& fixed) {
  DeviceBuffer<uint32_t> out(3);
  DeviceBuffer<unsigned> flag(std::vector<unsigned>{0});
  cuda::launch("faulty", fixed[0] ? endless_loop<true> : endless_loop<false>, {.grid = 1, .block = 3}, out.data(),
               flag.data());
  return out.read();
}
Words use_after_free(const Words& fixed) {
  DeviceBuffer<uint32_t> out(1);
  unsigned* flag;
  {
    DeviceBuffer<unsigned> gone(1);
    flag = gone.data();
    if (fixed[0]) cuda::launch("faulty", set_flag, {.grid = 1, .block = 1}, flag);
  }
  if (!fixed[0]) cuda::launch("faulty", set_flag, {.grid = 1, .block = 1}, flag);
  return {1};
}
Words shared_limit(const Words& fixed) {
  DeviceBuffer<uint32_t> out(1);
  cuda::launch("faulty", too_much_shared<true>, {.grid = 1, .block = 1, .shared = (fixed[0] ? 200 : 224) * 1024},
               out.data());
  return out.read();
}

const AddRunner add_runners[] = {
#define SIMPLE(name, block) \
  { "faulty/" #name, cuda::kKernelDevice, simple<name<false>, name<true>, block> }
    SIMPLE(no_barrier_before_read, kThreads),
    SIMPLE(no_barrier_before_overwrite, kThreads),
    SIMPLE(no_syncwarp, 32),
    SIMPLE(shuffle_as_fence, 32),
    SIMPLE(shared_overrun, kThreads),
    SIMPLE(dynamic_shared_overrun, kThreads),
    SIMPLE(uninitialised_shared, kThreads),
    SIMPLE(divergent_barrier, kThreads),
    SIMPLE(return_before_barrier, kThreads),
    SIMPLE(shuffle_without_all_lanes, 32),
    SIMPLE(lanes_in_different_operations, 32),
    SIMPLE(lanes_with_different_masks, 32),
    SIMPLE(lane_outside_its_mask, 32),
    SIMPLE(shuffle_from_outside_the_mask, 32),
    SIMPLE(barrier_against_syncwarp, 64),
    SIMPLE(broken_chain_of_syncwarps, 32),
    SIMPLE(unsynchronised_bf16, kThreads),
    SIMPLE(bytes_of_a_word, kThreads),
    SIMPLE(overwrite_after_reads_of_warp, 32),
    SIMPLE(overwrite_after_reads_of_block, kThreads),
    SIMPLE(ldmatrix_without_syncwarp, 32),
    SIMPLE(misaligned_ldmatrix, 32),
#undef SIMPLE
    {"faulty/overwrite_after_reads_of_blocks", cuda::kKernelDevice, reads_of_blocks},
    {"faulty/no_barrier_after_async_wait", cuda::kKernelDevice,
     with_floats<no_barrier_after_async_wait<false>, no_barrier_after_async_wait<true>, 32>},
    {"faulty/shared_byte", cuda::kKernelDevice, one_byte},
    {"faulty/read_among_atomics", cuda::kKernelDevice, among_atomics},
    {"faulty/load4_past_end", cuda::kKernelDevice, with_floats<load4_past_end<false>, load4_past_end<true>, 1>},
    {"faulty/store4_past_end", cuda::kKernelDevice, eight_words<store4_past_end<false>, store4_past_end<true>>},
    {"faulty/plain_add_in_block", cuda::kKernelDevice, add_in_block},
    {"faulty/plain_add_between_blocks", cuda::kKernelDevice, add_between_blocks},
    {"faulty/read_past_end", cuda::kKernelDevice, past_end},
    {"faulty/write_past_end", cuda::kKernelDevice, past_end_write},
    {"faulty/read_before_begin", cuda::kKernelDevice, before_begin},
    {"faulty/stack_overrun", cuda::kKernelDevice, stack},
    {"faulty/misaligned_float4", cuda::kKernelDevice,
     with_floats<misaligned_float4<false>, misaligned_float4<true>, 1>},
    {"faulty/misaligned_load4", cuda::kKernelDevice, with_floats<misaligned_load4<false>, misaligned_load4<true>, 1>},
    {"faulty/lax_async_wait", cuda::kKernelDevice, with_floats<lax_async_wait<false>, lax_async_wait<true>, 32>},
    {"faulty/endless_loop", cuda::kKernelDevice, endless},
    {"faulty/use_after_free", cuda::kKernelDevice, use_after_free},
    {"faulty/too_much_shared", cuda::kKernelDevice, shared_limit},
};

}  // namespace
}  // namespace vitrine::testing
