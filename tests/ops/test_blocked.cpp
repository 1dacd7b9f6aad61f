#include <random>

#include "ops/matmul/blocked.h"
#include "tests/support/catch.h"
#include "tests/support/threads.h"

using namespace vitrine;

namespace {

/// Small integers: sums up to 600 terms are exact in float, so results are compared with ==.
template <class T>
std::vector<T> integers(int64_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<T> v;
  for (int64_t i = 0; i < size; ++i) v.push_back(T(float(int(random() % 7) - 3)));
  return v;
}

int64_t extent(const GemmDesc& d, const GemmOperand& x, int64_t rows, int64_t columns) {
  if (rows * columns * d.batch_count() == 0) return 1;
  return d.batch_offset(x, d.batch_count() - 1) + (rows - 1) * x.row + (columns - 1) * x.column + 1;
}

/// Compares all of c's memory, gaps included, with plain loops.
template <class T, class C>
bool is_exact(const GemmDesc& d) {
  const auto a = integers<T>(extent(d, d.a, d.m, d.k), 1), b = integers<T>(extent(d, d.b, d.k, d.n), 2);
  const auto bias = integers<C>(d.n + 1, 3);
  auto c = integers<C>(extent(d, d.c, d.m, d.n), 4), want = c;
  for (int64_t g = 0; g < d.batch_count(); ++g)
    for (int64_t i = 0; i < d.m; ++i)
      for (int64_t j = 0; j < d.n; ++j) {
        C& out = want[size_t(d.batch_offset(d.c, g) + i * d.c.row + j)];
        double sum = d.bias ? double(bias[size_t(j)]) : d.accumulate ? double(out) : 0;
        for (int64_t p = 0; p < d.k; ++p)
          sum += double(a[size_t(d.batch_offset(d.a, g) + i * d.a.row + p * d.a.column)]) *
                 double(b[size_t(d.batch_offset(d.b, g) + p * d.b.row + j * d.b.column)]);
        out = convert<C>(sum);
      }
  blocked_gemm(d, a.data(), b.data(), bias.data(), c.data());
  for (size_t i = 0; i < c.size(); ++i)
    if (double(c[i]) != double(want[i])) return false;
  return true;
}

GemmDesc matrices(int64_t m, int64_t n, int64_t k) {
  GemmDesc d;
  d.m = m, d.n = n, d.k = k;
  d.a.row = k, d.b.row = n, d.c.row = n;
  return d;
}

template <class T, class C>
void check_layouts() {
  for (int64_t m : {1, 7, 100})
    for (int64_t n : {1, 33, 130})
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

TEST_CASE("blocked product: the same bits for every number of threads", "[unit]") {
  const GemmDesc d = matrices(197, 130, 600);
  std::mt19937 random(7);
  std::vector<float> a(197 * 600), b(600 * 130), one(197 * 130), many(197 * 130);
  for (auto* v : {&a, &b})
    for (auto& x : *v) x = float(random()) * 0x1p-32f - 0.5f;
  const auto run_with = [&](int threads, std::vector<float>& c) {
    const testing::ThreadsGuard guard(threads);
    blocked_gemm(d, a.data(), b.data(), a.data(), c.data());
  };
  run_with(1, one);
  run_with(3, many);
  CHECK(one == many);
}
