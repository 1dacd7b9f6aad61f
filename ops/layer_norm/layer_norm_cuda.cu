#include "core/cuda/launch.h"
#include "core/cuda/reduce.h"
#include "core/cuda/vector.h"
#include "ops/layer_norm/layer_norm_kernels.h"

// Two forms of each direction. Rows of at most kWarpColumns that 16-byte accesses can read: a warp per row, the row in
// registers, read once. All others: a block per row, several passes over a row that stays in cache.
namespace vitrine::ops {
namespace {
constexpr int kWarps = 8, kBlock = kWarps * cuda::kWarp;

template <class T>
struct ForwardArguments {
  const T *x, *residual, *weight, *bias;
  accumulate_t<T> eps;
  T *sum, *y;
  accumulate_t<T>*mean, *rstd;
  int64_t rows, n;
};

// Warp w of block b takes row 8 b + w; its lane holds the columns (32 k + lane) V ... + V - 1 of pack k. No barriers.
template <class T, int kPacks>
__global__ void __launch_bounds__(kBlock) forward_warp_kernel(ForwardArguments<T> a) {
  using A = accumulate_t<T>;
  constexpr int V = cuda::kPer16<T>;
  const int64_t row = int64_t(blockIdx.x) * kWarps + threadIdx.x / cuda::kWarp, at = row * a.n;
  const int lane = threadIdx.x % cuda::kWarp;
  if (row >= a.rows) return;
  A v[kPacks][V], sum = 0;
#pragma unroll
  for (int k = 0; k < kPacks; ++k) {
    const int64_t c = (k * cuda::kWarp + lane) * V;
    if (c >= a.n) continue;
    auto x = cuda::load<V>(a.x + at + c);
    if (a.residual) {
      const auto other = cuda::load<V>(a.residual + at + c);
#pragma unroll
      for (int j = 0; j < V; ++j) x[j] = T(A(x[j]) + A(other[j]));
      cuda::store(a.sum + at + c, x);
    }
#pragma unroll
    for (int j = 0; j < V; ++j) v[k][j] = A(x[j]), sum += v[k][j];
  }
  const A mean = cuda::warp_reduce<cuda::Sum>(sum) / A(a.n);
  A squares = 0;
#pragma unroll
  for (int k = 0; k < kPacks; ++k) {
    if ((k * cuda::kWarp + lane) * V >= a.n) continue;
#pragma unroll
    for (int j = 0; j < V; ++j) squares += (v[k][j] - mean) * (v[k][j] - mean);
  }
  const A rstd = 1 / sqrt(cuda::warp_reduce<cuda::Sum>(squares) / A(a.n) + a.eps);
  if (lane == 0) a.mean[row] = mean, a.rstd[row] = rstd;
#pragma unroll
  for (int k = 0; k < kPacks; ++k) {
    const int64_t c = (k * cuda::kWarp + lane) * V;
    if (c >= a.n) continue;
    cuda::Pack<T, V> weight, bias, y;
    if (a.weight) weight = cuda::load<V>(a.weight + c);
    if (a.bias) bias = cuda::load<V>(a.bias + c);
#pragma unroll
    for (int j = 0; j < V; ++j)
      y[j] = T((v[k][j] - mean) * rstd * (a.weight ? A(weight[j]) : A(1)) + (a.bias ? A(bias[j]) : A(0)));
    cuda::store(a.y + at + c, y);
  }
}

// Block b takes row b; a thread reads in later passes only what it wrote itself.
template <class T>
__global__ void __launch_bounds__(kBlock) forward_block_kernel(ForwardArguments<T> a) {
  using A = accumulate_t<T>;
  const int64_t row = blockIdx.x, at = row * a.n;
  const T* x = a.x + at;
  A sum = 0;
  if (a.residual) {
    for (int64_t i = threadIdx.x; i < a.n; i += kBlock) {
      const T s = T(A(x[i]) + A(a.residual[at + i]));
      a.sum[at + i] = s, sum += A(s);
    }
    x = a.sum + at;
  } else {
    for (int64_t i = threadIdx.x; i < a.n; i += kBlock) sum += A(x[i]);
  }
  const A mean = cuda::block_reduce<cuda::Sum>(sum, A(0)) / A(a.n);
  A squares = 0;
  for (int64_t i = threadIdx.x; i < a.n; i += kBlock) squares += (A(x[i]) - mean) * (A(x[i]) - mean);
  const A rstd = 1 / sqrt(cuda::block_reduce<cuda::Sum>(squares, A(0)) / A(a.n) + a.eps);
  if (threadIdx.x == 0) a.mean[row] = mean, a.rstd[row] = rstd;
  for (int64_t i = threadIdx.x; i < a.n; i += kBlock)
    a.y[at + i] = T((A(x[i]) - mean) * rstd * (a.weight ? A(a.weight[i]) : A(1)) + (a.bias ? A(a.bias[i]) : A(0)));
}

template <class T>
struct BackwardArguments {
  const T *dy, *x, *weight;
  const accumulate_t<T>*mean, *rstd;
  const T* add;
  T* dx;
  accumulate_t<T>* parts;
  int64_t rows, group, n;
};

// Block b takes the b-th group of rows, its warp w the rows w, w + 8, ... of the group. Each lane sums the gradients of
// weight and bias of its own columns; at the end the warps are added through shared memory, pack by pack: the first
// barrier puts the writes of a pack before its reads, the second one its reads before the writes of the next.
template <class T, int kPacks>
__global__ void __launch_bounds__(kBlock) backward_warp_kernel(BackwardArguments<T> a) {
  using A = accumulate_t<T>;
  constexpr int V = cuda::kPer16<T>, kColumns = cuda::kWarp * V;
  VITRINE_SHARED(A, shared, [2][kWarps][kColumns]);
  const int warp = threadIdx.x / cuda::kWarp, lane = threadIdx.x % cuda::kWarp;
  const int64_t first = int64_t(blockIdx.x) * a.group, last = min(a.rows, first + a.group);
  A dweight[kPacks][V] = {}, dbias[kPacks][V] = {};
  for (int64_t row = first + warp; row < last; row += kWarps) {
    const int64_t at = row * a.n;
    const A mean = a.mean[row], rstd = a.rstd[row];
    A g[kPacks][V], norm[kPacks][V], sum_g = 0, sum_gn = 0;
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      const int64_t c = (k * cuda::kWarp + lane) * V;
      if (c >= a.n) continue;
      const auto dy = cuda::load<V>(a.dy + at + c), x = cuda::load<V>(a.x + at + c);
      cuda::Pack<T, V> weight;
      if (a.weight) weight = cuda::load<V>(a.weight + c);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        norm[k][j] = (A(x[j]) - mean) * rstd;
        g[k][j] = A(dy[j]) * (a.weight ? A(weight[j]) : A(1));
        sum_g += g[k][j], sum_gn += g[k][j] * norm[k][j];
        dweight[k][j] += A(dy[j]) * norm[k][j], dbias[k][j] += A(dy[j]);
      }
    }
    const A mean_g = cuda::warp_reduce<cuda::Sum>(sum_g) / A(a.n);
    const A mean_gn = cuda::warp_reduce<cuda::Sum>(sum_gn) / A(a.n);
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      const int64_t c = (k * cuda::kWarp + lane) * V;
      if (c >= a.n) continue;
      cuda::Pack<T, V> add, dx;
      if (a.add) add = cuda::load<V>(a.add + at + c);
#pragma unroll
      for (int j = 0; j < V; ++j)
        dx[j] = T((a.add ? A(add[j]) : A(0)) + rstd * (g[k][j] - mean_g - norm[k][j] * mean_gn));
      cuda::store(a.dx + at + c, dx);
    }
  }
  if (!a.parts) return;  // the whole grid
