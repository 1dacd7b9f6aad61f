#include <random>
#include <vector>

#include "core/amx.h"
#include "core/float16.h"
#include "ops/matmul/bf16_gemm_tn.h"
#include "tests/support/catch.h"
#include "tests/support/threads.h"

using namespace vitrine;

namespace {

/// Small integers, so that every product and sum is exact in float.
std::vector<bf16> integers(int64_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<bf16> x;
  for (int64_t i = 0; i < size; ++i) x.emplace_back(float(int(random() % 9) - 4));
  return x;
}

/// a and b with `gap` elements between their rows.
GemmDesc product(int64_t m, int64_t n, int64_t k, int64_t gap = 0) {
  GemmDesc d{.m = m, .n = n, .k = k};
  d.a = {.type = Dtype::bf16, .row = 1, .column = m + gap};
  d.b = {.type = Dtype::bf16, .row = n + gap};
  d.c = {.type = Dtype::bf16, .row = n + gap};
  return d;
}

/// Runs `d` and compares every element of c's memory, gaps included, with plain loops.
bool is_exact(const GemmDesc& d) {
  const auto a = integers(d.k * d.a.column, 1), b = integers(d.k * d.b.row, 2);
  std::vector<bf16> c(size_t(d.m * d.c.row), bf16(-7.0f)), want = c;
  for (int64_t i = 0; i < d.m; ++i)
    for (int64_t j = 0; j < d.n; ++j) {
      float sum = 0;
      for (int64_t p = 0; p < d.k; ++p) sum += float(a[size_t(p * d.a.column + i)]) * float(b[size_t(p * d.b.row + j)]);
      want[size_t(i * d.c.row + j)] = bf16(sum);
    }
  bf16_gemm_tn::run(d, a.data(), b.data(), c.data());
  for (size_t i = 0; i < c.size(); ++i)
    if (float(c[i]) != float(want[i])) return false;
  return true;
}

}  // namespace

TEST_CASE("bf16_gemm_tn: products of every size are exact on any number of threads", "[unit]") {
  for (int threads : {1, 2, 3, 7}) {
    const testing::ThreadsGuard guard(threads);
    for (int64_t m : {32, 37, 197})
      for (int64_t n : {32, 65, 197})
        for (int64_t k : {192, 257, 383}) {
          INFO("threads " << threads << " m " << m << " n " << n << " k " << k);
          CHECK(is_exact(product(m, n, k)));
          CHECK(is_exact(product(m, n, k, 3)));
        }
  }
}

TEST_CASE("bf16_gemm_tn: the number of threads does not change a bit", "[unit]") {
  const GemmDesc d = product(100, 197, 1000);
  std::vector<bf16> a, b;
  for (float x : integers(d.k * d.m, 3)) a.emplace_back(x / 7);
  for (float x : integers(d.k * d.n, 4)) b.emplace_back(x / 3);
  const auto run_with = [&](int threads) {
    const testing::ThreadsGuard guard(threads);
    std::vector<bf16> c(size_t(d.m * d.n));
    bf16_gemm_tn::run(d, a.data(), b.data(), c.data());
    std::vector<uint16_t> bits;
    for (bf16 x : c) bits.push_back(x.bits);
    return bits;
  };
  const auto one = run_with(1);
  for (int threads : {2, 3, 8}) CHECK(run_with(threads) == one);
}

TEST_CASE("bf16_gemm_tn: what does not suit is left to others", "[unit]") {
  const GemmDesc good = product(64, 64, 512);
#if defined(__AVX512BF16__)
  CHECK(bf16_gemm_tn::suits(good) == !amx::usable());
#else
  CHECK(!bf16_gemm_tn::suits(good));
#endif
  const auto leaves = [&](void (*change)(GemmDesc&)) {
    GemmDesc d = good;
    change(d);
    return !bf16_gemm_tn::suits(d);
  };
  CHECK(leaves([](GemmDesc& d) { d.a.type = d.b.type = d.c.type = Dtype::f32; }));
  CHECK(leaves([](GemmDesc& d) { d.c.type = Dtype::f32; }));
  CHECK(leaves([](GemmDesc& d) { d.a.row = 2, d.a.column = 128; }));
  CHECK(leaves([](GemmDesc& d) { d.a.column = 0; }));
  CHECK(leaves([](GemmDesc& d) { d.b.column = 2, d.b.row = 128; }));
  CHECK(leaves([](GemmDesc& d) { d.b.row = 1; }));
  CHECK(leaves([](GemmDesc& d) { d.batch_dims = 1, d.batch_shape[0] = 2; }));
  CHECK(leaves([](GemmDesc& d) { d.bias = true; }));
  CHECK(leaves([](GemmDesc& d) { d.accumulate = true; }));
  CHECK(leaves([](GemmDesc& d) { d.m = 31; }));
  CHECK(leaves([](GemmDesc& d) { d.n = 31; }));
  CHECK(leaves([](GemmDesc& d) { d.k = 191; }));
}
