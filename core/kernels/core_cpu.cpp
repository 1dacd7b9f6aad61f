#include <algorithm>
#include <cstring>

#include "core/kernels/fold_cpu.h"
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
      if (step == 1) {
        std::fill_n(out + at[0], n, v);
      } else {
        for (int64_t i = 0; i < n; ++i) out[at[0] + i * step] = v;
      }
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
          if constexpr (std::is_same_v<To, From> && std::is_class_v<To>) {
            std::memmove(a, b, size_t(n) * sizeof(To));  // convert would pass through f32
          } else {
            for (int64_t i = 0; i < n; ++i) a[i] = convert<To>(b[i]);
          }
        } else if (dy == 1 && dx == 0) {
          std::fill_n(a, n, convert<To>(*b));
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
      T* to = out + at[0];
      if (step == 1) {
        for (int64_t i = 0; i < n; ++i) to[i] = T(A(to[i]) * A(factor));
      } else {
        for (int64_t i = 0; i < n; ++i) to[i * step] = T(A(to[i * step]) * A(factor));
      }
    });
  });
}

void sum_to_cpu(const Tensor& x, Tensor& y) {
  const Reduction plan = make_reduction(x, y);
  dispatch_floating(x.dtype(), [&]<class T>() {
    fold_cpu(SumFold<accumulate_t<T>>{}, x.data<T>(), nullptr, y.mutable_data<T>(), plan);
  });
}

const Bind bind_fill(fill, DeviceType::cpu, fill_cpu);
const Bind bind_copy(copy, DeviceType::cpu, copy_cpu);
const Bind bind_accumulate(accumulate, DeviceType::cpu, accumulate_cpu);
const Bind bind_scale(scale, DeviceType::cpu, scale_cpu);
const Bind bind_sum_to(sum_to, DeviceType::cpu, sum_to_cpu);

}  // namespace
}  // namespace vitrine::kernels
