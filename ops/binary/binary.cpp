#include "ops/binary/binary.h"

#include "core/autograd.h"
#include "core/elementwise.h"
#include "core/kernels/kernels.h"
#include "ops/binary/binary_kernels.h"

namespace vitrine::ops {
namespace {

/// The forward pass that all of them share.
template <class E>
Tensor pointwise(const Tensor& a, const Tensor& b) {
  const Shape shape = a.shape() == b.shape() ? a.shape() : broadcast_shapes(E::name, a.shape(), b.shape());
  Tensor y = empty_in_layout_of(a.shape() == shape ? a : b, shape, a.dtype());
  binary::kernel<E>(a, b, y);
  return y;
}
/// f(dy, a, b) at dy's shape.
template <class E>
Tensor gradient(const Tensor& dy, const Tensor& a, const Tensor& b) {
  Tensor d = empty_in_layout_of(dy, dy.shape(), dy.dtype());
  binary::gradient_kernel<E>(dy, a, b, d);
  return d;
}

/// The gradients of a and b, each found by a function if somebody wants it and summed to its argument's shape.
template <class GradientA, class GradientB>
Gradients gradients(const Saved& saved, GradientA da, GradientB db) {
  Gradients result(2);
  if (saved.needs(0)) result[0] = sum_to(da(), saved.input_shape(0));
  if (saved.needs(1)) result[1] = sum_to(db(), saved.input_shape(1));
  return result;
}

struct Add {
  static constexpr const char* name = "add";
  Tensor forward(Saver&, const Tensor& a, const Tensor& b) const { return pointwise<binary::Add>(a, b); }
  // da = db = dy
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    const auto same = [&] { return dy; };
    return gradients(saved, same, same);
  }
};

struct Sub {
  static constexpr const char* name = "sub";
  Tensor forward(Saver&, const Tensor& a, const Tensor& b) const { return pointwise<binary::Sub>(a, b); }
  // da = dy, db = -dy
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    return gradients(
        saved, [&] { return dy; }, [&] { return neg(sum_to(dy, saved.input_shape(1))); });
  }
};

struct Mul {
  static constexpr const char* name = "mul";
  Tensor forward(Saver& save, const Tensor& a, const Tensor& b) const {
    save(b.requires_grad() ? a : Tensor(), a.requires_grad() ? b : Tensor());
    return pointwise<binary::Mul>(a, b);
  }
  // da = dy b, db = dy a
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    return gradients(
        saved, [&] { return pointwise<binary::Mul>(dy, saved[1]); },
        [&] { return pointwise<binary::Mul>(dy, saved[0]); });
  }
};

struct Div {
  static constexpr const char* name = "div";
  Tensor forward(Saver& save, const Tensor& a, const Tensor& b) const {
    save(b.requires_grad() ? a : Tensor(), b);
    return pointwise<binary::Div>(a, b);
  }
  // da = dy / b, db = -dy a / b^2
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    return gradients(
        saved, [&] { return pointwise<binary::Div>(dy, saved[1]); },
        [&] { return gradient<binary::DivB>(dy, saved[0], saved[1]); });
  }
};

struct Pow {
  static constexpr const char* name = "pow";
  Tensor forward(Saver& save, const Tensor& a, const Tensor& b) const {
    save(a, b);
    return pointwise<binary::Pow>(a, b);
  }
  // da = dy b a^(b-1), db = dy a^b ln a
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    return gradients(
        saved, [&] { return gradient<binary::PowA>(dy, saved[0], saved[1]); },
        [&] { return gradient<binary::PowB>(dy, saved[0], saved[1]); });
  }
};

/// Maximum and minimum.
template <class E, class EntryA>
struct Extremum {
  static constexpr const char* name = E::name;
  Tensor forward(Saver& save, const Tensor& a, const Tensor& b) const {
    save(a, b);
    return pointwise<E>(a, b);
  }
  // da = dy where a wins, dy / 2 at ties; db likewise
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    return gradients(
        saved, [&] { return gradient<EntryA>(dy, saved[0], saved[1]); },
        [&] { return gradient<EntryA>(dy, saved[1], saved[0]); });
  }
};

template <class Op>
Tensor run(const Tensor& a, const Tensor& b) {
  check_floating(Op::name, "a", a);
  check_defined(Op::name, "b", b);
  if (a.dtype() != b.dtype()) check_same_dtype(Op::name, {{"a", &a}, {"b", &b}});
  if (!(a.device() == b.device())) check_same_device(Op::name, {{"a", &a}, {"b", &b}});
  return apply(Op{}, a, b);
}

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) { return run<Add>(a, b); }
Tensor sub(const Tensor& a, const Tensor& b) { return run<Sub>(a, b); }
Tensor mul(const Tensor& a, const Tensor& b) { return run<Mul>(a, b); }
Tensor div(const Tensor& a, const Tensor& b) { return run<Div>(a, b); }
Tensor pow(const Tensor& a, const Tensor& b) { return run<Pow>(a, b); }
Tensor maximum(const Tensor& a, const Tensor& b) { return run<Extremum<binary::Maximum, binary::MaximumA>>(a, b); }
Tensor minimum(const Tensor& a, const Tensor& b) { return run<Extremum<binary::Minimum, binary::MinimumA>>(a, b); }

}  // namespace vitrine::ops
