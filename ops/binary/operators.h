#pragma once
#include "ops/binary/binary.h"
#include "ops/unary/unary.h"

/// Operators on tensors, found by argument-dependent lookup: a + b is ops::add(a, b), and so on; either side may be a
/// number.
namespace vitrine {

/// ops::add, ops::sub, ops::mul and ops::div.
inline Tensor operator+(const Tensor& a, const Tensor& b) { return ops::add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return ops::sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return ops::mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return ops::div(a, b); }
inline Tensor operator+(const Tensor& x, double number) { return ops::add(x, number); }
inline Tensor operator-(const Tensor& x, double number) { return ops::sub(x, number); }
inline Tensor operator*(const Tensor& x, double number) { return ops::mul(x, number); }
inline Tensor operator/(const Tensor& x, double number) { return ops::div(x, number); }
inline Tensor operator+(double number, const Tensor& x) { return ops::add(number, x); }
inline Tensor operator-(double number, const Tensor& x) { return ops::sub(number, x); }
inline Tensor operator*(double number, const Tensor& x) { return ops::mul(number, x); }
inline Tensor operator/(double number, const Tensor& x) { return ops::div(number, x); }
inline Tensor operator-(const Tensor& x) { return ops::neg(x); }

}  // namespace vitrine
