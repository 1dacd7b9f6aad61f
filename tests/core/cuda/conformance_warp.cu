#include "core/cuda/launch.h"
#include "tests/core/cuda/device_buffer.h"
#include "tests/core/cuda/runners.h"

// Warp collectives with results that can be computed by hand. The same text runs on the emulated device and on a GPU;
// test_conformance.cpp compares both with its own definitions, and with each other bit for bit.
namespace vitrine::testing {
namespace {

template <class T>
__device__ T shuffle(int kind, T value, int amount, int width) {
  switch (kind) {
    case 0:
      return __shfl_sync(cuda::kAllLanes, value, amount, width);
    case 1:
      return __shfl_up_sync(cuda::kAllLanes, value, unsigned(amount), width);
    case 2:
      return __shfl_down_sync(cuda::kAllLanes, value, unsigned(amount), width);
    default:
      return __shfl_xor_sync(cuda::kAllLanes, value, amount, width);
  }
}

// out [4 kinds, 6 widths, 32 amounts, 32 lanes]: which lane each lane heard.
template <class T>
__global__ void shuffles(uint32_t* out) {
  const int lane = int(threadIdx.x);
  for (int kind = 0; kind < 4; ++kind) {
    for (int w = 0; w < 6; ++w) {
      for (int amount = 0; amount < 32; ++amount) {
        const T heard = shuffle(kind, T(lane) * T(3) - T(7), amount, 1 << w);
        out[((kind * 6 + w) * 32 + amount) * 32 + lane] = uint32_t((heard + T(7)) / T(3));
      }
    }
  }
}

// out [lanes, 8]: each lane's result of every vote, reduction and match over `mask`, in which the lane must be.
__global__ void partial_masks(uint32_t* out, unsigned mask) {
  const int lane = int(threadIdx.x);
  if (!(mask >> lane & 1)) return;
  uint32_t* const mine = out + 8 * lane;
  mine[0] = __ballot_sync(mask, lane % 3 == 0);
  mine[1] = uint32_t(__any_sync(mask, lane == 5)) | uint32_t(__all_sync(mask, lane < 31)) << 1;
  mine[2] = uint32_t(__reduce_add_sync(mask, 5 - lane));
  mine[3] = uint32_t(__reduce_min_sync(mask, 5 - lane));
  mine[4] = __reduce_max_sync(mask, unsigned(lane) * 0x10000001u);
  mine[5] = __reduce_and_sync(mask, 0xFFFFFFF0u | unsigned(lane)) ^ __reduce_or_sync(mask, 1u << lane) ^
            __reduce_xor_sync(mask, 0x01010101u * unsigned(lane));
  mine[6] = __match_any_sync(mask, lane / 5);
  mine[7] = __match_any_sync(mask, lane % 2 ? 1.5 : -0.0);
}

// The halves of a warp run different collectives with disjoint masks, in different numbers.
__global__ void disjoint_masks(uint32_t* out) {
  const int lane = int(threadIdx.x);
  int sum = lane;
  if (lane < 16) {
    for (int bit = 8; bit; bit /= 2) sum += __shfl_xor_sync(0x0000FFFFu, sum, bit);
  } else {
    __syncwarp(0xFFFF0000u);
    sum = int(__ballot_sync(0xFFFF0000u, lane % 2));
  }
  __syncwarp();
  out[lane] = uint32_t(sum);
}

// A block of `blockDim.x` threads, the last warp of which may be partial: ballots and a broadcast of each warp's lane
// 0.
__global__ void partial_warp(uint32_t* out) {
  const unsigned t = threadIdx.x;
  const unsigned votes = __ballot_sync(cuda::kAllLanes, 1);
  out[t] = votes ^ unsigned(__shfl_sync(cuda::kAllLanes, int(t), 0));
}

// Lanes pass data through shared memory with nothing but __syncwarp between.
__global__ void syncwarp_orders_memory(uint32_t* out) {
  VITRINE_SHARED(int, tile, [4][32]);
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  int value = lane;
  for (int round = 0; round < 5; ++round) {
    tile[warp][lane] = value;
    __syncwarp();
    value = tile[warp][(lane + 1) % 32];
    __syncwarp();
  }
  out[threadIdx.x] = uint32_t(value);
}

template <class T>
Words run_shuffles(const Words&) {
  DeviceBuffer<uint32_t> out(4 * 6 * 32 * 32);
  cuda::launch("shuffles", shuffles<T>, {.grid = 1, .block = 32}, out.data());
  return out.read();
}
Words run_partial_masks(const Words& mask) {
  DeviceBuffer<uint32_t> out(Words(32 * 8, 0));
  cuda::launch("partial_masks", partial_masks, {.grid = 1, .block = 32}, out.data(), mask[0]);
  return out.read();
}
Words run_disjoint_masks(const Words&) {
  DeviceBuffer<uint32_t> out(32);
  cuda::launch("disjoint_masks", disjoint_masks, {.grid = 1, .block = 32}, out.data());
  return out.read();
}
Words run_partial_warp(const Words& threads) {
  DeviceBuffer<uint32_t> out(threads[0]);
  cuda::launch("partial_warp", partial_warp, {.grid = 1, .block = threads[0]}, out.data());
  return out.read();
}
Words run_syncwarp(const Words&) {
  DeviceBuffer<uint32_t> out(128);
  cuda::launch("syncwarp_orders_memory", syncwarp_orders_memory, {.grid = 1, .block = 128}, out.data());
  return out.read();
}

const AddRunner add_runners[] = {
    {"shuffles int", cuda::kKernelDevice, run_shuffles<int>},
    {"shuffles int64", cuda::kKernelDevice, run_shuffles<long long>},
    {"shuffles float", cuda::kKernelDevice, run_shuffles<float>},
    {"shuffles double", cuda::kKernelDevice, run_shuffles<double>},
    {"partial_masks", cuda::kKernelDevice, run_partial_masks},
    {"disjoint_masks", cuda::kKernelDevice, run_disjoint_masks},
    {"partial_warp", cuda::kKernelDevice, run_partial_warp},
    {"syncwarp", cuda::kKernelDevice, run_syncwarp},
};

}  // namespace
}  // namespace vitrine::testing
