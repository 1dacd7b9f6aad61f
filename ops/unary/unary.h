#pragma once
#include "core/tensor.h"

/// Functions of one tensor, element by element. Common to all of them:
///
/// - x has any shape and strides and a floating dtype; the result has the same. A dense x in a permuted layout
/// (channels
///   last) gives a result in that layout, any other x a contiguous one. Arithmetic is in accumulate_t.
/// - Elements outside a function's domain give NaN, and NaN gives NaN. No elements give no elements.
/// - @throws DtypeError if x is not floating, ValueError if it is undefined
namespace vitrine::ops {

/// y = -x
Tensor neg(const Tensor& x);
/// y = |x|; its gradient at 0 is 0.
Tensor abs(const Tensor& x);
/// y = e^x
Tensor exp(const Tensor& x);
/// y = ln x
Tensor log(const Tensor& x);
/// y = ln(1 + x), accurate near 0.
Tensor log1p(const Tensor& x);
/// y = x^(1/2)
Tensor sqrt(const Tensor& x);
/// y = x^(-1/2)
Tensor rsqrt(const Tensor& x);
/// y = 1 / x
Tensor reciprocal(const Tensor& x);
/// y = x^2
Tensor square(const Tensor& x);
/// y = sin x, x in radians.
Tensor sin(const Tensor& x);
/// y = cos x, x in radians.
Tensor cos(const Tensor& x);
/// y = tanh x
Tensor tanh(const Tensor& x);
/// y = 1 / (1 + e^-x)
Tensor sigmoid(const Tensor& x);
/// y = 2 / sqrt(pi) * integral of e^(-t^2) over [0, x]
Tensor erf(const Tensor& x);
/// y = max(x, 0); its gradient at 0 is 0.
Tensor relu(const Tensor& x);
/// y = x / 2 * (1 + erf(x / sqrt 2)) (Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016), NaN at -inf.
Tensor gelu(const Tensor& x);
/// y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), the approximation of gelu in the same paper, NaN at -inf.
Tensor gelu_tanh(const Tensor& x);
/// y = x / (1 + e^-x), NaN at -inf.
Tensor silu(const Tensor& x);
/// y = ln(1 + e^x), without overflow.
Tensor softplus(const Tensor& x);

/// y = -1, 0 or 1. The gradient is zero, also at 0 where there is none.
Tensor sign(const Tensor& x);
/// The largest integer not above x. The gradient is zero, also at integers where there is none.
Tensor floor(const Tensor& x);
/// The smallest integer not below x. The gradient is zero, also at integers where there is none.
Tensor ceil(const Tensor& x);
/// The nearest integer, halves to the even one. The gradient is zero, also at halves where there is none.
Tensor round(const Tensor& x);

/// y = low where x < low, high where x > high, else x; the gradient passes where low <= x <= high.
///
/// @throws ValueError unless low <= high
Tensor clamp(const Tensor& x, double low, double high);
/// y = x^exponent; 0^0 is 1.
Tensor pow(const Tensor& x, double exponent);

/// y = x + number. These eight take a number where ops/binary takes a tensor, and make no tensor of it: it is converted
/// to accumulate_t, and shows as the attribute `number`.
Tensor add(const Tensor& x, double number);
Tensor add(double number, const Tensor& x);  ///< y = number + x
Tensor sub(const Tensor& x, double number);  ///< y = x - number; recorded as add_scalar of -number
Tensor sub(double number, const Tensor& x);  ///< y = number - x; recorded as subtract_from
Tensor mul(const Tensor& x, double number);  ///< y = x * number
Tensor mul(double number, const Tensor& x);  ///< y = number * x
Tensor div(const Tensor& x, double number);  ///< y = x / number
Tensor div(double number, const Tensor& x);  ///< y = number / x; recorded as divide_into

}  // namespace vitrine::ops
