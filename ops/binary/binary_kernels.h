#pragma once
#include "core/kernel_slot.h"
#include "ops/binary/entries.h"

/// Private to this folder; any strides, inputs broadcast to the shape of the last argument.
namespace vitrine::ops::binary {

/// y = f(a, b)
template <class E>
inline constinit KernelSlot<void(const Tensor& a, const Tensor& b, Tensor& y)> kernel{E::name};
/// d = f(dy, a, b)
template <class E>
inline constinit KernelSlot<void(const Tensor& dy, const Tensor& a, const Tensor& b, Tensor& d)> gradient_kernel{
    E::name};

}  // namespace vitrine::ops::binary
