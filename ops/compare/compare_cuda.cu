#include "core/cuda/elementwise.h"
#include "ops/compare/compare_kernels.h"

namespace vitrine::ops::compare {
namespace {

template <class E>
void any_dtype(const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_all(a.dtype(), [&]<class T>() { cuda::elementwise<bool, T, T>(E::name, E(), y, a, b); });
}
template <class E>
void booleans(const Tensor& a, const Tensor& b, Tensor& y) {
  cuda::elementwise<bool, bool, bool>(E::name, E(), y, a, b);
}
template <class E>
void boolean(const Tensor& x, Tensor& y) {
  cuda::elementwise<bool, bool>(E::name, E(), y, x);
}
template <class E>
void floating(const Tensor& x, Tensor& y) {
  dispatch_floating(x.dtype(), [&]<class T>() { cuda::elementwise<bool, T>(E::name, E(), y, x); });
}

const Bind bind_eq(pair_kernel<Eq>, cuda::kKernelDevice, any_dtype<Eq>);
const Bind bind_ne(pair_kernel<Ne>, cuda::kKernelDevice, any_dtype<Ne>);
const Bind bind_lt(pair_kernel<Lt>, cuda::kKernelDevice, any_dtype<Lt>);
const Bind bind_le(pair_kernel<Le>, cuda::kKernelDevice, any_dtype<Le>);
const Bind bind_gt(pair_kernel<Gt>, cuda::kKernelDevice, any_dtype<Gt>);
const Bind bind_ge(pair_kernel<Ge>, cuda::kKernelDevice, any_dtype<Ge>);
const Bind bind_and(pair_kernel<And>, cuda::kKernelDevice, booleans<And>);
const Bind bind_or(pair_kernel<Or>, cuda::kKernelDevice, booleans<Or>);
const Bind bind_not(single_kernel<Not>, cuda::kKernelDevice, boolean<Not>);
const Bind bind_isnan(single_kernel<IsNan>, cuda::kKernelDevice, floating<IsNan>);
const Bind bind_isfinite(single_kernel<IsFinite>, cuda::kKernelDevice, floating<IsFinite>);

}  // namespace
}  // namespace vitrine::ops::compare
