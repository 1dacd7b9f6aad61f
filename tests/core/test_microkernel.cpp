#include <cmath>
#include <vector>

#include "core/microkernel.h"
#include "tests/support/catch.h"

using namespace vitrine;

namespace {

/// Small integers: every product and sum below is exact in float, so results are compared with ==.
template <class T>
std::vector<T> integers(int64_t n, uint32_t seed) {
  std::vector<T> v(static_cast<size_t>(n));
  for (auto& x : v) {
    seed = seed * 1664525u + 1013904223u;
    x = T(int(seed >> 24) % 17 - 8);
  }
  return v;
}

/// C in a frame of `guard` values; the product must write the inside and nothing else.
template <class T>
bool product_is_exact(int64_t m, int64_t n, int64_t k, bool transposed, bool accumulate) {
  const int64_t lda = (transposed ? m : k) + 3, ldb = n + 5, ldc = n + 2;
  const auto a = integers<T>((transposed ? k : m) * lda, 1), b = integers<T>(k * ldb, 2);
  const auto before = integers<T>((m + 1) * ldc, 3);
  auto c = before;
  const Strides2 sa = transposed ? Strides2{1, lda} : Strides2{lda, 1};
  gemm_small<T>(m, n, k, a.data(), sa, b.data(), ldb, c.data(), ldc, accumulate);
  for (int64_t i = 0; i <= m; ++i)
    for (int64_t j = 0; j < ldc; ++j) {
      T want = before[size_t(i * ldc + j)];
      if (i < m && j < n) {
        if (!accumulate) want = 0;
        for (int64_t p = 0; p < k; ++p) want += a[size_t(i * sa.row + p * sa.column)] * b[size_t(p * ldb + j)];
      }
      if (c[size_t(i * ldc + j)] != want) return false;
    }
  return true;
}

template <class T>
void check_products() {
  for (int64_t m : {1, 2, 3, 4, 5, 6, 7, 13})
    for (int64_t n : {1, 2, 7, 8, 15, 16, 17, 31, 33, 48, 61, 64, 65, 197})
      for (int64_t k : {0, 1, 64})
        for (int bits = 0; bits < 4; ++bits) {
          INFO("m " << m << " n " << n << " k " << k << " transposed " << (bits & 1) << " accumulate " << (bits >> 1));
          CHECK(product_is_exact<T>(m, n, k, bits & 1, bits >> 1));
        }
}

template <class T>
void check_transpose(int64_t rows, int64_t columns) {
  const int64_t ldx = columns + 3, ldy = rows + 2;
  const auto x = integers<T>(rows * ldx, 5);
  std::vector<T> y(size_t((columns + 1) * ldy), T(99));
  transpose_small(rows, columns, x.data(), ldx, y.data(), ldy);
  bool exact = true;
  for (int64_t j = 0; j <= columns; ++j)
    for (int64_t i = 0; i < ldy; ++i)
      exact = exact && y[size_t(j * ldy + i)] == (j < columns && i < rows ? x[size_t(i * ldx + j)] : T(99));
  INFO(rows << " x " << columns);
  CHECK(exact);
}

}  // namespace

TEST_CASE("small products are exact for every edge and touch nothing else", "[unit]") {
  check_products<float>();
  check_products<double>();
}

TEST_CASE("small transposes are exact for every edge and touch nothing else", "[unit]") {
  for (int64_t rows : {1, 3, 8, 16, 17, 197})
    for (int64_t columns : {1, 5, 8, 16, 31, 64}) {
      check_transpose<float>(rows, columns);
      check_transpose<double>(rows, columns);
    }
}

TEST_CASE("sums and maxima across lanes", "[unit]") {
  simd::Vec<float> v{};
  float sum = 0;
  for (int i = 0; i < simd::kLanes<float>; ++i) sum += v[i] = float(i * i % 11) - 3;
  CHECK(simd::horizontal_sum<float>(v) == sum);
  CHECK(simd::horizontal_max<float>(v) == 6);
  CHECK(std::signbit(simd::broadcast(-0.0f)[1]) == true);
  CHECK(std::isinf(simd::broadcast(INFINITY)[simd::kLanes<float> - 1]));
}
