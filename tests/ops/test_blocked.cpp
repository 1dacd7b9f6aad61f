#include "ops/matmul/blocked.h"
#include "tests/support/catch.h"
#include "tests/support/exact_product.h"

using namespace vitrine;

namespace {

template <class T, class C>
bool is_exact(const GemmDesc& d) {
  return testing::is_exact<T, C>(d, [](const auto&... arguments) { blocked_gemm(arguments...); });
}

GemmDesc matrices(int64_t m, int64_t n, int64_t k) {
  GemmDesc d;
  d.m = m, d.n = n, d.k = k;
  d.a.row = k, d.b.row = n, d.c.row = n;
  return d;
}

template <class T, class C>
void check_layouts() {
  for (int64_t m : {0, 1, 7, 100})
    for (int64_t n : {0, 1, 33, 130})
      for (int64_t k : {0, 1, 64, 257, 600}) {
        INFO("m " << m << " n " << n << " k " << k);
        GemmDesc d = matrices(m, n, k);
        CHECK(is_exact<T, C>(d));
        d.bias = true;
        d.b.row = 1, d.b.column = k + 2;
        CHECK(is_exact<T, C>(d));
        d.bias = false, d.accumulate = true;
        d.a.row = 1, d.a.column = m + 1, d.c.row = n + 3;
        CHECK(is_exact<T, C>(d));
        d.a.row = 3, d.a.column = 2, d.b.row = 2, d.b.column = 0;
        CHECK(is_exact<T, C>(d));
      }
}

}  // namespace

TEST_CASE("blocked product: every layout and type is exact", "[unit]") {
  check_layouts<double, double>();
  check_layouts<float, float>();
  check_layouts<bf16, bf16>();
  check_layouts<bf16, float>();
  check_layouts<f16, f16>();
}

TEST_CASE("blocked product: factors across k, in parts by rows and by columns", "[unit]") {
  for (int threads : {1, 2, 3, 7})
    for (const auto& [m, n] : {std::pair<int64_t, int64_t>{37, 197}, {197, 37}, {100, 100}}) {
      const testing::ThreadsGuard guard(threads);
      INFO("threads " << threads << " m " << m << " n " << n);
      GemmDesc d = matrices(m, n, 400);
      d.a.row = 1, d.a.column = m + 2, d.b.row = n + 1, d.c.row = n + 5;
      CHECK(is_exact<float, float>(d));
      d.bias = true;
      CHECK(is_exact<float, float>(d));
      CHECK(is_exact<bf16, bf16>(d));
      d.bias = false, d.accumulate = true;
      CHECK(is_exact<double, double>(d));
    }
}

TEST_CASE("blocked product: batches of strided heads", "[unit]") {
  const int64_t B = 2, H = 3, L = 37, D = 16;
  GemmDesc d = matrices(L, L, D);  // q k^T on views of [B, L, 3, H, D]
  d.batch_dims = 2, d.batch_shape = {B, H};
  d.a.row = d.b.column = 3 * H * D, d.b.row = 1;
  d.a.batch = d.b.batch = {L * 3 * H * D, D};
  d.c.batch = {H * L * L, L * L};
  CHECK(is_exact<double, double>(d));
  d.b.batch = {0, 0};
  CHECK(is_exact<double, double>(d));
  d.batch_shape = {0, H};
  CHECK(is_exact<double, double>(d));
}

TEST_CASE("blocked product: the same bits for every number of threads and every layout", "[unit]") {
  const auto run = [](const auto& d, const float* a, const float* b, float* c) { blocked_gemm(d, a, b, a, c); };
  GemmDesc across = matrices(100, 130, 600);
  across.a.row = 1, across.a.column = 100;
  CHECK(testing::same_on_any_threads<float>(across, run));
  CHECK(testing::same_on_any_threads<float>(matrices(197, 130, 600), run));
  const int64_t m = 100, n = 130, k = 600;
  std::vector<float> left(size_t(m * k)), left_t = left, right(size_t(k * n)), rows(size_t(m * n)), columns = rows;
  for (size_t i = 0; i < right.size(); ++i) right[i] = 1 / float(i % 91 + 1);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t p = 0; p < k; ++p)
      left[size_t(i * k + p)] = left_t[size_t(p * m + i)] = 1 / float((i + 3 * p) % 89 + 1);
  run(matrices(m, n, k), left.data(), right.data(), rows.data());
  run(across, left_t.data(), right.data(), columns.data());
  CHECK(rows == columns);
}
