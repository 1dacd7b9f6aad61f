#pragma once
#include <array>
#include <vector>

#include "core/dtype.h"
#include "core/kernels/fold.h"
#include "core/strided.h"

namespace vitrine::kernels {
namespace fold_detail {

/// All lanes combined, halves first. The halves have constant length, so that they stay in registers.
template <class Fold, class State, size_t N>
State combine_lanes(const Fold& fold, const std::array<State, N>& lanes) {
  if constexpr (N == 1) {
    return lanes[0];
  } else {
    std::array<State, N / 2> half;
    for (size_t l = 0; l < N / 2; ++l) half[l] = fold.combine(lanes[l], lanes[l + N / 2]);
    return combine_lanes(fold, half);
  }
}

/// n points `step` apart, in interleaved partial folds that are combined in a fixed order: vectorized without
/// reordering.
template <bool kDense, class Fold, class T>
auto fold_run(const Fold& fold, const T* x, accumulate_t<T> p, int64_t first, int64_t n, int64_t step) {
  using A = accumulate_t<T>;
  constexpr int kLanes = 32;
  std::array<decltype(fold.start()), kLanes> lanes;
  lanes.fill(fold.start());
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; ++l)
      lanes[l] = fold.combine(lanes[l], fold.term(A(x[(i + l) * (kDense ? 1 : step)]), p, first + i + l));
  for (int l = 0; i < n; ++i, ++l) lanes[l] = fold.combine(lanes[l], fold.term(A(x[i * step]), p, first + i));
  return combine_lanes(fold, lanes);
}

/// Points [begin, end) of the reduced dims, for one output.
template <class Fold, class T>
auto fold_points(const Fold& fold, const T* x, accumulate_t<T> p, const StridedPlan<1>& reduced, int64_t begin,
                 int64_t end) {
  const int inner = reduced.dims - 1;
  const int64_t n = reduced.dims ? reduced.sizes[inner] : 1, step = reduced.dims ? reduced.strides[0][inner] : 1;
  if (reduced.dims == 1 && step == 1) return fold_run<true>(fold, x + begin, p, begin, end - begin, 1);
  auto state = fold.start();
  for (int64_t r = begin; r < end;) {
    int64_t at[1];
    reduced.offsets(r, at);
    const int64_t length = std::min(end - r, n - r % n);
    state = fold.combine(state, step == 1 ? fold_run<true>(fold, x + at[0], p, r, length, 1)
                                          : fold_run<false>(fold, x + at[0], p, r, length, step));
    r += length;
  }
  return state;
}

constexpr int64_t kColumns = 512;

/// Points [begin, end) of the reduced dims, for up to kColumns neighbouring outputs whose elements are neighbours too.
template <class Fold, class T, class State>
void fold_columns(const Fold& fold, const T* x, const accumulate_t<T>* p, State* states, int64_t columns,
                  const StridedPlan<1>& reduced, int64_t begin, int64_t end) {
  using A = accumulate_t<T>;
  const auto row = [&](int64_t r) {
    int64_t at[1];
    reduced.offsets(r, at);
    return x + at[0];
  };
  for (int64_t i = 0; i < columns; ++i) states[i] = fold.start();
  int64_t r = begin;
  for (; r + 4 <= end; r += 4) {  // four rows at once: the states are read and written a quarter as often
    const T *a = row(r), *b = row(r + 1), *c = row(r + 2), *d = row(r + 3);
    for (int64_t i = 0; i < columns; ++i) {
      State s = fold.combine(states[i], fold.term(A(a[i]), p[i], r));
      s = fold.combine(s, fold.term(A(b[i]), p[i], r + 1));
      s = fold.combine(s, fold.term(A(c[i]), p[i], r + 2));
      states[i] = fold.combine(s, fold.term(A(d[i]), p[i], r + 3));
    }
  }
  for (; r < end; ++r) {
    const T* a = row(r);
    for (int64_t i = 0; i < columns; ++i) states[i] = fold.combine(states[i], fold.term(A(a[i]), p[i], r));
  }
}

/// Calls write(output offset, output number, state, p) for every output and segment, in parallel; outputs are single.
template <class Fold, class T, class Write>
void visit_points(const Fold& fold, const T* x, const accumulate_t<T>* parameter, const Reduction& plan, Segments cut,
                  Write write) {
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, cut.length));
  parallel_for(plan.kept.numel * cut.count, grain, [&](int64_t first, int64_t last) {
    int64_t output = first / cut.count, begin = first % cut.count * cut.length;
    for (int64_t item = first; item < last; ++item) {  // the next item is found without a division, slow for short rows
      const int64_t end = std::min(plan.reduced.numel, begin + cut.length);
      int64_t at[2];
      plan.kept.offsets(output, at);
      const accumulate_t<T> p = parameter ? parameter[at[0]] : 0;
      write(at[0], item, fold_points(fold, x + at[1], p, plan.reduced, begin, end), p);
      begin = end == plan.reduced.numel ? 0 : end;
      output += begin == 0;
    }
  });
}

