#include "core/cuda/emulator/instructions.h"

#include <cstring>

#include "core/cuda/emulator/emulator.h"

namespace vitrine::emulator {
namespace {

constexpr unsigned kAllLanes = 0xFFFFFFFF;

float low_bf16(uint32_t pair) {
  const uint32_t u = pair << 16;
  float x;
  memcpy(&x, &u, 4);
  return x;
}
float high_bf16(uint32_t pair) {
  const uint32_t u = pair & 0xFFFF0000;
  float x;
  memcpy(&x, &u, 4);
  return x;
}

void need_full_warp(const char* name, unsigned members) {
  if (members != kAllLanes) fail("%s: needs a warp of 32 lanes, this one has %08x", name, members);
}

struct Mma {
  float* d;
  const uint32_t *a, *b;
  const float* c;
};

void run_mma(void** requests, unsigned members) {
  need_full_warp("mma_m16n8k16", members);
  float a[16][16], b[16][8], d[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const Mma& r = *static_cast<Mma*>(requests[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) {
      float* const at = &a[g + 8 * (i % 2)][2 * t + 8 * (i / 2)];
      at[0] = low_bf16(r.a[i]), at[1] = high_bf16(r.a[i]);
    }
    for (int i = 0; i < 2; ++i) b[2 * t + 8 * i][g] = low_bf16(r.b[i]), b[2 * t + 8 * i + 1][g] = high_bf16(r.b[i]);
    for (int i = 0; i < 4; ++i) d[g + 8 * (i / 2)][2 * t + i % 2] = r.c[i];
  }
  // Products of two bf16 are exact in f32, so a fused multiply-add gives the same sums.
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < 16; ++k) {
      for (int column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const Mma& r = *static_cast<Mma*>(requests[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) r.d[i] = d[g + 8 * (i / 2)][2 * t + i % 2];
  }
}

struct LoadMatrix {
  uint32_t* r;
  const void* row;
  int count;
  bool transpose;
};

void run_ldmatrix(void** requests, unsigned members) {
  need_full_warp("ldmatrix", members);
  const LoadMatrix& first = *static_cast<LoadMatrix*>(requests[0]);
  for (int m = 0; m < first.count; ++m) {
    uint16_t matrix[8][8];
    for (int row = 0; row < 8; ++row) memcpy(matrix[row], static_cast<LoadMatrix*>(requests[8 * m + row])->row, 16);
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, t = lane % 4;
      const uint32_t low = first.transpose ? matrix[2 * t][g] : matrix[g][2 * t];
      const uint32_t high = first.transpose ? matrix[2 * t + 1][g] : matrix[g][2 * t + 1];
      static_cast<LoadMatrix*>(requests[lane])->r[m] = low | high << 16;
    }
  }
}

}  // namespace

void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4]) {
  Mma request{d, a, b, c};
  warp_collective(kAllLanes, "mma_m16n8k16", &request, run_mma, Place{});
}

void ldmatrix(uint32_t* r, int count, const void* row, bool transpose) {
  if (lane() < 8 * count) {
    if (reinterpret_cast<uintptr_t>(row) % 16) fail("ldmatrix: row %p is not aligned to 16 bytes", row);
    note_read(row, 16);
  }
  LoadMatrix request{r, row, count, transpose};
  const char* const name = count == 4 ? (transpose ? "ldmatrix_x4<trans>" : "ldmatrix_x4")
                                      : (transpose ? "ldmatrix_x2<trans>" : "ldmatrix_x2");
  warp_collective(kAllLanes, name, &request, run_ldmatrix, Place{});
}

}  // namespace vitrine::emulator
