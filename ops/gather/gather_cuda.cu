#include <bit>
#include <cmath>

#include "core/cuda/launch.h"
#include "ops/gather/gather_kernels.h"

namespace vitrine::ops {
namespace {
constexpr int kBlock = 256;
int64_t blocks_for(int64_t n) { return (n + kBlock - 1) / kBlock; }

/// One thread per element of y.
template <class T>
__global__ void take_kernel(const T* x, const int64_t* ids, T* y, int64_t n, int64_t width, int64_t m, int64_t step,
                            int64_t numel) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= numel) return;
  const int64_t row = i / width, r = row / m, id = ids[r * step + (row - r * m)];
  if (id >= 0 && id < n) {
    y[i] = x[(r * n + id) * width + (i - row * width)];
  } else if constexpr (is_floating(dtype_of<T>)) {
    y[i] = T(accumulate_t<T>(NAN));
  } else {
    y[i] = T(0);
  }
}
void take(const Tensor& x, const Tensor& index, Tensor& y) {
  const int64_t m = index.size(1), step = index.size(0) == 1 ? 0 : m;
  dispatch_all(x.dtype(), [&]<class T>() {
    cuda::launch("take_rows", take_kernel<T>, {.grid = blocks_for(y.numel()), .block = kBlock}, x.data<T>(),
                 index.data<int64_t>(), y.mutable_data<T>(), x.size(1), x.size(2), m, step, y.numel());
  });
}

// The ids of all lists sorted by destination: keys (list * n + id) << shift | position are all different, so the sorted
// order is unique. Tiles of a block are sorted in shared memory, then runs are merged pairwise, doubling in length.

/// One thread per position. Its rank in the tile is the number of smaller keys; the barrier puts all keys of the tile
/// in place before they are counted. Ids out of range get keys behind every destination.
__global__ void sort_tiles_kernel(const int64_t* ids, int64_t* keys, int64_t count, int64_t m, int64_t n, int64_t lists,
                                  int shift) {
  VITRINE_SHARED(int64_t, tile, [kBlock]);
  const int64_t first = int64_t(blockIdx.x) * kBlock, i = first + threadIdx.x;
  const int length = int(min(int64_t(kBlock), count - first));
  int64_t key = 0;
  if (i < count) {
    const int64_t id = ids[i];
    const int64_t destination = id >= 0 && id < n ? i / m * n + id : lists * n;
    key = destination << shift | i;
    tile[threadIdx.x] = key;
  }
  __syncthreads();
  if (i >= count) return;
  int rank = 0;
  for (int k = 0; k < length; ++k) rank += tile[k] < key;
  keys[first + rank] = key;
}

/// Number of keys in the ascending run that are smaller than `key`.
__device__ int64_t count_smaller(const int64_t* run, int64_t length, int64_t key) {
  int64_t low = 0;
  while (low < length) {
    const int64_t middle = low + (length - low) / 2;
    if (run[middle] < key) {
      low = middle + 1;
    } else {
      length = middle;
    }
  }
  return low;
}

/// One thread per key: its place in the merged pair of runs is its place in its own run plus its rank in the other one.
__global__ void merge_runs_kernel(const int64_t* keys, int64_t* merged, int64_t count, int64_t run) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int64_t own = i / run * run, other = (i / run ^ 1) * run, pair = min(own, other);
  const int64_t length = max(int64_t(0), min(run, count - other));
  merged[pair + (i - own) + count_smaller(keys + other, length, keys[i])] = keys[i];
}

/// Each row of the block's threads owns one destination; its threads share the columns. The sources of a destination
/// follow each other in `keys` and are added in that order.
template <class T>
__global__ void add_kernel(const int64_t* keys, int64_t count, int shift, const T* src, T* y, int64_t rows, int64_t n,
                           int64_t width, int64_t m, bool shared_list) {
  using A = accumulate_t<T>;
  const int64_t i = int64_t(blockIdx.x) * blockDim.y + threadIdx.y;
  if (i >= rows * n) return;
  const int64_t r = i / n, destination = shared_list ? i - r * n : i;
  const int64_t begin = count_smaller(keys, count, destination << shift);
  const int64_t mask = (int64_t(1) << shift) - 1;
  if (begin == count || keys[begin] >> shift != destination) return;
  if (shared_list) src += r * m * width;
  for (int64_t c = threadIdx.x; c < width; c += blockDim.x) {
    A sum = A(y[i * width + c]);
    for (int64_t k = begin; k < count && keys[k] >> shift == destination; ++k)
      sum += A(src[(keys[k] & mask) * width + c]);
    y[i * width + c] = T(sum);
  }
}

void add(const Tensor& index, const Tensor& src, Tensor& y) {
  const int64_t rows = y.size(0), n = y.size(1), width = y.size(2), lists = index.size(0), m = index.size(1);
  const int64_t count = index.numel();
  const int shift = std::bit_width(uint64_t(count - 1));
  check<NotImplemented>(std::bit_width(uint64_t(lists * n)) + shift <= 63,
                        "add_rows: {} ids for {} destinations do not fit a 64-bit sort key", count, lists * n);
  Tensor keys = empty({count}, index.options()), merged = empty({count}, index.options());
  cuda::launch("add_rows", sort_tiles_kernel, {.grid = blocks_for(count), .block = kBlock}, index.data<int64_t>(),
               keys.mutable_data<int64_t>(), count, m, n, lists, shift);
  for (int64_t run = kBlock; run < count; run *= 2) {
    cuda::launch("add_rows", merge_runs_kernel, {.grid = blocks_for(count), .block = kBlock}, keys.data<int64_t>(),
                 merged.mutable_data<int64_t>(), count, run);
    std::swap(keys, merged);
  }
  const int across = width == 1 ? 1 : 32;
  const cuda::Extent block(across, kBlock / across);
  const int64_t grid = (rows * n + block.y - 1) / block.y;
  dispatch_floating(y.dtype(), [&]<class T>() {
    cuda::launch("add_rows", add_kernel<T>, {.grid = grid, .block = block}, keys.data<int64_t>(), count, shift,
                 src.data<T>(), y.mutable_data<T>(), rows, n, width, m, lists == 1);
  });
}

const Bind bind_take(take_rows, cuda::kKernelDevice, take);
const Bind bind_add(add_rows, cuda::kKernelDevice, add);

}  // namespace
}  // namespace vitrine::ops
