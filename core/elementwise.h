#pragma once
#include <algorithm>
#include <tuple>
#include <utility>

#include "core/elementwise_plan.h"
#include "core/reduce_row.h"

/// y = f(x...) element by element on the CPU, with inputs broadcast to y's shape: the loops behind every elementwise
/// op. core/cuda/elementwise.h is the same for kernels.
namespace vitrine {

namespace detail {

/// `in` and `out` never overlap: an op's output is a new tensor. All of f is inlined, or the loop is not vectorized.
template <class F, class R, class... A>
[[gnu::flatten]] void apply_run(F f, int64_t n, R* __restrict out, const A* __restrict... in) {
  for (int64_t i = 0; i < n; ++i) out[i] = f(in[i]...);
}

/// Left as it is when made: a tuple of arrays would be zeroed for every row.
template <class A>
struct RunBuffer {
  static constexpr int64_t kSize = 256;
  A values[kSize];
  RunBuffer() {}
};

template <class From, class To>
void convert_run(const From* from, To* to, int64_t n) {
  if constexpr (sizeof(From) == 2 || sizeof(To) == 2) {  // bf16 and f16: simd.h has the processor's own conversions
    const auto itself = [](auto v) { return v; };
    map_row<float>(n, 0, itself, to, from);
  } else {
    for (int64_t i = 0; i < n; ++i) to[i] = To(from[i]);
  }
}

/// A strided run as contiguous values of A: itself where it is that, else a copy in `buffer`.
template <class A, class T>
const A* gather_run(const T* run, int64_t step, int64_t n, A* buffer) {
  if (step != 1) {
    for (int64_t i = 0; i < n; ++i) buffer[i] = A(run[i * step]);
  } else if constexpr (std::is_same_v<A, T>) {
    return run;
  } else {
    convert_run(run, buffer, n);
  }
  return buffer;
}

template <class Out, class R>
void scatter_run(const R* values, Out* run, int64_t step, int64_t n) {
  if (step == 1) return convert_run(values, run, n);
  for (int64_t i = 0; i < n; ++i) run[i * step] = Out(values[i]);
}

/// One run. Dense runs of arithmetic types are computed where they lie; others pass through small buffers, so that
/// there is one vector loop for each function and accumulate_t.
template <size_t... I, class F, class Out, class... In>
void elementwise_run(std::index_sequence<I...>, F f, const int64_t* step, int64_t n, Out* out, const In*... in) {
  using R = accumulate_t<Out>;
  if constexpr (std::is_same_v<R, Out> && (std::is_same_v<In, accumulate_t<In>> && ...)) {
    if (step[0] == 1 && ((step[1 + I] == 1) && ...)) return apply_run<F, R, accumulate_t<In>...>(f, n, out, in...);
  }
  constexpr int64_t kBuffer = RunBuffer<R>::kSize;
  R result[kBuffer];
  std::tuple<RunBuffer<accumulate_t<In>>...> buffers;
  for (int64_t i = 0; i < n; i += kBuffer) {
    const int64_t m = std::min(kBuffer, n - i);
    apply_run<F, R, accumulate_t<In>...>(
        f, m, result, gather_run(in + i * step[1 + I], step[1 + I], m, std::get<I>(buffers).values)...);
    scatter_run(result, out + i * step[0], step[0], m);
  }
}

/// Pieces of K dense arrays of n elements, in parallel.
template <int K>
void for_each_piece(int64_t n, RunFunction<K> run) {
  // Below kGrain elements a thread does not pay; above it the pieces are smaller, so that all threads end together.
  constexpr int64_t kGrain = 16384, kPiece = 4096;
  parallel_for(n, n > kGrain ? kPiece : kGrain, [&](int64_t begin, int64_t end) {
    int64_t at[K];
    for (int k = 0; k < K; ++k) at[k] = begin;
    run(at, end - begin);
  });
}

}  // namespace detail

/// y = f(x...), where f takes and returns values of accumulate_t. Inputs are broadcast to y's shape.
///
/// @tparam Out, In  element types of y and of each x
template <class Out, class... In, class F, class... X>
void elementwise(F f, Tensor& y, const X&... x) {
  static_assert(sizeof...(In) == sizeof...(X), "elementwise: one element type for each input");
  constexpr int K = 1 + sizeof...(In);
  constexpr auto kEach = std::index_sequence_for<In...>();
  Out* const out = y.mutable_data<Out>();
  const std::tuple<const In*...> in{x.template data<In>()...};
  int64_t step[K];
  const auto run = [&](const int64_t(&at)[K], int64_t n) {
    [&]<size_t... I>(std::index_sequence<I...> each) {
      detail::elementwise_run(each, f, step, n, out + at[0], (std::get<I>(in) + at[1 + I])...);
    }
    (kEach);
  };
  if (same_dense_runs(y, x...)) {
    for (int64_t& s : step) s = 1;
    return detail::for_each_piece<K>(y.numel(), run);
  }
  const auto plan = elementwise_plan(y, x...);
  for (int k = 0; k < K; ++k) step[k] = plan.dims ? plan.strides[k][plan.dims - 1] : 1;
  for_each_row(plan, run);
}

}  // namespace vitrine
