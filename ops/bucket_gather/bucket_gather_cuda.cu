#include "core/cuda/launch.h"
#include "core/strided.h"
#include "ops/bucket_gather/bucket_gather_kernels.h"
#include "ops/relpos/relpos_view.h"

namespace vitrine::ops {
namespace {

constexpr int kGatherBlock = 128;

/// One block per row (lead, query); its threads stride over the keys. No thread waits for another.
template <class T>
__global__ void gather_kernel(const T* x, T* y, RelposView index, int64_t queries, StridedPlan<1> rows, int64_t step) {
  const int64_t row = blockIdx.x;
  int64_t at[1];
  rows.offsets(row, at);
  for (int64_t j = threadIdx.x; j < index.keys; j += blockDim.x) {
    y[row * index.keys + j] = x[at[0] + index.id(row % queries, j) * step];
  }
}

constexpr int kRows = 64, kColumns = 32;
constexpr int kBuckets = 128;  // a block sums this many buckets; more take more blocks along y

/// One block per 64 rows, one thread per row: it walks its row's keys in ascending order and adds each to its own
/// column of `sums`, so that no two threads write one sum and the order is fixed. Tiles of 32 keys come through shared
/// memory so that reads of `a` are coalesced. Barriers: after a tile is written, before any thread reads it; after it
/// is read, before the next one overwrites it; and before the sums are written out by other threads than those that
/// made them.
template <class T>
__global__ void __launch_bounds__(kRows)
    sum_kernel(const T* a, T* y, RelposView index, int64_t queries, int64_t row_count) {
  using A = accumulate_t<T>;
  VITRINE_SHARED_DYNAMIC(raw);
  A* const tile = reinterpret_cast<A*>(raw);      // [kRows][kColumns + 1]
  A* const sums = tile + kRows * (kColumns + 1);  // [kBuckets][kRows]
  const int64_t first = int64_t(blockIdx.x) * kRows, row = first + threadIdx.x;
  const int64_t bucket0 = int64_t(blockIdx.y) * kBuckets;
  const int buckets = int(min(int64_t(kBuckets), index.buckets - bucket0));
  for (int t = 0; t < buckets; ++t) sums[t * kRows + threadIdx.x] = A(0);
  for (int64_t j0 = 0; j0 < index.keys; j0 += kColumns) {
    for (int e = int(threadIdx.x); e < kRows * kColumns; e += kRows) {
      const int r = e / kColumns, c = e % kColumns;
      const bool inside = first + r < row_count && j0 + c < index.keys;
      tile[r * (kColumns + 1) + c] = inside ? A(a[(first + r) * index.keys + j0 + c]) : A(0);
    }
    __syncthreads();
    for (int c = 0; c < kColumns; ++c) {
      if (row >= row_count || j0 + c >= index.keys) continue;
      const int64_t t = index.id(row % queries, j0 + c) - bucket0;
      if (t >= 0 && t < buckets) sums[t * kRows + threadIdx.x] += tile[threadIdx.x * (kColumns + 1) + c];
    }
    __syncthreads();
  }
  for (int64_t e = threadIdx.x; e < int64_t(kRows) * buckets; e += kRows) {
    const int64_t r = e / buckets, t = e % buckets;
    if (first + r < row_count) y[(first + r) * index.buckets + bucket0 + t] = T(sums[t * kRows + r]);
  }
}

void gather(const Tensor& x, const RelposIndex& index, Tensor& y) {
  const auto rows =
      make_plan<1>(Shape(x.shape().begin(), x.shape().end() - 1), {Shape(x.strides().begin(), x.strides().end() - 1)});
  dispatch_floating(x.dtype(), [&]<class T>() {
    cuda::launch("bucket_gather", gather_kernel<T>, {.grid = rows.numel, .block = kGatherBlock}, x.data<T>(),
                 y.mutable_data<T>(), RelposView(index), index.queries, rows, x.stride(-1));
  });
}

void sum(const Tensor& a, const RelposIndex& index, Tensor& y) {
  const int64_t rows = y.numel() / index.buckets;
  dispatch_floating(a.dtype(), [&]<class T>() {
    const int64_t shared =
        int64_t(sizeof(accumulate_t<T>)) * kRows * (kColumns + 1 + std::min<int64_t>(index.buckets, kBuckets));
    cuda::launch("bucket_sum", sum_kernel<T>,
                 {.grid = {(rows + kRows - 1) / kRows, (index.buckets + kBuckets - 1) / kBuckets},
                  .block = kRows,
                  .shared = shared},
                 a.data<T>(), y.mutable_data<T>(), RelposView(index), index.queries, rows);
  });
}

const Bind bind_gather(bucket_gather_forward, cuda::kKernelDevice, gather);
const Bind bind_sum(bucket_sum_forward, cuda::kKernelDevice, sum);

}  // namespace
}  // namespace vitrine::ops
