#pragma once
#include <array>

#include "core/kernel_slot.h"
#include "ops/unary/entries.h"

/// Private to this folder; any strides. Two slots for each entry, the second one only if its slope varies.
namespace vitrine::ops::unary {

/// "exp_backward"
template <class E>
inline constexpr auto kBackwardName = [] {
  std::array<char, 40> text{};
  size_t n = 0;
  for (const char* part : {E::name, "_backward"})
    for (; *part; ++part) text[n++] = *part;
  return text;
}();

/// y = f(x)
template <class E>
inline constinit KernelSlot<void(const Tensor& x, Tensor& y, const E& entry)> forward_kernel{E::name};
/// dx = dy * df(v), where v is x or y as E::slope says, and dy where df reads nothing.
template <class E>
inline constinit KernelSlot<void(const Tensor& v, const Tensor& dy, Tensor& dx, const E& entry)> backward_kernel{
    kBackwardName<E>.data()};

/// Whether the gradient needs a kernel.
template <class E>
inline constexpr bool kHasBackward = E::slope != Slope::zero&& E::slope != Slope::one;

}  // namespace vitrine::ops::unary