/// The same for runs of neighbouring outputs.
template <class Fold, class T, class Write>
void visit_columns(const Fold& fold, const T* x, const accumulate_t<T>* parameter, const Reduction& plan, Segments cut,
                   Write write) {
  using A = accumulate_t<T>;
  const StridedPlan<2>& kept = plan.kept;
  const int inner = kept.dims - 1;
  const int64_t n = kept.sizes[inner], step = kept.strides[0][inner], tiles = (n + kColumns - 1) / kColumns;
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, cut.length * std::min(n, kColumns)));
  parallel_for(kept.numel / n * tiles * cut.count, grain, [&](int64_t first, int64_t last) {
    for (int64_t item = first; item < last; ++item) {
      const int64_t segment = item % cut.count, tile = item / cut.count % tiles, outer = item / cut.count / tiles;
      const int64_t begin = segment * cut.length, end = std::min(plan.reduced.numel, begin + cut.length);
      const int64_t c = tile * kColumns, columns = std::min(kColumns, n - c), output = outer * n + c;
      int64_t at[2];
      kept.offsets(output, at);
      A p[kColumns] = {};
      for (int64_t i = 0; i < columns && parameter; ++i) p[i] = parameter[at[0] + i * step];
      decltype(fold.start()) states[kColumns];
      fold_columns(fold, x + at[1], p, states, columns, plan.reduced, begin, end);
      for (int64_t i = 0; i < columns; ++i)
        write(at[0] + i * step, (output + i) * cut.count + segment, states[i], p[i]);
    }
  });
}

}  // namespace fold_detail

/// y = fold of x over the dims that `plan` reduces. `parameter` (may be null) is laid out like y.
template <class Fold, class T, class O>
void fold_cpu(const Fold& fold, const T* x, const accumulate_t<T>* parameter, O* y, const Reduction& plan) {
  using namespace fold_detail;
  using State = decltype(fold.start());
  const StridedPlan<2>& kept = plan.kept;
  const int64_t points = plan.reduced.numel, width = kept.dims ? kept.sizes[kept.dims - 1] : 1;
  if (kept.numel == 0) return;
  const bool columns = kept.dims && kept.strides[1][kept.dims - 1] == 1 && width >= 4 &&
                       !(plan.reduced.dims && plan.reduced.strides[0][plan.reduced.dims - 1] == 1);
  const int64_t tasks = columns ? kept.numel / std::min(width, kColumns) : kept.numel;
  const Segments cut = tasks >= 64 ? Segments{1, points} : cut_segments(points, columns ? 256 : 16384, 64);
  std::vector<State> partial(cut.count == 1 ? 0 : size_t(kept.numel * cut.count));
  const auto write = [&](int64_t at, int64_t item, State s, accumulate_t<T> p) {
    if (cut.count == 1) {
      y[at] = O(fold.finish(s, p));
    } else {
      partial[size_t(item)] = s;
    }
  };
  columns ? visit_columns(fold, x, parameter, plan, cut, write) : visit_points(fold, x, parameter, plan, cut, write);
  if (cut.count == 1) return;
  for (int64_t output = 0; output < kept.numel; ++output) {
    State s = fold.start();
    for (int64_t i = 0; i < cut.count; ++i) s = fold.combine(s, partial[size_t(output * cut.count + i)]);
    int64_t at[2];
    kept.offsets(output, at);
    y[at[0]] = O(fold.finish(s, parameter ? parameter[at[0]] : accumulate_t<T>(0)));
  }
}

}  // namespace vitrine::kernels
