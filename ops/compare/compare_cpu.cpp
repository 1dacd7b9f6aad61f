#include "core/elementwise.h"
#include "ops/compare/compare_kernels.h"

namespace vitrine::ops::compare {
namespace {

template <class E>
void any_dtype(const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_all(a.dtype(), [&]<class T>() { elementwise<bool, T, T>(E(), y, a, b); });
}
template <class E>
void booleans(const Tensor& a, const Tensor& b, Tensor& y) {
  elementwise<bool, bool, bool>(E(), y, a, b);
}
template <class E>
void boolean(const Tensor& x, Tensor& y) {
  elementwise<bool, bool>(E(), y, x);
}
template <class E>
void floating(const Tensor& x, Tensor& y) {
  dispatch_floating(x.dtype(), [&]<class T>() { elementwise<bool, T>(E(), y, x); });
}

const Bind bind_eq(pair_kernel<Eq>, DeviceType::cpu, any_dtype<Eq>);
const Bind bind_ne(pair_kernel<Ne>, DeviceType::cpu, any_dtype<Ne>);
const Bind bind_lt(pair_kernel<Lt>, DeviceType::cpu, any_dtype<Lt>);
const Bind bind_le(pair_kernel<Le>, DeviceType::cpu, any_dtype<Le>);
const Bind bind_gt(pair_kernel<Gt>, DeviceType::cpu, any_dtype<Gt>);
const Bind bind_ge(pair_kernel<Ge>, DeviceType::cpu, any_dtype<Ge>);
const Bind bind_and(pair_kernel<And>, DeviceType::cpu, booleans<And>);
const Bind bind_or(pair_kernel<Or>, DeviceType::cpu, booleans<Or>);
const Bind bind_not(single_kernel<Not>, DeviceType::cpu, boolean<Not>);
const Bind bind_isnan(single_kernel<IsNan>, DeviceType::cpu, floating<IsNan>);
const Bind bind_isfinite(single_kernel<IsFinite>, DeviceType::cpu, floating<IsFinite>);

}  // namespace
}  // namespace vitrine::ops::compare