#pragma unroll
  for (int k = 0; k < kPacks; ++k) {
#pragma unroll
    for (int j = 0; j < V; ++j) {
      shared[0][warp][lane * V + j] = dweight[k][j];
      shared[1][warp][lane * V + j] = dbias[k][j];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < 2 * kColumns; i += kBlock) {
      const int half = i / kColumns, column = i % kColumns;
      const int64_t c = int64_t(k) * kColumns + column;
      A sum = 0;
#pragma unroll
      for (int w = 0; w < kWarps; ++w) sum += shared[half][w][column];
      if (c < a.n) a.parts[(int64_t(blockIdx.x) * 2 + half) * a.n + c] = sum;
    }
    __syncthreads();
  }
}

// Block b takes the b-th group, row after row. Thread t owns the columns t, t + 256, ...: it alone touches their sums
// in `parts`, so only block_reduce needs barriers.
template <class T>
__global__ void __launch_bounds__(kBlock) backward_block_kernel(BackwardArguments<T> a) {
  using A = accumulate_t<T>;
  const int64_t first = int64_t(blockIdx.x) * a.group, last = min(a.rows, first + a.group);
  A* dweight = a.parts ? a.parts + int64_t(blockIdx.x) * 2 * a.n : nullptr;
  for (int64_t i = threadIdx.x; a.parts && i < a.n; i += kBlock) dweight[i] = dweight[a.n + i] = 0;
  for (int64_t row = first; row < last; ++row) {
    const int64_t at = row * a.n;
    const A mean = a.mean[row], rstd = a.rstd[row];
    A sum_g = 0, sum_gn = 0;
    for (int64_t i = threadIdx.x; i < a.n; i += kBlock) {
      const A dy = A(a.dy[at + i]), g = dy * (a.weight ? A(a.weight[i]) : A(1));
      const A norm = (A(a.x[at + i]) - mean) * rstd;
      sum_g += g, sum_gn += g * norm;
      if (a.parts) dweight[i] += dy * norm, dweight[a.n + i] += dy;
    }
    const A mean_g = cuda::block_reduce<cuda::Sum>(sum_g, A(0)) / A(a.n);
    const A mean_gn = cuda::block_reduce<cuda::Sum>(sum_gn, A(0)) / A(a.n);
    for (int64_t i = threadIdx.x; i < a.n; i += kBlock) {
      const A g = A(a.dy[at + i]) * (a.weight ? A(a.weight[i]) : A(1)), norm = (A(a.x[at + i]) - mean) * rstd;
      a.dx[at + i] = T((a.add ? A(a.add[at + i]) : A(0)) + rstd * (g - mean_g - norm * mean_gn));
    }
  }
}

