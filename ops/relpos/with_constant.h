#pragma once
#include <type_traits>

namespace vitrine::ops {

/// f(n) with n as a constant if it is one of 1, ..., kMost, else as a number: loops of n rounds are then unrolled, and
/// their masks and addresses stay in registers.
template <int kMost, class F>
void with_constant(int n, F f) {
  if constexpr (kMost == 0) {
    f(n);
  } else {
    if (n == kMost) return f(std::integral_constant<int, kMost>());
    with_constant<kMost - 1>(n, f);
  }
}

}  // namespace vitrine::ops
