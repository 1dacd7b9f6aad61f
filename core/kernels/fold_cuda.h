#pragma once
#include "core/cuda/launch.h"
#include "core/cuda/reduce.h"
#include "core/kernels/fold.h"
#include "core/strided.h"

namespace vitrine::kernels {
inline namespace VITRINE_WORLD {

/// How a fold's states meet in a warp or a block.
template <class Fold>
struct CombineOf {
  template <class S>
  static __device__ __forceinline__ S apply(S a, S b) {
    return Fold::combine(a, b);
  }
};

/// Where a state goes: finished into y, or into `partial` if the outputs are folded in several segments.
template <class State, class A, class O>
struct FoldTarget {
  const A* parameter;  ///< laid out like y, may be null
  O* y;
  State* partial;  ///< [outputs, segments]

  __device__ A parameter_at(int64_t offset) const { return parameter ? parameter[offset] : A(0); }
  template <class Fold>
  __device__ void put(const Fold& fold, int64_t offset, int64_t item, State s) const {
    if (partial) {
      partial[item] = s;
    } else {
      y[offset] = O(fold.finish(s, parameter_at(offset)));
    }
  }
};

/// Every `threads`-th point of segment `segment`, from `thread` on.
template <class Fold, class T>
__device__ auto fold_points(const Fold& fold, const T* x, accumulate_t<T> p, const StridedPlan<1>& reduced,
                            Segments cut, int64_t segment, int thread, int threads) {
  auto state = fold.start();
  const int64_t begin = segment * cut.length, end = min(reduced.numel, begin + cut.length);
#pragma unroll 4
  for (int64_t r = begin + thread; r < end; r += threads) {
    int64_t at[1];
    reduced.offsets(r, at);
    state = fold.combine(state, fold.term(accumulate_t<T>(x[at[0]]), p, r));
  }
  return state;
}

/// One block per output and segment.
template <class Fold, class T, class State, class O>
__global__ void fold_block_kernel(Fold fold, const T* x, FoldTarget<State, accumulate_t<T>, O> target, Reduction plan,
                                  Segments cut) {
  const int64_t item = blockIdx.x, output = item / cut.count;
  int64_t at[2];
  plan.kept.offsets(output, at);
  const auto p = target.parameter_at(at[0]);
  State s = fold_points(fold, x + at[1], p, plan.reduced, cut, item - output * cut.count, threadIdx.x, blockDim.x);
  s = cuda::block_reduce<CombineOf<Fold>>(s, fold.start());
  if (threadIdx.x == 0) target.put(fold, at[0], item, s);
}

constexpr int kFoldWarps = 8;

/// One warp (a row of the block) per output, for short folds; warps beyond the last output fold nothing.
template <class Fold, class T, class State, class O>
__global__ void fold_warp_kernel(Fold fold, const T* x, FoldTarget<State, accumulate_t<T>, O> target, Reduction plan,
                                 Segments cut) {
  const int64_t output = int64_t(blockIdx.x) * kFoldWarps + threadIdx.y;
  const bool inside = output < plan.kept.numel;
  int64_t at[2] = {0, 0};
  State s = fold.start();
  if (inside) {
    plan.kept.offsets(output, at);
    s = fold_points(fold, x + at[1], target.parameter_at(at[0]), plan.reduced, cut, 0, threadIdx.x, cuda::kWarp);
  }
  s = cuda::warp_reduce<CombineOf<Fold>>(s);
  if (inside && threadIdx.x == 0) target.put(fold, at[0], output, s);
}

/// Outputs that are neighbours in x: a block of 32 columns by kFoldWarps rows walks one segment of one tile of 32
/// outputs (grid x: tiles, y: segments), so that a warp reads neighbouring elements. The first row of threads then
/// combines the others' states in order; the barrier puts their writes before its reads.
template <class Fold, class T, class State, class O>
__global__ void fold_columns_kernel(Fold fold, const T* x, FoldTarget<State, accumulate_t<T>, O> target, Reduction plan,
                                    Segments cut) {
  VITRINE_SHARED(State, states, [kFoldWarps][cuda::kWarp]);
  const int inner = plan.kept.dims - 1;
  const int64_t n = plan.kept.sizes[inner], tiles = (n + cuda::kWarp - 1) / cuda::kWarp;
  const int64_t outer = blockIdx.x / tiles, column = (blockIdx.x - outer * tiles) * cuda::kWarp + threadIdx.x;
  const bool inside = column < n;
  int64_t at[2] = {0, 0};
  State s = fold.start();
  if (inside) {
    plan.kept.offsets(outer * n + column, at);
    s = fold_points(fold, x + at[1], target.parameter_at(at[0]), plan.reduced, cut, blockIdx.y, threadIdx.y,
                    kFoldWarps);
  }
  states[threadIdx.y][threadIdx.x] = s;
  __syncthreads();
  if (threadIdx.y > 0 || !inside) return;
  for (int row = 1; row < kFoldWarps; ++row) s = fold.combine(s, states[row][threadIdx.x]);
  target.put(fold, at[0], (outer * n + column) * cut.count + blockIdx.y, s);
}

/// One warp per output combines the states of its segments.
template <class Fold, class State, class A, class O>
__global__ void fold_segments_kernel(Fold fold, FoldTarget<State, A, O> target, StridedPlan<2> kept, Segments cut) {
  const int64_t output = int64_t(blockIdx.x) * kFoldWarps + threadIdx.y;
  const bool inside = output < kept.numel;
  State s = fold.start();
  for (int64_t i = threadIdx.x; inside && i < cut.count; i += cuda::kWarp)
    s = fold.combine(s, target.partial[output * cut.count + i]);
  s = cuda::warp_reduce<CombineOf<Fold>>(s);
  if (!inside || threadIdx.x > 0) return;
  int64_t at[2];
  kept.offsets(output, at);
  target.y[at[0]] = O(fold.finish(s, target.parameter_at(at[0])));
}

/// y = fold of x over the dims that `plan` reduces. `parameter` (may be null) is laid out like y. Few outputs with many
/// points each are cut into segments, enough of them to fill a large GPU; their states are kept in a temporary tensor
/// on `device`.
template <class Fold, class T, class O>
void fold_cuda(const char* name, const Fold& fold, const T* x, const accumulate_t<T>* parameter, O* y,
               const Reduction& plan, Device device) {
  using State = decltype(fold.start());
  constexpr int64_t kBlocks = 2048, kShort = 1024;  // blocks that fill a GPU; points that a warp folds alone
  const StridedPlan<2>& kept = plan.kept;
  const int64_t points = plan.reduced.numel, width = kept.dims ? kept.sizes[kept.dims - 1] : 1;
  if (kept.numel == 0) return;
  const bool columns = kept.dims && kept.strides[1][kept.dims - 1] == 1 && width >= 4 &&
                       !(plan.reduced.dims && plan.reduced.strides[0][plan.reduced.dims - 1] == 1);
  const int64_t blocks = columns ? kept.numel / width * ((width + cuda::kWarp - 1) / cuda::kWarp) : kept.numel;
  const Segments cut = cut_segments(points, columns ? 128 : 4096, std::max<int64_t>(1, kBlocks / blocks));
  FoldTarget<State, accumulate_t<T>, O> target{parameter, y, nullptr};
  Tensor partial;
  if (cut.count > 1) {
    partial = empty({kept.numel, cut.count}, {.dtype = dtype_of<State>, .device = device});
    target.partial = partial.template mutable_data<State>();
  }
  const int64_t by_warps = (kept.numel + kFoldWarps - 1) / kFoldWarps;
  const cuda::Extent block(cuda::kWarp, kFoldWarps);
  if (columns) {
    cuda::launch(name, fold_columns_kernel<Fold, T, State, O>, {.grid = {blocks, cut.count}, .block = block}, fold, x,
                 target, plan, cut);
  } else if (points <= kShort) {
    cuda::launch(name, fold_warp_kernel<Fold, T, State, O>, {.grid = by_warps, .block = block}, fold, x, target, plan,
                 cut);
  } else {
    cuda::launch(name, fold_block_kernel<Fold, T, State, O>, {.grid = kept.numel * cut.count, .block = 256}, fold, x,
                 target, plan, cut);
  }
  if (cut.count > 1)
    cuda::launch(name, fold_segments_kernel<Fold, State, accumulate_t<T>, O>, {.grid = by_warps, .block = block}, fold,
                 target, kept, cut);
}

}  // namespace VITRINE_WORLD
}  // namespace vitrine::kernels
