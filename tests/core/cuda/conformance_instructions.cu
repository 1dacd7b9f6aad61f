#include "core/cuda/instructions.h"
#include "core/cuda/launch.h"
#include "tests/core/cuda/device_buffer.h"
#include "tests/core/cuda/runners.h"

// One kernel per wrapper of core/cuda/instructions.h, on integers, so that every sum is exact and the emulated device
// and a GPU must agree in every bit.
namespace vitrine::testing {
namespace {

__device__ uint32_t bf16_pair(int low, int high) { return cuda::pack_bf16(float(low), float(high)); }

// d = a b + c with the fragments filled element by element, as instructions.h says they lie. a [16, 16], b [16, 8],
// c [16, 8], row-major; repeated, so that the result of one product is the addend of the next.
__global__ void mma(float* d, const int* a, const int* b, const int* c, int times) {
  const int lane = int(threadIdx.x), g = lane / 4, t = lane % 4;
  uint32_t ra[4], rb[2];
  float sum[4];
  for (int i = 0; i < 4; ++i) {
    const int row = g + 8 * (i % 2), column = 2 * t + 8 * (i / 2);
    ra[i] = bf16_pair(a[16 * row + column], a[16 * row + column + 1]);
  }
  for (int i = 0; i < 2; ++i) rb[i] = bf16_pair(b[8 * (2 * t + 8 * i) + g], b[8 * (2 * t + 8 * i + 1) + g]);
  for (int i = 0; i < 4; ++i) sum[i] = float(c[8 * (g + 8 * (i / 2)) + 2 * t + i % 2]);
  for (int i = 0; i < times; ++i) cuda::mma_m16n8k16(sum, ra, rb, sum);
  for (int i = 0; i < 4; ++i) d[8 * (g + 8 * (i / 2)) + 2 * t + i % 2] = sum[i];
}

constexpr int kStride = 24;  // elements between rows, 48 bytes: aligned, and not the width of a matrix

// The element at (row, column) of the tile is 64 * row + column. Matrix m is the 8x8 at (8 (m%2), 8 (m/2)).
// out [32 lanes, 4]
template <int kCount, bool kTranspose>
__global__ void ldmatrix(uint32_t* out) {
  VITRINE_SHARED_ALIGNED(16, uint16_t, tile, [16][kStride]);
  const int lane = int(threadIdx.x);
  for (int i = lane; i < 16 * 16; i += 32) tile[i / 16][i % 16] = uint16_t(64 * (i / 16) + i % 16);
  __syncwarp();
  const int m = lane / 8;
  const uint16_t* const row = &tile[8 * (m % 2) + lane % 8][8 * (m / 2)];
  uint32_t r[kCount];
  if constexpr (kCount == 4) {
    cuda::ldmatrix_x4<kTranspose>(r, row);
  } else {
    cuda::ldmatrix_x2<kTranspose>(r, row);
  }
  for (int i = 0; i < kCount; ++i) out[4 * lane + i] = r[i];
}

// A full tile product as kernels write it: A by ldmatrix, B, stored [16, 8] in row order, by ldmatrix<trans>.
__global__ void mma_from_shared(float* d, const int* a, const int* b) {
  VITRINE_SHARED_ALIGNED(16, bf16, tile_a, [16][kStride]);
  VITRINE_SHARED_ALIGNED(16, bf16, tile_b, [16][8]);
  const int lane = int(threadIdx.x), g = lane / 4, t = lane % 4;
  for (int i = lane; i < 16 * 16; i += 32) tile_a[i / 16][i % 16] = bf16(float(a[i]));
  for (int i = lane; i < 16 * 8; i += 32) tile_b[i / 8][i % 8] = bf16(float(b[i]));
  __syncwarp();
  uint32_t ra[4], rb[2];
  cuda::ldmatrix_x4(ra, &tile_a[lane % 16][8 * (lane / 16)]);
  cuda::ldmatrix_x2<true>(rb, &tile_b[lane % 16][0]);
  float sum[4] = {};
  cuda::mma_m16n8k16(sum, ra, rb, sum);
  for (int i = 0; i < 4; ++i) d[8 * (g + 8 * (i / 2)) + 2 * t + i % 2] = sum[i];
}

// Sums `tiles` tiles of 4 * blockDim.x integers through a ring of kStages buffers filled ahead by cp.async. Each thread
// reads what another one copied. First barrier of a round: the tile is there; the second: all have read it.
template <int kStages>
__global__ void pipeline(uint32_t* out, const uint32_t* in, int tiles) {
  VITRINE_SHARED_ALIGNED(16, uint32_t, ring, [kStages][4 * 64]);
  const int t = int(threadIdx.x), n = int(blockDim.x);
  const auto start = [&](int tile) {
    if (tile < tiles) cuda::cp_async16(&ring[tile % kStages][4 * t], in + (size_t(tile) * n + t) * 4);
    cuda::cp_async_commit();
  };
  for (int tile = 0; tile < kStages - 1; ++tile) start(tile);
  uint32_t sum = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    start(tile + kStages - 1);
    cuda::cp_async_wait<kStages - 1>();
    __syncthreads();
    for (int i = 0; i < 4; ++i) sum = sum * 3 + ring[tile % kStages][4 * ((t + 5) % n) + i];
    __syncthreads();
  }
  out[t] = sum;
}

__global__ void packs(uint32_t* out, const uint32_t* in, int n) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) out[i] = cuda::pack_bf16(__uint_as_float(in[i]), __uint_as_float(in[n - 1 - i]));
}

