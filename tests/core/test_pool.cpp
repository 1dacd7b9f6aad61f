#include <cstring>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "core/pool.h"
#include "core/tensor.h"
#include "tests/support/catch.h"

namespace vitrine {
namespace {

TEST_CASE("pool blocks are apart, aligned and keep what is written", "[unit]") {
  struct Given {
    unsigned char* p;
    size_t bytes;
    int fill;
  };
  std::vector<Given> live;
  for (int i = 0; i < 3000; ++i) {
    const size_t bytes = size_t(i * 37) % 600;
    auto* p = static_cast<unsigned char*>(pool_allocate(bytes));
    CHECK(reinterpret_cast<uintptr_t>(p) % 16 == 0);
    std::memset(p, i % 251, bytes);
    live.push_back({p, bytes, i % 251});
    if (i % 3 == 0) {
      pool_free(live.front().p, live.front().bytes);
      live.erase(live.begin());
    }
  }
  size_t wrong = 0;
  for (const Given& g : live) {
    for (size_t k = 0; k < g.bytes; ++k) wrong += g.p[k] != g.fill;
    pool_free(g.p, g.bytes);
  }
  CHECK(wrong == 0);
}

TEST_CASE("pool blocks made by one thread may be freed by another", "[unit]") {
  // More than a batch, several times: full lists pass to the other thread and come back.
  for (int round = 0; round < 3; ++round) {
    std::vector<Tensor> made;
    std::thread worker([&] {
      for (int i = 0; i < 1000; ++i) made.push_back(scalar(i));
    });
    worker.join();
    double sum = 0;
    for (const Tensor& t : made) sum += t.item();
    CHECK(sum == 999 * 500);
    std::set<const void*> different;
    for (const Tensor& t : made) different.insert(t.state().get());
    CHECK(different.size() == 1000);
  }
}

}  // namespace
}  // namespace vitrine
