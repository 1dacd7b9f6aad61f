#pragma once
#include "core/bf16_pairs.h"

/// Products of bf16 by the tile unit of x86 processors (AMX). Used through gemm_small (core/microkernel.h) alone.
namespace vitrine {

/// Where element (i, p) of the left factor lies: a[i * row + p * column]. {lda, 1} is a plain matrix, {1, lda} its
/// transpose.
struct Strides2 {
  int64_t row, column;
};

namespace amx {

/// Whether this build and this processor have tiles, and the system lets this process use them.
bool usable();

/// gemm_small of pairs. One stride of a is 1. Sums even and odd elements of k apart, in float, 16 pairs at a time, and
/// adds up 256 pairs before they meet the next 256. (AMX takes subnormal numbers for 0.)
void gemm(int64_t m, int64_t n, int64_t k, const Bf16Pair* a, Strides2 sa, const Bf16Pair* b, int64_t ldb, float* c,
          int64_t ldc, bool accumulate, float factor);

}  // namespace amx
}  // namespace vitrine