std::vector<int> matrix(uint32_t seed, int count) {
  std::vector<int> m;
  for (int i = 0; i < count; ++i) m.push_back(small_integer(seed, uint32_t(i)));
  return m;
}
Words bits(const std::vector<float>& values) {
  Words words(values.size());
  memcpy(words.data(), values.data(), 4 * values.size());
  return words;
}

Words run_mma(const Words& arguments) {
  DeviceBuffer<int> a(matrix(1, 256)), b(matrix(2, 128)), c(matrix(3, 128));
  DeviceBuffer<float> d(128);
  cuda::launch("mma", mma, {.grid = 1, .block = 32}, d.data(), a.data(), b.data(), c.data(), arguments[0]);
  return bits(d.read());
}
Words run_mma_from_shared(const Words&) {
  DeviceBuffer<int> a(matrix(1, 256)), b(matrix(2, 128));
  DeviceBuffer<float> d(128);
  cuda::launch("mma_from_shared", mma_from_shared, {.grid = 1, .block = 32}, d.data(), a.data(), b.data());
  return bits(d.read());
}
template <int kCount, bool kTranspose>
Words run_ldmatrix(const Words&) {
  DeviceBuffer<uint32_t> out(Words(128, 0));
  cuda::launch("ldmatrix", ldmatrix<kCount, kTranspose>, {.grid = 1, .block = 32}, out.data());
  return out.read();
}
template <int kStages>
Words run_pipeline(const Words& tiles) {
  Words values;
  for (uint32_t i = 0; i < tiles[0] * 256; ++i) values.push_back(i * 7 + 1);
  DeviceBuffer<uint32_t> in(values), out(64);
  cuda::launch("pipeline", pipeline<kStages>, {.grid = 1, .block = 64}, out.data(), in.data(), tiles[0]);
  return out.read();
}
Words run_packs(const Words& patterns) {
  const int64_t n = int64_t(patterns.size());
  DeviceBuffer<uint32_t> in(patterns), out(patterns.size());
  cuda::launch("packs", packs, {.grid = (n + 255) / 256, .block = 256}, out.data(), in.data(), n);
  return out.read();
}

const AddRunner add_runners[] = {
    {"mma", cuda::kKernelDevice, run_mma},
    {"mma_from_shared", cuda::kKernelDevice, run_mma_from_shared},
    {"ldmatrix_x2", cuda::kKernelDevice, run_ldmatrix<2, false>},
    {"ldmatrix_x2 trans", cuda::kKernelDevice, run_ldmatrix<2, true>},
    {"ldmatrix_x4", cuda::kKernelDevice, run_ldmatrix<4, false>},
    {"ldmatrix_x4 trans", cuda::kKernelDevice, run_ldmatrix<4, true>},
    {"pipeline 1", cuda::kKernelDevice, run_pipeline<1>},
    {"pipeline 2", cuda::kKernelDevice, run_pipeline<2>},
    {"pipeline 3", cuda::kKernelDevice, run_pipeline<3>},
    {"pipeline 4", cuda::kKernelDevice, run_pipeline<4>},
    {"packs", cuda::kKernelDevice, run_packs},
};

}  // namespace
}  // namespace vitrine::testing
