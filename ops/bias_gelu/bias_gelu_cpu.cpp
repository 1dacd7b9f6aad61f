#include <algorithm>

#include "core/parallel.h"
#include "core/reduce_row.h"
#include "core/vector_math.h"
#include "ops/bias_gelu/bias_gelu_kernels.h"

namespace vitrine::ops {
namespace {

template <class T>
void forward_row(const T* x, const T* bias, T* __restrict y, int64_t n) {
  using A = accumulate_t<T>;
  if constexpr (std::is_same_v<T, bf16>) {
    const auto f = [](auto v, auto b) { return vm::gelu_for_bf16(v + b); };
    map_row<float>(n, 0.0f, f, y, x, bias);
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = T(vm::gelu(A(x[i]) + A(bias[i])));
  }
}
template <class T, class A = accumulate_t<T>>
void backward_row(const T* x, const T* bias, const T* dy, T* __restrict dx, A* __restrict sum, int64_t n) {
  int64_t i = 0;
  if constexpr (std::is_same_v<T, bf16>) {
    constexpr int64_t kLanes = simd::kLanes<float>;
    for (; i + kLanes <= n; i += kLanes) {
      const auto v = simd::load_as<float>(x + i) + simd::load_as<float>(bias + i);
      const auto d = simd::load_as<float>(dy + i) * vm::gelu_slope_for_bf16(v);
      simd::store_as<float>(dx + i, d);
      simd::store(sum + i, simd::load(sum + i) + d);
    }
  }
  for (; i < n; ++i) {
    const A d = A(dy[i]) * vm::gelu_slope(A(x[i]) + A(bias[i]));
    dx[i] = T(d);
    sum[i] += d;
  }
}

void forward(const Tensor& x, const Tensor& bias, Tensor& y) {
  if (x.numel() == 0) return;
  const int64_t n = bias.numel();
  dispatch_floating(x.dtype(), [&]<class T>() {
    const T *from = x.data<T>(), *b = bias.data<T>();
    T* to = y.mutable_data<T>();
    parallel_for(x.numel() / n, std::max<int64_t>(1, 8192 / n), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) forward_row(from + r * n, b, to + r * n, n);
    });
  });
}

void backward(const Tensor& x, const Tensor& bias, const Tensor& dy, Tensor& dx, Tensor& partial) {
  if (x.numel() == 0) return;
  const int64_t n = bias.numel(), rows = x.numel() / n, groups = partial.size(0);
  const int64_t in_group = (rows + groups - 1) / groups;
  dispatch_floating(x.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    const T *from = x.data<T>(), *b = bias.data<T>(), *d = dy.data<T>();
    T* to = dx.mutable_data<T>();
    A* sums = partial.mutable_data<A>();
    parallel_for(groups, std::max<int64_t>(1, 8192 / (n * in_group)), [&](int64_t begin, int64_t end) {
      for (int64_t g = begin; g < end; ++g) {
        A* sum = sums + g * n;
        std::fill(sum, sum + n, A(0));
        for (int64_t r = g * in_group; r < std::min(rows, (g + 1) * in_group); ++r)
          backward_row(from + r * n, b, d + r * n, to + r * n, sum, n);
      }
    });
  });
}

const Bind bind_forward(bias_gelu_forward, DeviceType::cpu, forward);
const Bind bind_backward(bias_gelu_backward, DeviceType::cpu, backward);

}  // namespace
}  // namespace vitrine::ops
