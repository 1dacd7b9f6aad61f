#include <cmath>

#include "core/parallel.h"
#include "core/reduce_row.h"
#include "core/vector_math.h"
#include "ops/softmax/softmax_kernels.h"

namespace vitrine::ops {
namespace {

template <class T>
void softmax_row(const T* x, T* y, int64_t n) {
  using A = accumulate_t<T>;
  const A m = row_max<A>(n, [&](int64_t i) { return A(x[i]); });
  const A s = row_sum<A>(n, [&](int64_t i) { return vm::exp(A(x[i]) - m); });
  const A scale = 1 / s;
  for (int64_t i = 0; i < n; ++i) y[i] = T(vm::exp(A(x[i]) - m) * scale);
}
template <class T>
void softmax_backward_row(const T* y, const T* dy, T* dx, int64_t n) {
  using A = accumulate_t<T>;
  const A dot = row_sum<A>(n, [&](int64_t i) { return A(y[i]) * A(dy[i]); });
  for (int64_t i = 0; i < n; ++i) dx[i] = T(A(y[i]) * (A(dy[i]) - dot));
}
template <class T>
void log_softmax_row(const T* x, T* y, int64_t n) {
  using A = accumulate_t<T>;
  const A m = row_max<A>(n, [&](int64_t i) { return A(x[i]); });
  const A log_sum = vm::log(row_sum<A>(n, [&](int64_t i) { return vm::exp(A(x[i]) - m); }));
  for (int64_t i = 0; i < n; ++i) y[i] = T(A(x[i]) - m - log_sum);
}
template <class T>
void log_softmax_backward_row(const T* y, const T* dy, T* dx, int64_t n) {
  using A = accumulate_t<T>;
  const A sum = row_sum<A>(n, [&](int64_t i) { return A(dy[i]); });
  for (int64_t i = 0; i < n; ++i) dx[i] = T(A(dy[i]) - vm::exp(A(y[i])) * sum);
}

/// f(row, n) on every row of a contiguous [..., n] tensor.
template <class F>
void rows(const Tensor& x, F f) {
  const int64_t n = x.size(-1);
  if (n == 0) return;
  parallel_for(x.numel() / n, std::max<int64_t>(1, 8192 / n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) f(r * n, n);
  });
}
template <class Row>
void forward(const Tensor& x, Tensor& y, Row row) {
  dispatch_floating(x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>();
    rows(x, [=](int64_t at, int64_t n) { row(from + at, to + at, n); });
  });
}
template <class Row>
void backward(const Tensor& y, const Tensor& dy, Tensor& dx, Row row) {
  dispatch_floating(y.dtype(), [&]<class T>() {
    const T *out = y.data<T>(), *dout = dy.data<T>();
    T* to = dx.mutable_data<T>();
    rows(y, [=](int64_t at, int64_t n) { row(out + at, dout + at, to + at, n); });
  });
}

const Bind bind_forward(softmax_forward, DeviceType::cpu, [](const Tensor& x, Tensor& y) {
  forward(x, y, []<class T>(const T* a, T* b, int64_t n) { softmax_row(a, b, n); });
});
const Bind bind_backward(softmax_backward, DeviceType::cpu, [](const Tensor& y, const Tensor& dy, Tensor& dx) {
  backward(y, dy, dx, []<class T>(const T* a, const T* b, T* c, int64_t n) { softmax_backward_row(a, b, c, n); });
});
const Bind bind_log_forward(log_softmax_forward, DeviceType::cpu, [](const Tensor& x, Tensor& y) {
  forward(x, y, []<class T>(const T* a, T* b, int64_t n) { log_softmax_row(a, b, n); });
});
const Bind bind_log_backward(log_softmax_backward, DeviceType::cpu, [](const Tensor& y, const Tensor& dy, Tensor& dx) {
  backward(y, dy, dx, []<class T>(const T* a, const T* b, T* c, int64_t n) { log_softmax_backward_row(a, b, c, n); });
});

}  // namespace
}  // namespace vitrine::ops
