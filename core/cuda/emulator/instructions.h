#pragma once
#include <cstdint>

/// The twins of core/cuda/instructions.h: warp collectives that compute what the instruction does, for all lanes at
/// once.
namespace vitrine::emulator {

/// Fragments and order of summation as in core/cuda/instructions.h.
void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4]);

/// `count` (2 or 4) matrices into r[0 .. count-1].
void ldmatrix(uint32_t* r, int count, const void* row, bool transpose);

}  // namespace vitrine::emulator
