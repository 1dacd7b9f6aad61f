#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <new>

#include "core/parallel.h"

/// The memory ceiling that benches quote as "percent of stream", after J. D. McCalpin's STREAM: the same loops on the
/// same number of bytes, with the same threads.
namespace vitrine::bench {

enum class Stream {
  copy,   ///< y = x: one array read, one written
  triad,  ///< z = x + 3 y: two arrays read, one written
};

/// Bytes per second of the best of several passes over f32 arrays that hold `bytes` together, on num_threads() threads.
/// Counts each read and each write once; the reads that a cache makes before it writes a line are not counted. Small
/// sizes measure the caches (1576 x 384 f32 in and out: 4.8 MB), sizes of several times the last cache measure DRAM.
inline double stream_bandwidth(Stream kind, int64_t bytes, double seconds = 0.2) {
  using Clock = std::chrono::steady_clock;
  const int64_t arrays = kind == Stream::copy ? 2 : 3, n = std::max<int64_t>(bytes / (4 * arrays), 1);
  const int64_t grain = std::max<int64_t>(n / 64, 1024);
  struct Free {
    void operator()(float* p) const { ::operator delete[](p, std::align_val_t(64)); }
  };
  auto array = [n] { return std::unique_ptr<float[], Free>(new (std::align_val_t(64)) float[size_t(n)]); };
  const auto xs = array(), ys = array(), zs = arrays == 3 ? array() : nullptr;
  float* const x = xs.get();
  float* const y = ys.get();
  float* const z = zs.get();
  parallel_for(n, grain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) x[i] = 1, y[i] = 2;
    if (z) std::fill(z + begin, z + end, 0.0f);
  });
  auto pass = [=] {
    if (kind == Stream::copy) {
      parallel_for(n, grain, [=](int64_t begin, int64_t end) { std::copy(x + begin, x + end, y + begin); });
    } else {
      parallel_for(n, grain, [=](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) z[i] = x[i] + 3 * y[i];
      });
    }
    asm volatile("" : : "r"(y), "r"(z) : "memory");  // the next pass must not be merged with this one
  };
  double best = 1e30;
  const auto start = Clock::now();
  for (int i = 0; i < 5 || std::chrono::duration<double>(Clock::now() - start).count() < seconds; ++i) {
    const auto before = Clock::now();
    pass();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - before).count());
  }
  return double(n * 4 * arrays) / best;
}

}  // namespace vitrine::bench
