#pragma once
#include "core/random.h"

namespace vitrine::data {

/// Uses of random numbers in this layer. A Generator counts its offsets from 0; these lie above anything it reaches, so
/// that one seed can serve parameters and data without a number being used twice.
enum class Stream : uint64_t { shuffle = 1, augment = 2, shapes = 3, mixing = 4 };

/// The draw of a stream for item n (an epoch, a split), n below 2^56.
inline RandomDraw draw_of(Stream stream, uint64_t seed, uint64_t n) { return {seed, uint64_t(stream) << 56 | n}; }

/// An integer in [0, range) from 32 random bits; range at most 2^32, uniform up to range / 2^32.
constexpr int64_t below(uint32_t bits, int64_t range) { return int64_t(uint64_t(bits) * uint64_t(range) >> 32); }

}  // namespace vitrine::data
