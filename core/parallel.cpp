#include "core/parallel.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace vitrine {
namespace {

#if defined(VITRINE_TSAN)
// ThreadSanitizer cannot see the order that libgomp gives: under it a parallel region is made of new threads.
thread_local bool inside = false;
bool in_parallel() { return inside; }

template <class F>
void run_team(int threads, F f) {
  std::vector<std::jthread> team;
  inside = true;
  for (int me = 1; me < threads; ++me)
    team.emplace_back([f, me] {
      inside = true;
      f(me);
    });
  f(0);
  team.clear();
  inside = false;
}
#else
bool in_parallel() { return omp_in_parallel(); }

/// f(me) on each thread of a team of at most `threads`.
template <class F>
void run_team(int threads, F f) {
#pragma omp parallel num_threads(threads)
  f(omp_get_thread_num());
}
#endif

/// run(c) for every c below `chunks`, by a team. Consecutive ones per thread: neighbouring operations on the same rows
/// then find them in the same core's cache. A thread that has done its own share goes on with the others' shares, as a
/// core may be slower or have other work.
template <class F>
void run_shared(int64_t chunks, int threads, F run) {
  struct alignas(64) Share {
    std::atomic<int64_t> next;
    int64_t last;
  };
  std::vector<Share> shares(static_cast<size_t>(threads));
  for (int64_t t = 0; t < threads; ++t)
    shares[size_t(t)].next = chunks * t / threads, shares[size_t(t)].last = chunks * (t + 1) / threads;
  run_team(threads, [&](int64_t me) {
    for (int64_t t = 0; t < threads; ++t) {
      Share& share = shares[size_t((me + t) % threads)];
      for (int64_t c; (c = share.next.fetch_add(1, std::memory_order_relaxed)) < share.last;) run(c);
    }
  });
}

}  // namespace

int num_threads() { return omp_get_max_threads(); }

void set_num_threads(int threads) { omp_set_num_threads(std::max(threads, 1)); }

void detail::run_chunks(int64_t n, int64_t chunk, void (*run)(const void*, int64_t, int64_t), const void* body) {
  const int64_t chunks = (n + chunk - 1) / chunk;
  const int threads = int(std::min<int64_t>(chunks, omp_get_max_threads()));
  std::mutex mutex;
  std::exception_ptr error;
  int64_t error_chunk = chunks;
  const auto run_one = [&](int64_t c) {
    try {
      run(body, c * chunk, std::min(n, (c + 1) * chunk));
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (c < error_chunk) {
        error_chunk = c;
        error = std::current_exception();
      }
    }
  };
  if (threads == 1 || in_parallel()) {
    for (int64_t c = 0; c < chunks; ++c) run_one(c);
  } else {
    run_shared(chunks, threads, run_one);
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace vitrine
