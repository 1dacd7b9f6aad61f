#pragma once
#include <cstdint>
#include <cstring>

#include "core/bf16_pairs.h"

/// The tile unit of x86 processors (AMX), one function per instruction. Where the build has no tiles the same is done
/// in plain C++, so that tests of what is made of tiles run on every machine; nothing else may use them there
/// (amx::usable). Registers 0 to 7 are the calling thread's.
namespace vitrine::amx {

constexpr int64_t kTile = 16;                     // rows of a tile, and its columns of 32 bits
constexpr int64_t kTileElements = kTile * kTile;  // of 32 bits

/// Sizes of the eight registers: the operand of ldtilecfg.
struct alignas(64) Configuration {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  void set(int tile, int64_t height, int64_t columns) {
    rows[tile] = uint8_t(height), row_bytes[tile] = uint16_t(4 * columns);
  }
};

#if defined(__AMX_BF16__)

// By the compiler's assembler: its own functions take no constants by name, and do not say that they read and write
// memory.

/// Sets the sizes. The contents of all tiles are lost.
inline void configure(const Configuration& c) { __asm__ volatile("ldtilecfg %0" ::"m"(c)); }
/// Back to a state without sizes, in which registers cost a switch of threads nothing.
inline void release() { __asm__ volatile("tilerelease"); }

/// A tile from rows in memory, `stride` elements of 32 bits from one to the next.
template <int Tile>
void load(const void* p, int64_t stride) {
  __asm__ volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(Tile), "r"(p), "r"(4 * stride) : "memory");
}
/// A tile to such rows.
template <int Tile>
void store(void* p, int64_t stride) {
  __asm__ volatile("tilestored %%tmm%c0, (%1,%2,1)" ::"i"(Tile), "r"(p), "r"(4 * stride) : "memory");
}
/// A tile of zeros.
template <int Tile>
void clear() {
  __asm__ volatile("tilezero %%tmm%c0" ::"i"(Tile));
}
/// Sum += Left * Right, of pairs of bf16: those of a row of Left go with the rows of Right.
template <int Sum, int Left, int Right>
void multiply_add() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sum), "i"(Left), "i"(Right));
}

#else

namespace detail {
struct Tiles {
  Configuration sizes;
  uint32_t at[8][kTile][kTile];
};
inline thread_local Tiles tiles;
inline float half(uint32_t pair, bool second) { return bits::to_float(second ? pair & 0xFFFF0000u : pair << 16); }
}  // namespace detail

/// As above.
inline void configure(const Configuration& c) { detail::tiles = {.sizes = c, .at = {}}; }
/// As above.
inline void release() { detail::tiles.sizes = {}; }
/// As above.
template <int Tile>
void clear() {
  std::memset(detail::tiles.at[Tile], 0, sizeof detail::tiles.at[Tile]);
}
/// As above.
template <int Tile>
void load(const void* p, int64_t stride) {
  clear<Tile>();
  for (int r = 0; r < detail::tiles.sizes.rows[Tile]; ++r)
    std::memcpy(detail::tiles.at[Tile][r], static_cast<const uint32_t*>(p) + r * stride,
                detail::tiles.sizes.row_bytes[Tile]);
}
/// As above.
template <int Tile>
void store(void* p, int64_t stride) {
  for (int r = 0; r < detail::tiles.sizes.rows[Tile]; ++r)
    std::memcpy(static_cast<uint32_t*>(p) + r * stride, detail::tiles.at[Tile][r], detail::tiles.sizes.row_bytes[Tile]);
}
/// As above.
template <int Sum, int Left, int Right>
void multiply_add() {
  auto& t = detail::tiles;
  const int depth = t.sizes.row_bytes[Left] / 4;
  for (int i = 0; i < t.sizes.rows[Sum]; ++i)
    for (int j = 0; j < t.sizes.row_bytes[Sum] / 4; ++j) {
      float sums[2] = {};
      for (int p = 0; p < depth; ++p)
        for (bool second : {false, true})
          sums[second] += detail::half(t.at[Left][i][p], second) * detail::half(t.at[Right][p][j], second);
      t.at[Sum][i][j] = bits::of_float(bits::to_float(t.at[Sum][i][j]) + (sums[0] + sums[1]));
    }
}

#endif

}  // namespace vitrine::amx
