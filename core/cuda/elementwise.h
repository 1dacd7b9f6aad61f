#pragma once
#include <utility>

#include "core/cuda/launch.h"
#include "core/cuda/vector.h"
#include "core/elementwise_plan.h"

/// y = f(x...) element by element in a kernel, with inputs broadcast to y's shape; f is a small value type with
/// `template <class A> __device__ operator()`. core/elementwise.h is the same for the CPU.
namespace vitrine::cuda {
inline namespace VITRINE_WORLD {
namespace elementwise_detail {

inline constexpr int kBlock = 256;
inline int64_t blocks_for(int64_t threads) { return (threads + kBlock - 1) / kBlock; }

template <int kPack, class F, class Out, class... In>
__device__ __forceinline__ void apply_pack(const F& f, Out* out, const Pack<In, kPack>&... x) {
  Pack<Out, kPack> y;
#pragma unroll
  for (int j = 0; j < kPack; ++j) y[j] = Out(f(accumulate_t<In>(x[j])...));
  store(out, y);
}

/// One thread per pack of kPack neighbours, and one for each element left over at the end.
template <int kPack, class F, class Out, class... In>
__global__ void dense_kernel(F f, int64_t n, Out* out, const In*... in) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x, packs = n / kPack;
  if (i < packs) {
    apply_pack<kPack, F, Out, In...>(f, out + i * kPack, load<kPack>(in + i * kPack)...);
  } else {
    const int64_t rest = packs * kPack + (i - packs);
    if (rest < n) out[rest] = Out(f(accumulate_t<In>(in[rest])...));
  }
}

template <size_t... I, class F, class Out, class... In>
__device__ __forceinline__ void apply_at(std::index_sequence<I...>, const F& f, const int64_t* at, Out* out,
                                         const In*... in) {
  out[at[0]] = Out(f(accumulate_t<In>(in[at[1 + I]])...));
}

/// One thread per element.
template <class F, class Out, class... In>
__global__ void strided_kernel(F f, StridedPlan<1 + sizeof...(In)> plan, Out* out, const In*... in) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= plan.numel) return;
  int64_t at[1 + sizeof...(In)];
  plan.offsets(i, at);
  apply_at(std::index_sequence_for<In...>(), f, at, out, in...);
}

/// Elements per thread: 16 bytes of the largest type, but at least 4 bytes of the smallest.
template <class... T>
inline constexpr int kPackOf = std::max(16 / int(std::max({sizeof(T)...})), 4 / int(std::min({sizeof(T)...})));

}  // namespace elementwise_detail

/// y = f(x...) under the kernel name `name`. Dense tensors at 16-byte boundaries move in 16-byte accesses.
///
/// @tparam Out, In  element types of y and of each x
template <class Out, class... In, class F, class... X>
void elementwise(const char* name, F f, Tensor& y, const X&... x) {
  namespace detail = elementwise_detail;
  static_assert(sizeof...(In) == sizeof...(X), "elementwise: one element type for each input");
  const int64_t n = y.numel();
  if (n == 0) return;
  constexpr int kPack = detail::kPackOf<Out, In...>;
  Out* const out = y.mutable_data<Out>();
  const LaunchShape per_element{.grid = detail::blocks_for(n), .block = detail::kBlock};
  if (same_dense_runs(y, x...) && aligned_to(out, 16) && (aligned_to(x.template data<In>(), 16) && ...)) {
    const LaunchShape per_pack{.grid = detail::blocks_for(n / kPack + n % kPack), .block = detail::kBlock};
    launch(name, detail::dense_kernel<kPack, F, Out, In...>, per_pack, f, n, out, x.template data<In>()...);
  } else {
    launch(name, detail::strided_kernel<F, Out, In...>, per_element, f, elementwise_plan(y, x...), out,
           x.template data<In>()...);
  }
}

}  // namespace VITRINE_WORLD
}  // namespace vitrine::cuda
