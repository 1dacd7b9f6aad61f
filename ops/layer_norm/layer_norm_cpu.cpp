#include <algorithm>
#include <array>
#include <cmath>

#include "core/parallel.h"
#include "core/reduce_row.h"
#include "ops/layer_norm/layer_norm_kernels.h"

namespace vitrine::ops {
namespace {

template <class T, class A = accumulate_t<T>>
struct Forward {
  const T *x, *residual, *weight, *bias;
  A eps;
  T *sum, *y;
  A *mean, *rstd;
  int64_t n;

  /// The address of row r, after adding the residual.
  const T* summed(int64_t r) const {
    const T* from = x + r * n;
    if (!residual) return from;
    const T* other = residual + r * n;
    T* to = sum + r * n;
    for (int64_t i = 0; i < n; ++i) to[i] = T(A(from[i]) + A(other[i]));
    return to;
  }
  void write(const T* row, A m, A scale, T* to) const {
    if (weight && bias) {
      for (int64_t i = 0; i < n; ++i) to[i] = T((A(row[i]) - m) * scale * A(weight[i]) + A(bias[i]));
    } else if (weight) {
      for (int64_t i = 0; i < n; ++i) to[i] = T((A(row[i]) - m) * scale * A(weight[i]));
    } else if (bias) {
      for (int64_t i = 0; i < n; ++i) to[i] = T((A(row[i]) - m) * scale + A(bias[i]));
    } else {
      for (int64_t i = 0; i < n; ++i) to[i] = T((A(row[i]) - m) * scale);
    }
  }
  /// Up to kBundle rows step by step: each of the two reductions of a row waits for its own adds, and the processor
  /// overlaps the waits of neighbouring rows.
  static constexpr int kBundle = 4;
  void bundle(int64_t first, int64_t last) const {
    const T* row[kBundle];
    A m[kBundle], scale[kBundle];
    const int count = int(last - first);
    for (int r = 0; r < count; ++r) {
      row[r] = summed(first + r);
      m[r] = row_sum_of<A>(
                 n, [](auto v) { return v; }, row[r]) /
             A(n);
    }
    for (int r = 0; r < count; ++r) {
      const auto square = [c = m[r]](auto v) { return (v - c) * (v - c); };
      scale[r] = 1 / std::sqrt(row_sum_of<A>(n, square, row[r]) / A(n) + eps);
      mean[first + r] = m[r], rstd[first + r] = scale[r];
    }
    for (int r = 0; r < count; ++r) write(row[r], m[r], scale[r], y + (first + r) * n);
  }
  void rows(int64_t begin, int64_t end) const {
    for (int64_t r = begin; r < end; r += kBundle) bundle(r, std::min(end, r + kBundle));
  }
};

void run_forward(const Tensor& x, const Tensor& residual, const Tensor& weight, const Tensor& bias, double eps,
                 Tensor& sum, Tensor& y, Tensor& mean, Tensor& rstd) {
  dispatch_floating(x.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    const Forward<T> f{.x = x.data<T>(),
                       .residual = read_optional<T>(residual),
                       .weight = read_optional<T>(weight),
                       .bias = read_optional<T>(bias),
                       .eps = A(eps),
                       .sum = write_optional<T>(sum),
                       .y = y.mutable_data<T>(),
                       .mean = mean.mutable_data<A>(),
                       .rstd = rstd.mutable_data<A>(),
                       .n = x.size(-1)};
    parallel_for(row_count(x), std::max<int64_t>(1, 8192 / std::max<int64_t>(1, f.n)),
                 [f](int64_t begin, int64_t end) { f.rows(begin, end); });
  });
}

void forward(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, Tensor& y, Tensor& mean,
             Tensor& rstd) {
  Tensor none;
  run_forward(x, none, weight, bias, eps, none, y, mean, rstd);
}

template <class T, class A = accumulate_t<T>>
struct Backward {
  const T *dy, *x, *weight;
  const A *mean, *rstd;
  const T* add;
  T* dx;
  A* parts;
  int64_t n;

