#include <atomic>
#include <chrono>
#include <cmath>
#include <stdexcept>
#include <utility>
#include <vector>

#include "core/parallel.h"
#include "tests/support/catch.h"
#include "tests/support/threads.h"

using namespace vitrine;
using testing::ThreadsGuard;

namespace {

/// The pieces of one call, at the index that a reduction would use.
std::vector<std::pair<int64_t, int64_t>> pieces(int64_t n, int64_t grain) {
  const int64_t length = parallel_chunk(n, grain);
  std::vector<std::pair<int64_t, int64_t>> out(size_t((n + length - 1) / length));
  parallel_for(n, grain, [&](int64_t begin, int64_t end) { out[size_t(begin / length)] = {begin, end}; });
  return out;
}

}  // namespace

TEST_CASE("parallel_for covers every index once", "[unit][threads]") {
  for (int threads : {1, 2, 3, 8}) {
    ThreadsGuard guard(threads);
    for (int64_t n : {0, 1, 2, 31, 197, 512, 513, 5000})
      for (int64_t grain : {0, 1, 3, 64, 10000}) {
        std::vector<std::atomic<int>> seen(size_t(n) + 1);
        parallel_for(n, grain, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) ++seen[size_t(i)];
        });
        bool once = seen[size_t(n)] == 0;
        for (int64_t i = 0; i < n; ++i) once = once && seen[size_t(i)] == 1;
        INFO("threads " << threads << " n " << n << " grain " << grain);
        CHECK(once);
      }
  }
}

TEST_CASE("the pieces of parallel_for do not depend on the number of threads", "[unit][threads]") {
  for (int64_t n : {2, 197, 1576, 100000})
    for (int64_t grain : {1, 7, 64}) {
      std::vector<std::pair<int64_t, int64_t>> one, many;
      {
        ThreadsGuard guard(1);
        one = pieces(n, grain);
      }
      {
        ThreadsGuard guard(5);
        many = pieces(n, grain);
      }
      CHECK(one == many);
      CHECK(one.size() <= 512);
      for (size_t i = 0; i + 1 < one.size(); ++i) CHECK((one[i].second - one[i].first) % grain == 0);
    }
}

TEST_CASE("a sum over pieces has the same bits for every number of threads", "[unit][threads]") {
  const int64_t n = 100003, grain = 100, length = parallel_chunk(n, grain);
  auto sum = [&] {
    std::vector<float> partial(size_t((n + length - 1) / length));
    parallel_for(n, grain, [&](int64_t begin, int64_t end) {
      float s = 0;
      for (int64_t i = begin; i < end; ++i) s += std::sin(float(i));
      partial[size_t(begin / length)] = s;
    });
    float total = 0;
    for (float p : partial) total += p;
    return total;
  };
  std::vector<float> results;
  for (int threads : {1, 2, 3, 7}) {
    ThreadsGuard guard(threads);
    results.push_back(sum());
  }
  for (float r : results) CHECK(r == results[0]);
}

TEST_CASE("parallel_for runs inside itself, and uses the threads it was given", "[unit][threads]") {
  ThreadsGuard guard(4);
  CHECK(num_threads() == 4);
  std::atomic<int64_t> inner = 0;
  parallel_for(8, 1, [&](int64_t begin, int64_t end) {
    parallel_for(100, 1, [&](int64_t b, int64_t e) { inner += (e - b) * (end - begin); });
  });
  CHECK(inner == 800);
  set_num_threads(-3);
  CHECK(num_threads() == 1);
}

TEST_CASE("a thread that is held up leaves its pieces to the others", "[unit][threads]") {
  using Clock = std::chrono::steady_clock;
  ThreadsGuard guard(2);
  std::atomic<int> others = 0;
  bool relieved = false;
  parallel_for(40, 1, [&](int64_t begin, int64_t) {
    if (begin > 0) {
      ++others;
      return;
    }
    for (const auto end = Clock::now() + std::chrono::seconds(20); !relieved && Clock::now() < end;)
      relieved = others == 39;
  });
  CHECK(relieved);
}

TEST_CASE("an exception in a body reaches the caller, the lowest piece first, when all have run", "[unit][threads]") {
  for (int threads : {1, 2, 4}) {
    ThreadsGuard guard(threads);
    for (int repeat = 0; repeat < 20; ++repeat) {
      std::string what;
      std::atomic<int> pieces = 0;
      try {
        parallel_for(100, 1, [&](int64_t begin, int64_t) {
          ++pieces;
          if (begin == 30 || begin == 90) throw std::runtime_error("piece " + std::to_string(begin));
        });
      } catch (const std::runtime_error& e) {
        what = e.what();
      }
      CHECK(what == "piece 30");
      CHECK(pieces == 100);
    }
  }
}
