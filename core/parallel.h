#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>

namespace vitrine {

/// Threads that parallel_for and oneDNN use for calls made by this thread (OpenMP keeps the number per calling thread).
int num_threads();

/// Sets num_threads() for the calling thread; `threads` at least 1, smaller values count as 1. No result changes with
/// it.
void set_num_threads(int threads);

/// Length of the pieces into which parallel_for cuts [0, n): the smallest multiple of `grain` that gives at most 512
/// pieces. A function of n and grain alone; a reduction may keep one partial sum per piece, at index begin / length.
constexpr int64_t parallel_chunk(int64_t n, int64_t grain) {
  constexpr int64_t kMaxChunks = 512;
  const int64_t g = grain < 1 ? 1 : grain, grains = n / g + (n % g != 0);
  return g * (grains / kMaxChunks + (grains % kMaxChunks != 0));
}

namespace detail {
/// Calls run(body, begin, end) once for every piece of [0, n) of length `chunk`, spread over the threads.
void run_chunks(int64_t n, int64_t chunk, void (*run)(const void* body, int64_t begin, int64_t end), const void* body);
}  // namespace detail

/// Calls body(begin, end) on consecutive pieces that cover [0, n), in parallel. `grain` is the number of indices below
/// which starting a thread does not pay; every piece but the last is a multiple of it. The pieces depend on n and grain
/// alone, never on the number of threads, so a body that computes piece by piece gives the same bits on every machine.
/// One piece, one thread, and calls from inside a body run on the calling thread. A body may throw: the other pieces
/// run all the same, on one thread too, and the exception of the lowest one that threw reaches the caller.
template <class F>
void parallel_for(int64_t n, int64_t grain, F&& body) {
  if (n <= 0) return;
  if (n <= grain || n == 1) {
    body(int64_t(0), n);
    return;
  }
  using Body = std::remove_reference_t<F>;
  detail::run_chunks(
      n, parallel_chunk(n, grain),
      [](const void* b, int64_t begin, int64_t end) { (*const_cast<Body*>(static_cast<const Body*>(b)))(begin, end); },
      std::addressof(body));
}

}  // namespace vitrine
