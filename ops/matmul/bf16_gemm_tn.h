#pragma once
#include "ops/matmul/gemm_desc.h"

/// The gradient of a weight in bf16: c [m, n] = a b, where a [m, k] lies column after column (it is the transpose of a
/// dense matrix, BLAS's "TN") and b [k, n] row after row, so that c is the sum over k of outer products of dense rows.
///
/// Both factors are activations, which come from memory, not from a cache, and oneDNN waits for them. Here some rows of
/// both are laid out for AVX512_BF16's dot product and multiplied while the next ones are on their way: on two Zen 5
/// cores up to 1.4 times as fast, on factors that no cache holds; f32 and other layouts gain little
/// (tests/bench/README.md).
namespace vitrine::bf16_gemm_tn {

/// Whether `desc` is such a product, neither small nor accumulated, and this is a processor for it.
bool suits(const GemmDesc& desc);

/// Runs a product that suits. Each element of c is one sum in float over k, two neighbours at a time; it depends on the
/// sizes alone, not on threads.
void run(const GemmDesc& desc, const void* a, const void* b, void* c);

}  // namespace vitrine::bf16_gemm_tn
