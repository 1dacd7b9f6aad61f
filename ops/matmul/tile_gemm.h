#pragma once
#include "ops/matmul/gemm_desc.h"

/// Products of bf16 matrices by the tile unit of x86 processors (core/amx_tiles.h): those of linear layers.
///
/// The smaller factor is laid out in tiles once, the larger one in parts that fit the cache, each by the thread that
/// multiplies it, while the memory is asked for the next part and for the place of the result. On two cores of an Intel
/// Xeon up to 1.5 times as fast as oneDNN 2.6 on factors that no cache holds, about as fast on others
/// (tests/bench/README.md).
namespace vitrine::tile_gemm {

/// Whether `desc` is such a product, not a small one, and this processor has tiles.
bool suits(const GemmDesc& desc);

/// Whether run() works here: this build is for AVX-512, and its tiles, if it has any, may be used. A build without
/// tiles does the same in plain C++, slowly, for tests.
bool runs();

/// Runs a product that suits. Each element of c is one sum in float over k, of even and odd elements apart, 32 at a
/// time; it depends on k alone, not on threads. (The tile unit takes subnormal numbers for 0.)
void run(const GemmDesc& desc, const void* a, const void* b, const void* bias, void* c);

}  // namespace vitrine::tile_gemm
