#include <limits>
#include <utility>
#include <vector>

#include "core/parallel.h"
#include "core/reduce_row.h"
#include "core/vector_math.h"
#include "ops/softmax/softmax_kernels.h"

namespace vitrine::ops {
namespace {

constexpr int64_t kBlock = 16;
int64_t padded(int64_t n) { return (n + kBlock - 1) / kBlock * kBlock; }

/// exp(x_i - m) into `e`, m = max x; returns {m, sum of e}. One plain loop per step, so that each is vectorized. `e` is
/// filled with exp(-inf) up to a whole block, so that the exponentials have no remainder.
template <class T, class A>
std::pair<A, A> exponentials(const T* x, A* __restrict e, int64_t n) {
  constexpr int64_t kLanes = simd::kLanes<A>;
  const int64_t whole = padded(n);
  auto most = simd::broadcast(-std::numeric_limits<A>::infinity());
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const auto v = simd::load_as<A>(x + i);
    simd::store(e + i, v);
    most = simd::max(most, v);
  }
  for (int64_t j = i; j < whole; ++j) e[j] = j < n ? A(x[j]) : -std::numeric_limits<A>::infinity();
  for (; i < whole; i += kLanes) most = simd::max(most, simd::load(e + i));
  const A m = simd::horizontal_max<A>(most);
  for (int64_t j = 0; j < whole; ++j) e[j] = vm::exp_weight(e[j] - m);
  return {m, row_sum_of<A>(
                 whole, [](auto v) { return v; }, static_cast<const A*>(e))};
}

template <class T, class A>
void softmax_row(const T* x, T* y, A* e, int64_t n) {
  const A scale = 1 / exponentials(x, e, n).second;
  for (int64_t i = 0; i < n; ++i) y[i] = T(e[i] * scale);
}
template <class T>
void softmax_backward_row(const T* y, const T* dy, T* dx, int64_t n) {
  using A = accumulate_t<T>;
  const A dot = row_sum_of<A>(
      n, [](auto a, auto b) { return a * b; }, y, dy);
  for (int64_t i = 0; i < n; ++i) dx[i] = T(A(y[i]) * (A(dy[i]) - dot));
}
template <class T, class A>
void log_softmax_row(const T* x, T* y, A* e, int64_t n) {
  const auto [m, sum] = exponentials(x, e, n);
  const A log_sum = vm::log(sum);
  for (int64_t i = 0; i < n; ++i) y[i] = T(A(x[i]) - m - log_sum);
}
template <class T>
void log_softmax_backward_row(const T* y, const T* dy, T* dx, int64_t n) {
  using A = accumulate_t<T>;
  const A sum = row_sum_of<A>(
      n, [](auto v) { return v; }, dy);
  for (int64_t i = 0; i < n; ++i) dx[i] = T(A(dy[i]) - vm::exp_weight(A(y[i])) * sum);
}

/// f(first row, end) on pieces of a contiguous [..., n] tensor.
template <class F>
void row_pieces(const Tensor& x, F f) {
  const int64_t n = x.size(-1);
  if (n) parallel_for(x.numel() / n, std::max<int64_t>(1, 8192 / n), f);
}
/// row(x, y, scratch, n) on every row; the scratch is of padded(n) values in accumulate_t.
template <class Row>
void forward(const Tensor& x, Tensor& y, Row row) {
  const int64_t n = x.size(-1);
  dispatch_floating(x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>();
    row_pieces(x, [=](int64_t begin, int64_t end) {
      std::vector<accumulate_t<T>> scratch(static_cast<size_t>(padded(n)));
      for (int64_t r = begin; r < end; ++r) row(from + r * n, to + r * n, scratch.data(), n);
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

const Bind bind_forward(softmax_forward, DeviceType::cpu, [](const Tensor& x, Tensor& y) {
  forward(x, y, [](const auto* a, auto* b, auto* e, int64_t n) { softmax_row(a, b, e, n); });
});
const Bind bind_backward(softmax_backward, DeviceType::cpu, [](const Tensor& y, const Tensor& dy, Tensor& dx) {
  backward(y, dy, dx, []<class T>(const T* a, const T* b, T* c, int64_t n) { softmax_backward_row(a, b, c, n); });
});
const Bind bind_log_forward(log_softmax_forward, DeviceType::cpu, [](const Tensor& x, Tensor& y) {
  forward(x, y, [](const auto* a, auto* b, auto* e, int64_t n) { log_softmax_row(a, b, e, n); });
});
const Bind bind_log_backward(log_softmax_backward, DeviceType::cpu, [](const Tensor& y, const Tensor& dy, Tensor& dx) {
  backward(y, dy, dx, []<class T>(const T* a, const T* b, T* c, int64_t n) { log_softmax_backward_row(a, b, c, n); });
});

}  // namespace
}  // namespace vitrine::ops
