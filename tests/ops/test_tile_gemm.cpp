#include <random>
#include <vector>

#include "core/amx.h"
#include "core/float16.h"
#include "ops/matmul/tile_gemm.h"
#include "tests/support/catch.h"
#include "tests/support/threads.h"

using namespace vitrine;

namespace {

/// Small integers, so that every product and sum is exact in float.
template <class T>
std::vector<T> integers(int64_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<T> x;
  for (int64_t i = 0; i < size; ++i) x.emplace_back(float(int(random() % 9) - 4));
  return x;
}

enum Layout { kPlain, kTransposed };

/// a [m, k] and b [k, n] as they are or transposed, with `gap` elements behind the rows of all matrices.
GemmDesc product(int64_t m, int64_t n, int64_t k, Layout a, Layout b, int64_t gap = 0) {
  GemmDesc d{.m = m, .n = n, .k = k};
  d.a = d.b = d.c = {.type = Dtype::bf16};
  (a == kPlain ? d.a.row : d.a.column) = (a == kPlain ? k : m) + gap;
  (a == kPlain ? d.a.column : d.a.row) = 1;
  (b == kPlain ? d.b.row : d.b.column) = (b == kPlain ? n : k) + gap;
  (b == kPlain ? d.b.column : d.b.row) = 1;
  d.c.row = n + gap;
  return d;
}

/// Runs `d` and compares every element of c's memory, gaps included, with plain loops.
template <class C, class Bias = bf16>
bool is_exact(const GemmDesc& d) {
  const auto a = integers<bf16>(d.m * d.a.row + d.k * d.a.column, 1);
  const auto b = integers<bf16>(d.k * d.b.row + d.n * d.b.column, 2);
  const auto bias = integers<Bias>(d.n, 3);
  std::vector<C> c(size_t(d.m * d.c.row), C(-7.0f)), want = c;
  for (int64_t i = 0; i < d.m; ++i)
    for (int64_t j = 0; j < d.n; ++j) {
      float sum = d.bias ? float(bias[size_t(j)]) : 0;
      for (int64_t p = 0; p < d.k; ++p)
        sum += float(a[size_t(i * d.a.row + p * d.a.column)]) * float(b[size_t(p * d.b.row + j * d.b.column)]);
      want[size_t(i * d.c.row + j)] = C(sum);
    }
  tile_gemm::run(d, a.data(), b.data(), d.bias ? bias.data() : nullptr, c.data());
  for (size_t i = 0; i < c.size(); ++i)
    if (float(c[i]) != float(want[i])) return false;
  return true;
}

bool cannot_run() {
  if (!tile_gemm::runs()) WARN("skipped: this build or processor cannot run it");
  return !tile_gemm::runs();
}

}  // namespace

TEST_CASE("tile_gemm: products of every size and layout are exact on any number of threads", "[unit]") {
  if (cannot_run()) return;
  for (int threads : {1, 2, 5}) {
    const testing::ThreadsGuard guard(threads);
    for (int64_t m : {16, 33, 197})
      for (int64_t n : {16, 65, 112})
        for (int64_t k : {32, 197, 289, 513})
          for (Layout a : {kPlain, kTransposed})
            for (Layout b : {kPlain, kTransposed}) {
              INFO("threads " << threads << " m " << m << " n " << n << " k " << k << " layouts " << a << b);
              CHECK(is_exact<bf16>(product(m, n, k, a, b, threads)));
            }
  }
  CHECK(is_exact<bf16>(product(450, 40, 300, kTransposed, kPlain)));  // several parts of a factor across k
  CHECK(is_exact<bf16>(product(40, 450, 300, kTransposed, kPlain)));
}

TEST_CASE("tile_gemm: a bias is added, and the result may be f32", "[unit]") {
  if (cannot_run()) return;
  for (Layout b : {kPlain, kTransposed})
    for (int64_t m : {50, 197}) {
      GemmDesc d = product(m, 115, 70, kPlain, b, 2);
      d.bias = true, d.bias_type = Dtype::bf16;
      CHECK(is_exact<bf16>(d));
      d.bias_type = Dtype::f32;
      CHECK(is_exact<bf16, float>(d));
      d.c.type = Dtype::f32;
      CHECK(is_exact<float, float>(d));
      d.bias = false;
      CHECK(is_exact<float>(d));
    }
}

TEST_CASE("tile_gemm: the number of threads does not change a bit", "[unit]") {
  if (cannot_run()) return;
  for (Layout layout : {kPlain, kTransposed}) {
    const GemmDesc d = product(260, 197, 1000, layout, kPlain);
    std::vector<bf16> a, b;
    for (float x : integers<float>(d.k * d.m, 3)) a.emplace_back(x / 7);
    for (float x : integers<float>(d.k * d.n, 4)) b.emplace_back(x / 3);
    const auto run_with = [&](int threads) {
      const testing::ThreadsGuard guard(threads);
      std::vector<bf16> c(size_t(d.m * d.n));
      tile_gemm::run(d, a.data(), b.data(), nullptr, c.data());
      std::vector<uint16_t> bits;
      for (bf16 x : c) bits.push_back(x.bits);
      return bits;
    };
    const auto one = run_with(1);
    for (int threads : {2, 3, 8}) CHECK(run_with(threads) == one);
  }
}

TEST_CASE("tile_gemm: what does not suit is left to others", "[unit]") {
  const GemmDesc good = product(64, 64, 128, kPlain, kPlain);
  CHECK(tile_gemm::suits(good) == amx::usable());
  const auto leaves = [&](void (*change)(GemmDesc&)) {
    GemmDesc d = good;
    change(d);
    return !tile_gemm::suits(d);
  };
  CHECK(leaves([](GemmDesc& d) { d.a.type = d.b.type = d.c.type = Dtype::f32; }));
  CHECK(leaves([](GemmDesc& d) { d.a.column = 2, d.a.row = 256; }));
  CHECK(leaves([](GemmDesc& d) { d.a.row = 0; }));
  CHECK(leaves([](GemmDesc& d) { d.b.column = 2, d.b.row = 128; }));
  CHECK(leaves([](GemmDesc& d) { d.b.row = 0; }));
  CHECK(leaves([](GemmDesc& d) { d.batch_dims = 1, d.batch_shape[0] = 2; }));
  CHECK(leaves([](GemmDesc& d) { d.accumulate = true; }));
  CHECK(leaves([](GemmDesc& d) { d.m = 15, d.k = 1024; }));
  CHECK(leaves([](GemmDesc& d) { d.n = 15, d.k = 1024, d.a.row = 1024; }));
  CHECK(leaves([](GemmDesc& d) { d.k = 31, d.m = 1024; }));
  CHECK(leaves([](GemmDesc& d) { d.k = 32, d.a.row = 32; }));
}
