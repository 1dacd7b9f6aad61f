#include "core/kernels/kernels.h"
#include "core/strided.h"

namespace vitrine::kernels {
namespace {

void fill_cpu(Tensor& y, double value) {
  const auto plan = make_plan<1>(y.shape(), {y.strides()});
  dispatch_all(y.dtype(), [&]<class T>() {
    T* out = y.mutable_data<T>();
    const T v = convert<T>(value);
    for_each_row(plan, [&](const int64_t(&at)[1], int64_t n) {
      const int64_t step = plan.dims ? plan.strides[0][plan.dims - 1] : 1;
      for (int64_t i = 0; i < n; ++i) out[at[0] + i * step] = v;
    });
  });
}

void copy_cpu(const Tensor& x, Tensor& y) {
  const auto plan = make_plan<2>(y.shape(), {y.strides(), x.strides()});
  const int64_t dy = plan.dims ? plan.strides[0][plan.dims - 1] : 1,
                dx = plan.dims ? plan.strides[1][plan.dims - 1] : 1;
  dispatch_all(y.dtype(), [&]<class To>() {
    To* to = y.mutable_data<To>();
    dispatch_all(x.dtype(), [&]<class From>() {
      const From* from = x.data<From>();
      for_each_row(plan, [&](const int64_t(&at)[2], int64_t n) {
        To* a = to + at[0];
        const From* b = from + at[1];
        if (dy == 1 && dx == 1) {
          for (int64_t i = 0; i < n; ++i) a[i] = convert<To>(b[i]);
        } else {
          for (int64_t i = 0; i < n; ++i) a[i * dy] = convert<To>(b[i * dx]);
        }
      });
    });
  });
}

void accumulate_cpu(const Tensor& x, Tensor& y) {
  const auto plan = make_plan<2>(y.shape(), {y.strides(), x.strides()});
  const int64_t dy = plan.dims ? plan.strides[0][plan.dims - 1] : 1,
                dx = plan.dims ? plan.strides[1][plan.dims - 1] : 1;
  dispatch_floating(y.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    T* to = y.mutable_data<T>();
    const T* from = x.data<T>();
    for_each_row(plan, [&](const int64_t(&at)[2], int64_t n) {
      T* a = to + at[0];
      const T* b = from + at[1];
      if (dy == 1 && dx == 1) {
        for (int64_t i = 0; i < n; ++i) a[i] = T(A(a[i]) + A(b[i]));
      } else {
        for (int64_t i = 0; i < n; ++i) a[i * dy] = T(A(a[i * dy]) + A(b[i * dx]));
      }
    });
  });
}

void scale_cpu(Tensor& y, double factor) {
  const auto plan = make_plan<1>(y.shape(), {y.strides()});
  const int64_t step = plan.dims ? plan.strides[0][plan.dims - 1] : 1;
  dispatch_floating(y.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    T* out = y.mutable_data<T>();
    for_each_row(plan, [&](const int64_t(&at)[1], int64_t n) {
      for (int64_t i = 0; i < n; ++i) out[at[0] + i * step] = T(A(out[at[0] + i * step]) * A(factor));
    });
  });
}

/// One output. Interleaved partial sums along a run let the compiler vectorize without reordering anything across runs.
template <class A, class T>
A sum_points(const T* x, const StridedPlan<1>& reduced) {
  constexpr int kLanes = 16;
  const int inner = reduced.dims - 1;
  const int64_t n = reduced.dims ? reduced.sizes[inner] : 1, step = reduced.dims ? reduced.strides[0][inner] : 1;
  A total = 0;
  for (int64_t first = 0; first < reduced.numel; first += n) {
    int64_t at[1];
    reduced.offsets(first, at);
    const T* run = x + at[0];
    A lanes[kLanes] = {};
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
      for (int l = 0; l < kLanes; ++l) lanes[l] += A(run[(i + l) * step]);
    for (; i < n; ++i) lanes[i % kLanes] += A(run[i * step]);
    for (int l = 0; l < kLanes; ++l) total += lanes[l];
  }
  return total;
}

/// A run of neighbouring outputs at once: each reduced point adds a contiguous row to the accumulators.
template <class A, class T>
void sum_columns(const T* x, T* y, int64_t columns, int64_t y_step, const StridedPlan<1>& reduced) {
  constexpr int64_t kColumns = 512;
  for (int64_t c = 0; c < columns; c += kColumns) {
    const int64_t n = std::min(kColumns, columns - c);
    A sums[kColumns] = {};
    for (int64_t r = 0; r < reduced.numel; ++r) {
      int64_t at[1];
      reduced.offsets(r, at);
      const T* row = x + c + at[0];
      for (int64_t i = 0; i < n; ++i) sums[i] += A(row[i]);
    }
    for (int64_t i = 0; i < n; ++i) y[(c + i) * y_step] = T(sums[i]);
  }
}

void sum_to_cpu(const Tensor& x, Tensor& y) {
  const auto [kept, reduced] = make_reduction(x, y);
  const int inner = kept.dims - 1;
  const bool columns =
      kept.dims && kept.strides[1][inner] == 1 && !(reduced.dims && reduced.strides[0][reduced.dims - 1] == 1);
  dispatch_floating(x.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>();
    if (columns) {
      const int64_t n = kept.sizes[inner], y_step = kept.strides[0][inner];
      constexpr int64_t kChunk = 64;  // columns per task: enough tasks for every thread at a typical width
      const int64_t chunks = (n + kChunk - 1) / kChunk, tasks = kept.numel / std::max<int64_t>(n, 1) * chunks;
      parallel_for(tasks, std::max<int64_t>(1, 16384 / (kChunk * std::max<int64_t>(reduced.numel, 1))),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t t = begin; t < end; ++t) {
                       const int64_t c = t % chunks * kChunk;
                       int64_t at[2];
                       kept.offsets(t / chunks * n, at);
                       sum_columns<A>(from + at[1] + c, to + at[0] + c * y_step, std::min(kChunk, n - c), y_step,
                                      reduced);
                     }
                   });
    } else {
      parallel_for(kept.numel, std::max<int64_t>(1, 16384 / std::max<int64_t>(reduced.numel, 1)),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) {
                       int64_t at[2];
                       kept.offsets(i, at);
                       to[at[0]] = T(sum_points<A>(from + at[1], reduced));
                     }
                   });
    }
  });
}

const Bind bind_fill(fill, DeviceType::cpu, fill_cpu);
const Bind bind_copy(copy, DeviceType::cpu, copy_cpu);
const Bind bind_accumulate(accumulate, DeviceType::cpu, accumulate_cpu);
const Bind bind_scale(scale, DeviceType::cpu, scale_cpu);
const Bind bind_sum_to(sum_to, DeviceType::cpu, sum_to_cpu);

}  // namespace
}  // namespace vitrine::kernels