  void row(int64_t r) const {
    const T *d = dy + r * n, *from = x + r * n, *w = weight;
    const A m = mean[r], scale = rstd[r];
    const auto normal = [=](int64_t i) { return (A(from[i]) - m) * scale; };
    const auto finish = [&](auto g) {
      const std::array<A, 2> sums = row_sums<2, A>(n, [&](int64_t i) {
        return std::array<A, 2>{g(i), g(i) * normal(i)};
      });
      const A mean_g = sums[0] / A(n), mean_gn = sums[1] / A(n);
      T* to = dx + r * n;
      if (add) {
        const T* more = add + r * n;
        for (int64_t i = 0; i < n; ++i) to[i] = T(A(more[i]) + scale * (g(i) - mean_g - normal(i) * mean_gn));
      } else {
        for (int64_t i = 0; i < n; ++i) to[i] = T(scale * (g(i) - mean_g - normal(i) * mean_gn));
      }
    };
    if (w) {
      finish([=](int64_t i) { return A(d[i]) * A(w[i]); });
    } else {
      finish([=](int64_t i) { return A(d[i]); });
    }
  }

  /// Adds the contributions of rows [first, first + R) to the gradients of weight and bias.
  template <int R>
  void columns(int64_t first, A* __restrict dweight, A* __restrict dbias) const {
    const T *d = dy + first * n, *from = x + first * n;
    A m[R], scale[R];
    for (int r = 0; r < R; ++r) m[r] = mean[first + r], scale[r] = rstd[first + r];
    for (int64_t i = 0; i < n; ++i) {
      A sum_dn = 0, sum_d = 0;
      for (int r = 0; r < R; ++r) {
        const A di = A(d[r * n + i]);
        sum_dn += di * ((A(from[r * n + i]) - m[r]) * scale[r]), sum_d += di;
      }
      dweight[i] += sum_dn, dbias[i] += sum_d;
    }
  }

  void group(int64_t p, int64_t first, int64_t last) const {
    constexpr int kBundle = 4;  // rows that share one pass over the sums
    A* dweight = parts ? parts + p * 2 * n : nullptr;
    if (parts) std::fill(dweight, dweight + 2 * n, A(0));
    for (int64_t r = first; r < last;) {
      const int64_t end = std::min(last, r + kBundle), count = end - r;
      for (int64_t i = r; i < end; ++i) row(i);
      if (parts && count == kBundle) {
        columns<kBundle>(r, dweight, dweight + n);
      } else if (parts) {
        for (int64_t i = r; i < end; ++i) columns<1>(i, dweight, dweight + n);
      }
      r = end;
    }
  }
};

void backward(const Tensor& dy, const Tensor& x, const Tensor& weight, const Tensor& mean, const Tensor& rstd,
              const Tensor& add, Tensor& dx, Tensor& parts) {
  dispatch_floating(x.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    const Backward<T> f{.dy = dy.data<T>(),
                        .x = x.data<T>(),
                        .weight = read_optional<T>(weight),
                        .mean = mean.data<A>(),
                        .rstd = rstd.data<A>(),
                        .add = read_optional<T>(add),
                        .dx = dx.mutable_data<T>(),
                        .parts = write_optional<A>(parts),
                        .n = x.size(-1)};
    const int64_t rows = row_count(x);
    const RowGroups groups(rows);
    parallel_for(groups.count, 1, [=](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) f.group(p, p * groups.size, std::min(rows, (p + 1) * groups.size));
    });
  });
}

void sum_parts(const Tensor& parts, Tensor& dweight, Tensor& dbias) {
  const Dtype dtype = dweight.defined() ? dweight.dtype() : dbias.dtype();
  dispatch_floating(dtype, [&]<class T>() {
    using A = accumulate_t<T>;
    const int64_t groups = parts.size(0), n = parts.size(2);
    const A* from = parts.data<A>();
    T* to[] = {write_optional<T>(dweight), write_optional<T>(dbias)};
    constexpr int64_t kColumns = 64;
    for (int half = 0; half < 2; ++half) {
      if (!to[half]) continue;
      parallel_for((n + kColumns - 1) / kColumns, 4, [=, y = to[half]](int64_t begin, int64_t end) {
        for (int64_t c = begin * kColumns; c < std::min(n, end * kColumns); c += kColumns) {
          const int64_t width = std::min(kColumns, n - c);
          A sums[kColumns] = {};
          for (int64_t p = 0; p < groups; ++p)
            for (int64_t i = 0; i < width; ++i) sums[i] += from[(2 * p + half) * n + c + i];
          for (int64_t i = 0; i < width; ++i) y[c + i] = T(sums[i]);
        }
      });
    }
  });
}

const Bind bind_forward(layer_norm_forward, DeviceType::cpu, forward);
const Bind bind_add_forward(add_layer_norm_forward, DeviceType::cpu, run_forward);
const Bind bind_backward(layer_norm_backward, DeviceType::cpu, backward);
const Bind bind_sum_parts(layer_norm_sum_parts, DeviceType::cpu, sum_parts);

}  // namespace
}  // namespace vitrine::ops
