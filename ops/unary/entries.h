#pragma once
#include <cstdint>

#include "core/attributes.h"
#include "core/float16.h"

/// The entries of the family: each is its formula f, its derivative df and the domain that its samples are drawn from.
/// CPU and CUDA loops and the samples are made from the lists at the end. `M` gives the elementary functions of the
/// device; values arrive in accumulate_t.
namespace vitrine::ops::unary {

/// What df reads: nothing (the derivative is 0, 1 or another constant), x, or y where that is cheaper.
enum class Slope { zero, one, constant, of_input, of_output };

/// Where samples are drawn: [low, high], away from points where f or f' jumps.
struct Domain {
  double low = -3, high = 3;
  int kink_count = 0;
  double kinks[4] = {};
};

struct Neg {
  static constexpr const char* name = "neg";
  static constexpr Slope slope = Slope::constant;
  static constexpr Domain domain{};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return -x;
  }
  template <class M, class A>
  VITRINE_HD A df(A) const {
    return A(-1);
  }
};

struct Abs {
  static constexpr const char* name = "abs";
  static constexpr Slope slope = Slope::of_input;
  static constexpr Domain domain{-3, 3, 1, {0}};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return M::abs(x);
  }
  template <class M, class A>
  VITRINE_HD A df(A x) const {
    return x > 0 ? A(1) : x < 0 ? A(-1) : A(0);
  }
};

struct Exp {
  static constexpr const char* name = "exp";
  static constexpr Slope slope = Slope::of_output;
  static constexpr Domain domain{};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return M::exp(x);
  }
  template <class M, class A>
  VITRINE_HD A df(A y) const {
    return y;
  }
};

struct Log {
  static constexpr const char* name = "log";
  static constexpr Slope slope = Slope::of_input;
  static constexpr Domain domain{0.1, 4};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return M::log(x);
  }
  template <class M, class A>
  VITRINE_HD A df(A x) const {
    return 1 / x;
  }
};

struct Log1p {
  static constexpr const char* name = "log1p";
  static constexpr Slope slope = Slope::of_input;
  static constexpr Domain domain{-0.9, 3};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return M::log1p(x);
  }
  template <class M, class A>
  VITRINE_HD A df(A x) const {
    return 1 / (1 + x);
  }
};

struct Sqrt {
  static constexpr const char* name = "sqrt";
  static constexpr Slope slope = Slope::of_output;
  static constexpr Domain domain{0.1, 4};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return M::sqrt(x);
  }
  template <class M, class A>
  VITRINE_HD A df(A y) const {
    return A(0.5) / y;
  }
};

struct Rsqrt {
  static constexpr const char* name = "rsqrt";
  static constexpr Slope slope = Slope::of_output;
  static constexpr Domain domain{0.3, 4};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return 1 / M::sqrt(x);
  }
  template <class M, class A>
  VITRINE_HD A df(A y) const {
    return A(-0.5) * y * y * y;
  }
};

struct Reciprocal {
  static constexpr const char* name = "reciprocal";
  static constexpr Slope slope = Slope::of_output;
  static constexpr Domain domain{0.3, 4};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return 1 / x;
  }
  template <class M, class A>
  VITRINE_HD A df(A y) const {
    return -y * y;
  }
};

struct Square {
  static constexpr const char* name = "square";
  static constexpr Slope slope = Slope::of_input;
  static constexpr Domain domain{};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return x * x;
  }
  template <class M, class A>
  VITRINE_HD A df(A x) const {
    return 2 * x;
  }
};

struct Sin {
  static constexpr const char* name = "sin";
  static constexpr Slope slope = Slope::of_input;
  static constexpr Domain domain{-6, 6};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return M::sin(x);
  }
  template <class M, class A>
  VITRINE_HD A df(A x) const {
    return M::cos(x);
  }
};

struct Cos {
  static constexpr const char* name = "cos";
  static constexpr Slope slope = Slope::of_input;
  static constexpr Domain domain{-6, 6};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return M::cos(x);
  }
  template <class M, class A>
  VITRINE_HD A df(A x) const {
    return -M::sin(x);
  }
};

