#include "core/amx.h"
#include "ops/matmul/bf16_gemm_tn.h"
#include "tests/support/catch.h"
#include "tests/support/exact_product.h"

using namespace vitrine;

namespace {

/// a and b with `gap` elements between their rows.
GemmDesc product(int64_t m, int64_t n, int64_t k, int64_t gap = 0) {
  GemmDesc d{.m = m, .n = n, .k = k};
  d.a = {.type = Dtype::bf16, .row = 1, .column = m + gap};
  d.b = {.type = Dtype::bf16, .row = n + gap};
  d.c = {.type = Dtype::bf16, .row = n + gap};
  return d;
}

bool is_exact(const GemmDesc& d) {
  return testing::is_exact<bf16, bf16>(
      d, [](const auto& desc, auto* a, auto* b, auto*, auto* c) { bf16_gemm_tn::run(desc, a, b, c); });
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
  CHECK(testing::same_on_any_threads<bf16>(product(100, 197, 1000), [](const auto& d, const bf16* a, const bf16* b,
                                                                       bf16* c) { bf16_gemm_tn::run(d, a, b, c); }));
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
