#include <algorithm>
#include <limits>
#include <vector>

#include "core/parallel.h"
#include "core/reduce_row.h"
#include "core/vector_math.h"
#include "ops/softmax/softmax_kernels.h"

namespace vitrine::ops {
namespace {

template <class A, class T>
A largest(const T* x, int64_t n) {
  constexpr int64_t kLanes = simd::kLanes<A>;
  constexpr A kLowest = -std::numeric_limits<A>::infinity();
  auto most = simd::broadcast(kLowest);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) most = simd::max(most, simd::load_as<A>(x + i));
  if (i < n) most = simd::max(most, simd::load_first_as<A>(x + i, int(n - i), kLowest));
  return simd::horizontal_max<A>(most);
}

// The forward functions go step by step through up to kBundle rows: each step of a row waits for the one before, and
// the processor overlaps the waits of neighbouring rows.
constexpr int64_t kBundle = 4;

/// `e` takes the exponentials.
template <class T, class A>
void softmax_rows(const T* x, T* y, A* e, int64_t rows, int64_t n) {
  A scale[kBundle];
  for (int64_t r = 0; r < rows; ++r) {
    simd::Vec<A> sums{};
    const auto exponential = [&sums, m = largest<A>(x + r * n, n)](auto v) {
      const auto w = vm::exp_weight(v - m);
      sums += w;
      return w;
    };
    map_row<A>(n, -std::numeric_limits<A>::infinity(), exponential, e + r * n, x + r * n);
    scale[r] = 1 / simd::horizontal_sum<A>(sums);
  }
  for (int64_t r = 0; r < rows; ++r) {
    const auto scaled = [s = scale[r]](auto v) { return v * s; };
    map_row<A>(n, 0, scaled, y + r * n, static_cast<const A*>(e + r * n));
  }
}
template <class T, class A>
void log_softmax_rows(const T* x, T* y, A*, int64_t rows, int64_t n) {
  A m[kBundle], log_sum[kBundle];
  for (int64_t r = 0; r < rows; ++r) {
    m[r] = largest<A>(x + r * n, n);
    const auto exponential = [m = m[r]](auto v) { return vm::exp_weight(v - m); };
    log_sum[r] = row_sum_of<A>(n, exponential, x + r * n);
  }
  for (int64_t r = 0; r < rows; ++r) log_sum[r] = vm::log(log_sum[r]);
  for (int64_t r = 0; r < rows; ++r) {
    const auto shifted = [m = m[r], s = log_sum[r]](auto v) { return v - m - s; };
    map_row<A>(n, 0, shifted, y + r * n, x + r * n);
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
/// rows(x, y, scratch, count, n) on all rows; the scratch holds kBundle rows of accumulate_t.
template <class Rows>
void forward(const Tensor& x, Tensor& y, Rows rows) {
  const int64_t n = x.size(-1);
  dispatch_floating(x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>();
    row_pieces(x, [=](int64_t begin, int64_t end) {
      std::vector<accumulate_t<T>> scratch(static_cast<size_t>(kBundle * n));
      for (int64_t r = begin; r < end; r += kBundle)
        rows(from + r * n, to + r * n, scratch.data(), std::min(kBundle, end - r), n);
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
  forward(x, y, [](const auto* a, auto* b, auto* e, int64_t rows, int64_t n) { softmax_rows(a, b, e, rows, n); });
});
const Bind bind_backward(softmax_backward, DeviceType::cpu, [](const Tensor& y, const Tensor& dy, Tensor& dx) {
  backward(y, dy, dx, []<class T>(const T* a, const T* b, T* c, int64_t n) { softmax_backward_row(a, b, c, n); });
});
const Bind bind_log_forward(log_softmax_forward, DeviceType::cpu, [](const Tensor& x, Tensor& y) {
  forward(x, y, [](const auto* a, auto* b, auto* e, int64_t rows, int64_t n) { log_softmax_rows(a, b, e, rows, n); });
});
const Bind bind_log_backward(log_softmax_backward, DeviceType::cpu, [](const Tensor& y, const Tensor& dy, Tensor& dx) {
  backward(y, dy, dx, []<class T>(const T* a, const T* b, T* c, int64_t n) { log_softmax_backward_row(a, b, c, n); });
});

}  // namespace
}  // namespace vitrine::ops
