#include "ops/compare/compare.h"

#include "core/autograd.h"
#include "core/elementwise.h"
#include "ops/compare/compare_kernels.h"

namespace vitrine::ops {
namespace {

template <class E>
struct Pair {
  static constexpr const char* name = E::name;

  Tensor forward(Saver&, const Tensor& a, const Tensor& b) const {
    const Shape shape = broadcast_shapes(name, a.shape(), b.shape());
    Tensor y = empty_in_layout_of(a.shape() == shape ? a : b, shape, Dtype::boolean);
    compare::pair_kernel<E>(a, b, y);
    return y;
  }
  Gradients vjp(const Saved&, const Tensor&) const { return {Tensor(), Tensor()}; }
};

template <class E>
struct Single {
  static constexpr const char* name = E::name;

  Tensor forward(Saver&, const Tensor& x) const {
    Tensor y = empty_in_layout_of(x, x.shape(), Dtype::boolean);
    compare::single_kernel<E>(x, y);
    return y;
  }
  Gradients vjp(const Saved&, const Tensor&) const { return {Tensor()}; }
};

template <class E>
Tensor pair(const Tensor& a, const Tensor& b) {
  check_defined(E::name, "a", a);
  check_defined(E::name, "b", b);
  check_same_dtype(E::name, {{"a", &a}, {"b", &b}});
  check_same_device(E::name, {{"a", &a}, {"b", &b}});
  const NoGrad no_grad;
  return apply(Pair<E>{}, a, b);
}
template <class E>
Tensor single(const Tensor& x) {
  const NoGrad no_grad;
  return apply(Single<E>{}, x);
}

void check_boolean(const char* op, const char* argument, const Tensor& x) {
  check_defined(op, argument, x);
  check<DtypeError>(x.dtype() == Dtype::boolean, "{}: {} must be bool, got {}", op, argument, x);
}

}  // namespace

Tensor eq(const Tensor& a, const Tensor& b) { return pair<compare::Eq>(a, b); }
Tensor ne(const Tensor& a, const Tensor& b) { return pair<compare::Ne>(a, b); }
Tensor lt(const Tensor& a, const Tensor& b) { return pair<compare::Lt>(a, b); }
Tensor le(const Tensor& a, const Tensor& b) { return pair<compare::Le>(a, b); }
Tensor gt(const Tensor& a, const Tensor& b) { return pair<compare::Gt>(a, b); }
Tensor ge(const Tensor& a, const Tensor& b) { return pair<compare::Ge>(a, b); }

Tensor logical_and(const Tensor& a, const Tensor& b) {
  check_boolean("logical_and", "a", a);
  check_boolean("logical_and", "b", b);
  return pair<compare::And>(a, b);
}
Tensor logical_or(const Tensor& a, const Tensor& b) {
  check_boolean("logical_or", "a", a);
  check_boolean("logical_or", "b", b);
  return pair<compare::Or>(a, b);
}
Tensor logical_not(const Tensor& x) {
  check_boolean("logical_not", "x", x);
  return single<compare::Not>(x);
}
Tensor isnan(const Tensor& x) {
  check_floating("isnan", "x", x);
  return single<compare::IsNan>(x);
}
Tensor isfinite(const Tensor& x) {
  check_floating("isfinite", "x", x);
  return single<compare::IsFinite>(x);
}

}  // namespace vitrine::ops