// A block takes 32 columns of one of the two sums (grid y); its 16 rows of threads add the groups y, y + 16, ..., and
// row 0 adds those 16 sums. The barrier puts the writes of the sums before their reads.
constexpr int kSlices = 16;
template <class T>
__global__ void __launch_bounds__(cuda::kWarp* kSlices)
    sum_parts_kernel(const accumulate_t<T>* parts, T* dweight, T* dbias, int64_t groups, int64_t n) {
  using A = accumulate_t<T>;
  VITRINE_SHARED(A, shared, [kSlices][cuda::kWarp]);
  const int half = blockIdx.y, x = threadIdx.x, y = threadIdx.y;
  T* to = half ? dbias : dweight;
  const int64_t c = int64_t(blockIdx.x) * cuda::kWarp + x;
  const bool wanted = to && c < n;
  A sum = 0;
  if (wanted)
    for (int64_t p = y; p < groups; p += kSlices) sum += parts[(2 * p + half) * n + c];
  shared[y][x] = sum;
  __syncthreads();
  if (y != 0 || !wanted) return;
  A total = 0;
  for (int s = 0; s < kSlices; ++s) total += shared[s][x];
  to[c] = T(total);
}

/// The longest row that a warp keeps in registers without spilling much.
template <class T>
constexpr int64_t kWarpColumns = sizeof(accumulate_t<T>) == 8 ? 512 : 1024;

/// Calls f<packs>() with the number of 16-byte packs per lane that hold n columns, n at most kWarpColumns.
template <class T, class F>
void with_packs(int64_t n, F f) {
  constexpr int V = cuda::kPer16<T>;
  if (n <= 256) return f.template operator()<8 / V>();
  if constexpr (12 % V == 0)
    if (n <= 384) return f.template operator()<12 / V>();
  if (n <= 512) return f.template operator()<16 / V>();
  if constexpr (kWarpColumns < T >> 512) {
    if (n <= 768) return f.template operator()<24 / V>();
    f.template operator()<32 / V>();
  }
}
template <class T, class... P>
bool fits_warp(int64_t n, int64_t per_pack, const P*... pointers) {
  return n <= kWarpColumns<T> && n % per_pack == 0 && (cuda::aligned_to(pointers, 16) && ...);
}

