#include <algorithm>
#include <limits>
#include <vector>

#include "core/parallel.h"
#include "core/reduce_row.h"
#include "core/vector_math.h"
#include "ops/softmax/softmax_kernels.h"

namespace vitrine::ops {
namespace {

/// n elements and what a whole vector adds.
template <class A>
constexpr int64_t padded_row(int64_t n) {
  return (n + simd::kLanes<A> - 1) / simd::kLanes<A> * simd::kLanes<A>;
}

/// softmax, or log_softmax if `kLog`, of rows of n elements, each of which takes three passes: its largest element, the
/// exponentials and their sum, the results. One loop makes the passes of three neighbouring rows, as the second keeps
/// the multipliers busy and the others memory, and as a pass waits for the end of the one before it. A logarithm takes
/// as long as a pass, so its row rests for one. `e`, two rows of padded_row(n) elements, keeps exponentials.
template <bool kLog, class T, class A>
void forward_rows(const T* x, T* y, A* e, int64_t rows, int64_t n) {
  using V = simd::Vec<A>;
  constexpr int64_t kLanes = simd::kLanes<A>;
  constexpr A kLowest = -std::numeric_limits<A>::infinity();
  const int64_t whole = n / kLanes * kLanes, left = n - whole;
  constexpr int64_t kLag = kLog ? 3 : 2;  // rows from the one of the first pass to the one of the third
  A m = 0, m_resting = 0, m_third = 0, s_resting = 0, s_third = 0;
  for (int64_t r = 0; r < rows + kLag; ++r) {
    const int64_t first = r * n, second = first - n, third = first - kLag * n;
    A *made = e + r % 2 * padded_row<A>(n), *kept = e + (r + 1) % 2 * padded_row<A>(n);
    V most = simd::broadcast(kLowest), sum{};
    const auto step = [&](int64_t i, auto load, auto store) {
      if (r < rows) most = simd::max(most, load(x + first + i));
      if (0 < r && r <= rows) {
        const V w = vm::exp_weight(load(x + second + i) - m);
        sum += w;
        if (!kLog) simd::store(made + i, w);
      }
      if (kLag <= r)
        store(y + third + i, kLog ? load(x + third + i) - m_third - s_third : simd::load(kept + i) * s_third);
    };
    for (int64_t i = 0; i < whole; i += kLanes) step(i, simd::load_as<A, T>, simd::store_as<A, T>);
    if (left)
      step(
          whole, [left](const T* p) { return simd::load_first_as<A>(p, int(left), kLowest); },
          [left](T* p, V v) { simd::store_first_as<A>(p, v, int(left)); });
    m_third = m_resting, s_third = s_resting, m_resting = m, m = simd::horizontal_max<A>(most);
    const A s = simd::horizontal_sum<A>(sum);
    kLog ? s_resting = vm::log(s) : s_third = 1 / s;
  }
}
template <class T>
void softmax_backward_row(const T* y, const T* dy, T* dx, int64_t n) {
  using A = accumulate_t<T>;
  const auto product = [](auto a, auto b) { return a * b; };
  const auto centred = [dot = row_sum_of<A>(n, product, y, dy)](auto a, auto b) { return a * (b - dot); };
  map_row<A>(n, 0, centred, dx, y, dy);
}
template <class T>
void log_softmax_backward_row(const T* y, const T* dy, T* dx, int64_t n) {
  using A = accumulate_t<T>;
  const auto itself = [](auto v) { return v; };
  const auto centred = [sum = row_sum_of<A>(n, itself, dy)](auto a, auto b) { return b - vm::exp_weight(a) * sum; };
  map_row<A>(n, 0, centred, dx, y, dy);
}

/// f(first row, end) on pieces of a contiguous [..., n] tensor.
template <class F>
void row_pieces(const Tensor& x, F f) {
  const int64_t n = x.size(-1);
  if (n) parallel_for(x.numel() / n, std::max<int64_t>(1, 8192 / n), f);
}
template <bool kLog>
void forward(const Tensor& x, Tensor& y) {
  const int64_t n = x.size(-1);
  dispatch_floating(x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>();
    row_pieces(x, [=](int64_t begin, int64_t end) {
      std::vector<accumulate_t<T>> scratch(kLog ? 0 : size_t(2 * padded_row<accumulate_t<T>>(n)));
      forward_rows<kLog>(from + begin * n, to + begin * n, scratch.data(), end - begin, n);
    });
  });
}
template <class Row>
void backward(const Tensor& y, const Tensor& dy, Tensor& dx, Row row) {
  const int64_t n = y.size(-1);
  dispatch_floating(y.dtype(), [&]<class T>() {
    const T *out = y.data<T>(), *dout = dy.data<T>();
    T* to = dx.mutable_data<T>();
    row_pieces(y, [=](int64_t begin, int64_t end) {
      for (int64_t at = begin * n; at < end * n; at += n) row(out + at, dout + at, to + at, n);
    });
  });
}

const Bind bind_forward(softmax_forward, DeviceType::cpu, forward<false>);
const Bind bind_backward(softmax_backward, DeviceType::cpu, [](const Tensor& y, const Tensor& dy, Tensor& dx) {
  backward(y, dy, dx, []<class T>(const T* a, const T* b, T* c, int64_t n) { softmax_backward_row(a, b, c, n); });
});
const Bind bind_log_forward(log_softmax_forward, DeviceType::cpu, forward<true>);
const Bind bind_log_backward(log_softmax_backward, DeviceType::cpu, [](const Tensor& y, const Tensor& dy, Tensor& dx) {
  backward(y, dy, dx, []<class T>(const T* a, const T* b, T* c, int64_t n) { log_softmax_backward_row(a, b, c, n); });
});

}  // namespace
}  // namespace vitrine::ops
