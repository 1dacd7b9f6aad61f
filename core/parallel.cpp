#include "core/parallel.h"

#include <omp.h>

#include <algorithm>
#include <exception>

namespace vitrine {

int num_threads() { return omp_get_max_threads(); }

void set_num_threads(int threads) { omp_set_num_threads(std::max(threads, 1)); }

void detail::run_chunks(int64_t n, int64_t chunk, void (*run)(const void*, int64_t, int64_t), const void* body) {
  const int64_t chunks = (n + chunk - 1) / chunk;
  const int threads = int(std::min<int64_t>(chunks, omp_get_max_threads()));
  if (threads == 1 || omp_in_parallel()) {
    for (int64_t c = 0; c < chunks; ++c) run(body, c * chunk, std::min(n, (c + 1) * chunk));
    return;
  }
  std::exception_ptr error;
  int64_t error_chunk = chunks;
#pragma omp parallel num_threads(threads)
  {
    // Consecutive pieces per thread: neighbouring operations on the same rows then find them in the same core's cache.
    const int64_t team = omp_get_num_threads(), me = omp_get_thread_num();
    const int64_t last = chunks * (me + 1) / team;
    int64_t c = chunks * me / team;
    try {
      for (; c < last; ++c) run(body, c * chunk, std::min(n, (c + 1) * chunk));
    } catch (...) {
#pragma omp critical(vitrine_parallel_error)
      if (c < error_chunk) {
        error_chunk = c;
        error = std::current_exception();
      }
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace vitrine