struct Tanh {
  static constexpr const char* name = "tanh";
  static constexpr Slope slope = Slope::of_output;
  static constexpr Domain domain{};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return M::tanh(x);
  }
  template <class M, class A>
  VITRINE_HD A df(A y) const {
    return 1 - y * y;
  }
};

struct Sigmoid {
  static constexpr const char* name = "sigmoid";
  static constexpr Slope slope = Slope::of_output;
  static constexpr Domain domain{};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return M::sigmoid(x);
  }
  template <class M, class A>
  VITRINE_HD A df(A y) const {
    return y * (1 - y);
  }
};

struct Erf {
  static constexpr const char* name = "erf";
  static constexpr Slope slope = Slope::of_input;
  static constexpr Domain domain{};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return M::erf(x);
  }
  template <class M, class A>
  VITRINE_HD A df(A x) const {
    return A(1.1283791670955126) * M::exp(-x * x);  // 2 / sqrt(pi)
  }
};

struct Relu {
  static constexpr const char* name = "relu";
  static constexpr Slope slope = Slope::of_output;
  static constexpr Domain domain{-3, 3, 1, {0}};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return x < 0 ? A(0) : x;
  }
  template <class M, class A>
  VITRINE_HD A df(A y) const {
    return y > 0 ? A(1) : A(0);
  }
};

/// A Math may have the whole function and its slope, cheaper than their parts.
struct Gelu {
  static constexpr const char* name = "gelu";
  static constexpr Slope slope = Slope::of_input;
  static constexpr Domain domain{};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    if constexpr (requires { M::gelu(x); }) {
      return M::gelu(x);
    } else {
      return A(0.5) * x * (1 + M::erf(x * A(0.70710678118654752)));  // 1 / sqrt(2)
    }
  }
  /// Phi(x) + x phi(x), of the normal distribution.
  template <class M, class A>
  VITRINE_HD A df(A x) const {
    if constexpr (requires { M::gelu_slope(x); }) {
      return M::gelu_slope(x);
    } else {
      const A cumulative = A(0.5) * (1 + M::erf(x * A(0.70710678118654752)));
      return cumulative + x * A(0.39894228040143268) * M::exp(A(-0.5) * x * x);  // 1 / sqrt(2 pi)
    }
  }
};

struct GeluTanh {
  static constexpr const char* name = "gelu_tanh";
  static constexpr Slope slope = Slope::of_input;
  static constexpr Domain domain{};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return A(0.5) * x * (1 + M::tanh(A(0.79788456080286536) * x * (1 + A(0.044715) * x * x)));  // sqrt(2 / pi)
  }
  template <class M, class A>
  VITRINE_HD A df(A x) const {
    const A square = x * x, t = M::tanh(A(0.79788456080286536) * x * (1 + A(0.044715) * square));
    const A inner = A(0.79788456080286536) * (1 + A(3 * 0.044715) * square);
    return A(0.5) * (1 + t) + A(0.5) * x * (1 - t * t) * inner;
  }
};

struct Silu {
  static constexpr const char* name = "silu";
  static constexpr Slope slope = Slope::of_input;
  static constexpr Domain domain{};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return x * M::sigmoid(x);
  }
  template <class M, class A>
  VITRINE_HD A df(A x) const {
    const A s = M::sigmoid(x);
    return s * (1 + x * (1 - s));
  }
};

struct Softplus {
  static constexpr const char* name = "softplus";
  static constexpr Slope slope = Slope::of_input;
  static constexpr Domain domain{};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return (x < 0 ? A(0) : x) + M::log1p(M::exp(-M::abs(x)));  // exp never overflows
  }
  template <class M, class A>
  VITRINE_HD A df(A x) const {
    return M::sigmoid(x);
  }
};

struct Sign {
  static constexpr const char* name = "sign";
  static constexpr Slope slope = Slope::zero;
  static constexpr Domain domain{-3, 3, 1, {0}};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return x > 0 ? A(1) : x < 0 ? A(-1) : x;
  }
};

