#include <algorithm>

#include "core/parallel.h"
#include "ops/interpolate/interpolate_kernels.h"

namespace vitrine::ops {
namespace {

template <class A>
struct Table {
  const int32_t *starts, *offsets;
  const A* weights;
  explicit Table(const AxisTable& t)
      : starts(t.starts.data<int32_t>()), offsets(t.offsets.data<int32_t>()), weights(t.weights.data<A>()) {}
};

/// One line of scalars.
template <class From, class To, class A>
void line(const Table<A>& table, const From* x, To* y, int64_t n_out) {
  for (int64_t o = 0; o < n_out; ++o) {
    const A* w = table.weights + table.offsets[o];
    const From* from = x + table.starts[o];
    const int32_t count = table.offsets[o + 1] - table.offsets[o];
    A sum = 0;
    for (int32_t k = 0; k < count; ++k) sum += w[k] * A(from[k]);
    y[o] = To(sum);
  }
}
/// One plane: sums of rows of `inner` elements, taken up to 64 columns at a time.
template <class From, class To, class A>
void plane(const Table<A>& table, const From* x, To* y, int64_t n_out, int64_t inner) {
  constexpr int64_t kColumns = 64;
  for (int64_t o = 0; o < n_out; ++o) {
    const int64_t first = table.offsets[o], count = table.offsets[o + 1] - first;
    for (int64_t c = 0; c < inner; c += kColumns) {
      const int64_t width = std::min(kColumns, inner - c);
      A sums[kColumns] = {};
      for (int64_t k = 0; k < count; ++k) {
        const From* from = x + (table.starts[o] + k) * inner + c;
        const A w = table.weights[first + k];
        for (int64_t i = 0; i < width; ++i) sums[i] += w * A(from[i]);
      }
      for (int64_t i = 0; i < width; ++i) y[o * inner + c + i] = To(sums[i]);
    }
  }
}

void resample(const Tensor& x, const AxisTable& axis, Tensor& y) {
  dispatch_pair(x, y, [&]<class From, class To>() {
    using A = accumulate_t<From>;
    const Table<A> table(axis);
    const int64_t n_in = x.size(1), n_out = y.size(1), inner = y.size(2);
    const From* from = x.data<From>();
    To* to = y.mutable_data<To>();
    parallel_for(y.size(0), std::max<int64_t>(1, 8192 / (n_out * inner)), [=](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        if (inner == 1) {
          line(table, from + p * n_in, to + p * n_out, n_out);
        } else {
          plane(table, from + p * n_in * inner, to + p * n_out * inner, n_out, inner);
        }
      }
    });
  });
}

const Bind bind(resample_axis, DeviceType::cpu, resample);

}  // namespace
}  // namespace vitrine::ops
