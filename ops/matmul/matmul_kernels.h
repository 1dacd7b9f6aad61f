#pragma once
#include "core/kernel_slot.h"
#include "ops/matmul/matmul.h"

/// Private to this folder. a [.., m, k] and b [.., k, n] have y's leading dims (expanded with stride 0 where they
/// broadcast) and any strides; bias [n] is dense or undefined; y [.., m, n] is contiguous.
namespace vitrine::ops {
using Product = void(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y);
/// Our own kernel: every dtype, every shape.
inline constinit KernelSlot<Product> product_plain{"product_plain"};
/// The device's library, for f32 and bf16 (and f16, f64 on a GPU). `packed`, if given, is of b, which has no leading
/// dims.
using LibraryProduct = void(const Tensor& a, const Tensor& b, const Tensor& bias, PackedFactor* packed, Tensor& y);
inline constinit KernelSlot<LibraryProduct> product_library{"product_library"};
}  // namespace vitrine::ops