struct Floor {
  static constexpr const char* name = "floor";
  static constexpr Slope slope = Slope::zero;
  static constexpr Domain domain{-1.9, 1.9, 3, {-1, 0, 1}};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return M::floor(x);
  }
};

struct Ceil {
  static constexpr const char* name = "ceil";
  static constexpr Slope slope = Slope::zero;
  static constexpr Domain domain{-1.9, 1.9, 3, {-1, 0, 1}};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return M::ceil(x);
  }
};

struct Round {
  static constexpr const char* name = "round";
  static constexpr Slope slope = Slope::zero;
  static constexpr Domain domain{-2.4, 2.4, 4, {-1.5, -0.5, 0.5, 1.5}};
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return M::round_even(x);
  }
};

// Entries with attributes; a number is converted to accumulate_t before it is used.

struct Clamp {
  static constexpr const char* name = "clamp";
  static constexpr Slope slope = Slope::of_input;
  double low, high;
  Attributes attributes() const { return {{"low", low}, {"high", high}}; }
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return x < A(low) ? A(low) : x > A(high) ? A(high) : x;
  }
  template <class M, class A>
  VITRINE_HD A df(A x) const {
    return x >= A(low) && x <= A(high) ? A(1) : A(0);
  }
};

struct PowScalar {
  static constexpr const char* name = "pow_scalar";
  static constexpr Slope slope = Slope::of_input;
  double exponent;
  Attributes attributes() const { return {{"exponent", exponent}}; }
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return M::pow(x, A(exponent));
  }
  template <class M, class A>
  VITRINE_HD A df(A x) const {
    return exponent == 0 ? A(0) : A(exponent) * M::pow(x, A(exponent - 1));
  }
};

struct AddScalar {
  static constexpr const char* name = "add_scalar";
  static constexpr Slope slope = Slope::one;
  double number;
  Attributes attributes() const { return {{"number", number}}; }
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return x + A(number);
  }
};

struct SubtractFrom {
  static constexpr const char* name = "subtract_from";
  static constexpr Slope slope = Slope::constant;
  double number;
  Attributes attributes() const { return {{"number", number}}; }
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return A(number) - x;
  }
  template <class M, class A>
  VITRINE_HD A df(A) const {
    return A(-1);
  }
};

struct MulScalar {
  static constexpr const char* name = "mul_scalar";
  static constexpr Slope slope = Slope::constant;
  double number;
  Attributes attributes() const { return {{"number", number}}; }
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return x * A(number);
  }
  template <class M, class A>
  VITRINE_HD A df(A) const {
    return A(number);
  }
};

struct DivScalar {
  static constexpr const char* name = "div_scalar";
  static constexpr Slope slope = Slope::constant;
  double number;
  Attributes attributes() const { return {{"number", number}}; }
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return x / A(number);
  }
  template <class M, class A>
  VITRINE_HD A df(A) const {
    return 1 / A(number);
  }
};

struct DivideInto {
  static constexpr const char* name = "divide_into";
  static constexpr Slope slope = Slope::of_input;
  double number;
  Attributes attributes() const { return {{"number", number}}; }
  template <class M, class A>
  VITRINE_HD A f(A x) const {
    return A(number) / x;
  }
  template <class M, class A>
  VITRINE_HD A df(A x) const {
    return -A(number) / (x * x);
  }
};

template <class... E>
struct List {};
/// Without attributes: their samples are generated.
using PlainEntries = List<Neg, Abs, Exp, Log, Log1p, Sqrt, Rsqrt, Reciprocal, Square, Sin, Cos, Tanh, Sigmoid, Erf,
                          Relu, Gelu, GeluTanh, Silu, Softplus, Sign, Floor, Ceil, Round>;
using EntriesWithAttributes = List<Clamp, PowScalar, AddScalar, SubtractFrom, MulScalar, DivScalar, DivideInto>;

}  // namespace vitrine::ops::unary
