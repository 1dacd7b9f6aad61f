#include "core/amx.h"
#include "ops/matmul/tile_gemm.h"
#include "tests/support/catch.h"
#include "tests/support/exact_product.h"

using namespace vitrine;

namespace {

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

template <class C, class Bias = bf16>
bool is_exact(const GemmDesc& d) {
  return testing::is_exact<bf16, C, Bias>(d, [](const auto&... arguments) { tile_gemm::run(arguments...); });
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
  for (Layout layout : {kPlain, kTransposed})
    CHECK(testing::same_on_any_threads<bf16>(
        product(260, 197, 1000, layout, kPlain),
        [](const auto& d, const bf16* a, const bf16* b, bf16* c) { tile_gemm::run(d, a, b, nullptr, c); }));
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
