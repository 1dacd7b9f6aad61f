#pragma once
#include <algorithm>
#include <cstdint>

#include "core/float16.h"

/// Folds of a strided tensor over some of its dims: what sum_to and ops/reduce compute. The loops are in fold_cpu.h and
/// fold_cuda.h. A fold is a value with
///
///   State start() const                        the neutral element
///   State term(A x, A p, int64_t r) const      what the element x at position r of the reduced dims (row-major) adds;
///                                              p is a parameter of the output (its mean, its maximum), 0 if there is
///                                              none
///   static State combine(State a, State b)     associative up to rounding, commutative
///   auto finish(State s, A p) const            the output
namespace vitrine::kernels {

/// factor * sum of x.
template <class A>
struct SumFold {
  A factor = 1;
  VITRINE_HD A start() const { return 0; }
  VITRINE_HD A term(A x, A, int64_t) const { return x; }
  VITRINE_HD static A combine(A a, A b) { return a + b; }
  VITRINE_HD A finish(A s, A) const { return s * factor; }
};

/// A cut of n reduced points into segments that are folded on their own and then combined in order: the way to use a
/// whole machine for few outputs. A function of the shape alone, so results do not depend on the machine.
struct Segments {
  int64_t count = 1, length = 0;
};
/// At most `most` segments of at least `least` points.
inline Segments cut_segments(int64_t n, int64_t least, int64_t most) {
  const int64_t length = std::max(least, (n + most - 1) / most);
  return {std::max<int64_t>(1, (n + length - 1) / length), length};
}

}  // namespace vitrine::kernels
