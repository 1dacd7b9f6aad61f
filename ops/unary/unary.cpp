#include "ops/unary/unary.h"

#include "core/autograd.h"
#include "core/elementwise.h"
#include "ops/unary/unary_kernels.h"

namespace vitrine::ops {
namespace {

template <class E>
struct Unary {
  static constexpr const char* name = E::name;
  E entry;
  Attributes attributes() const { return detail::attributes_of(entry); }

  Tensor forward(Saver& save, const Tensor& x) const {
    Tensor y = empty_in_layout_of(x, x.shape(), x.dtype());
    unary::forward_kernel<E>(x, y, entry);
    if constexpr (E::slope == unary::Slope::of_input) save(x);
    if constexpr (E::slope == unary::Slope::of_output) save(y);
    return y;
  }
  // dx = dy * df
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    if constexpr (E::slope == unary::Slope::zero) {
      return {Tensor()};
    } else if constexpr (E::slope == unary::Slope::one) {
      return {dy};
    } else {
      Tensor dx = empty_in_layout_of(dy, dy.shape(), dy.dtype());
      unary::backward_kernel<E>(saved.size() ? saved[0] : dy, dy, dx, entry);
      return {dx};
    }
  }
};

template <class E>
Tensor run(E entry, const Tensor& x) {
  check_floating(E::name, "x", x);
  return apply(Unary<E>{entry}, x);
}

}  // namespace

Tensor neg(const Tensor& x) { return run(unary::Neg{}, x); }
Tensor abs(const Tensor& x) { return run(unary::Abs{}, x); }
Tensor exp(const Tensor& x) { return run(unary::Exp{}, x); }
Tensor log(const Tensor& x) { return run(unary::Log{}, x); }
Tensor log1p(const Tensor& x) { return run(unary::Log1p{}, x); }
Tensor sqrt(const Tensor& x) { return run(unary::Sqrt{}, x); }
Tensor rsqrt(const Tensor& x) { return run(unary::Rsqrt{}, x); }
Tensor reciprocal(const Tensor& x) { return run(unary::Reciprocal{}, x); }
Tensor square(const Tensor& x) { return run(unary::Square{}, x); }
Tensor sin(const Tensor& x) { return run(unary::Sin{}, x); }
Tensor cos(const Tensor& x) { return run(unary::Cos{}, x); }
Tensor tanh(const Tensor& x) { return run(unary::Tanh{}, x); }
Tensor sigmoid(const Tensor& x) { return run(unary::Sigmoid{}, x); }
Tensor erf(const Tensor& x) { return run(unary::Erf{}, x); }
Tensor relu(const Tensor& x) { return run(unary::Relu{}, x); }
Tensor gelu(const Tensor& x) { return run(unary::Gelu{}, x); }
Tensor gelu_tanh(const Tensor& x) { return run(unary::GeluTanh{}, x); }
Tensor silu(const Tensor& x) { return run(unary::Silu{}, x); }
Tensor softplus(const Tensor& x) { return run(unary::Softplus{}, x); }
Tensor sign(const Tensor& x) { return run(unary::Sign{}, x); }
Tensor floor(const Tensor& x) { return run(unary::Floor{}, x); }
Tensor ceil(const Tensor& x) { return run(unary::Ceil{}, x); }
Tensor round(const Tensor& x) { return run(unary::Round{}, x); }

Tensor clamp(const Tensor& x, double low, double high) {
  check<ValueError>(low <= high, "clamp: low {} is not at most high {}", low, high);
  return run(unary::Clamp{low, high}, x);
}
Tensor pow(const Tensor& x, double exponent) { return run(unary::PowScalar{exponent}, x); }

Tensor add(const Tensor& x, double number) { return run(unary::AddScalar{number}, x); }
Tensor add(double number, const Tensor& x) { return run(unary::AddScalar{number}, x); }
Tensor sub(const Tensor& x, double number) { return run(unary::AddScalar{-number}, x); }
Tensor sub(double number, const Tensor& x) { return run(unary::SubtractFrom{number}, x); }
Tensor mul(const Tensor& x, double number) { return run(unary::MulScalar{number}, x); }
Tensor mul(double number, const Tensor& x) { return run(unary::MulScalar{number}, x); }
Tensor div(const Tensor& x, double number) { return run(unary::DivScalar{number}, x); }
Tensor div(double number, const Tensor& x) { return run(unary::DivideInto{number}, x); }

}  // namespace vitrine::ops