void run_forward(const char* name, const Tensor& x, const Tensor& residual, const Tensor& weight, const Tensor& bias,
                 double eps, Tensor& sum, Tensor& y, Tensor& mean, Tensor& rstd) {
  dispatch_floating(x.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    const ForwardArguments<T> a{.x = x.data<T>(),
                                .residual = read_optional<T>(residual),
                                .weight = read_optional<T>(weight),
                                .bias = read_optional<T>(bias),
                                .eps = A(eps),
                                .sum = write_optional<T>(sum),
                                .y = y.mutable_data<T>(),
                                .mean = mean.mutable_data<A>(),
                                .rstd = rstd.mutable_data<A>(),
                                .rows = row_count(x),
                                .n = x.size(-1)};
    if (fits_warp<T>(a.n, cuda::kPer16<T>, a.x, a.residual, a.weight, a.bias, a.sum, a.y)) {
      with_packs<T>(a.n, [&]<int kPacks>() {
        cuda::launch(name, forward_warp_kernel<T, kPacks>, {.grid = (a.rows + kWarps - 1) / kWarps, .block = kBlock},
                     a);
      });
    } else {
      cuda::launch(name, forward_block_kernel<T>, {.grid = a.rows, .block = kBlock}, a);
    }
  });
}
void forward(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, Tensor& y, Tensor& mean,
             Tensor& rstd) {
  Tensor none;
  run_forward("layer_norm_forward", x, none, weight, bias, eps, none, y, mean, rstd);
}
void add_forward(const Tensor& x, const Tensor& residual, const Tensor& weight, const Tensor& bias, double eps,
                 Tensor& sum, Tensor& y, Tensor& mean, Tensor& rstd) {
  run_forward("add_layer_norm_forward", x, residual, weight, bias, eps, sum, y, mean, rstd);
}

void backward(const Tensor& dy, const Tensor& x, const Tensor& weight, const Tensor& mean, const Tensor& rstd,
              const Tensor& add, Tensor& dx, Tensor& parts) {
  dispatch_floating(x.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    const RowGroups groups(row_count(x));
    const BackwardArguments<T> a{.dy = dy.data<T>(),
                                 .x = x.data<T>(),
                                 .weight = read_optional<T>(weight),
                                 .mean = mean.data<A>(),
                                 .rstd = rstd.data<A>(),
                                 .add = read_optional<T>(add),
                                 .dx = dx.mutable_data<T>(),
                                 .parts = write_optional<A>(parts),
                                 .rows = row_count(x),
                                 .group = groups.size,
                                 .n = x.size(-1)};
    if (fits_warp<T>(a.n, cuda::kPer16<T>, a.dy, a.x, a.weight, a.add, a.dx)) {
      with_packs<T>(a.n, [&]<int kPacks>() {
        cuda::launch("layer_norm_backward", backward_warp_kernel<T, kPacks>, {.grid = groups.count, .block = kBlock},
                     a);
      });
    } else {
      cuda::launch("layer_norm_backward", backward_block_kernel<T>, {.grid = groups.count, .block = kBlock}, a);
    }
  });
}

void sum_parts(const Tensor& parts, Tensor& dweight, Tensor& dbias) {
  const Dtype dtype = dweight.defined() ? dweight.dtype() : dbias.dtype();
  dispatch_floating(dtype, [&]<class T>() {
    const int64_t n = parts.size(2);
    cuda::launch("layer_norm_sum_parts", sum_parts_kernel<T>,
                 {.grid = {(n + cuda::kWarp - 1) / cuda::kWarp, 2}, .block = {cuda::kWarp, kSlices}},
                 parts.data<accumulate_t<T>>(), write_optional<T>(dweight), write_optional<T>(dbias), parts.size(0), n);
  });
}

const Bind bind_forward(layer_norm_forward, cuda::kKernelDevice, forward);
const Bind bind_add_forward(add_layer_norm_forward, cuda::kKernelDevice, add_forward);
const Bind bind_backward(layer_norm_backward, cuda::kKernelDevice, backward);
const Bind bind_sum_parts(layer_norm_sum_parts, cuda::kKernelDevice, sum_parts);

}  // namespace
}  // namespace vitrine::ops
