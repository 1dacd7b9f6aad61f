#include <sys/mman.h>

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

/// The same as pairs, numbers that bf16 holds exactly.
template <>
std::vector<Bf16Pair> integers(int64_t n, uint32_t seed) {
  const auto single = integers<float>(2 * n, seed);
  std::vector<Bf16Pair> v(static_cast<size_t>(n));
  for (size_t i = 0; i < v.size(); ++i) v[i] = bf16(single[2 * i]).bits | uint32_t(bf16(single[2 * i + 1]).bits) << 16;
  return v;
}

/// What an element of each factor adds to a product.
template <class T>
product_t<T> product(T a, T b) {
  if constexpr (std::is_same_v<T, Bf16Pair>) {
    const auto upper = [](Bf16Pair x) { return bits::to_float(x & 0xFFFF0000u); };
    return bits::to_float(a << 16) * bits::to_float(b << 16) + upper(a) * upper(b);
  } else {
    return a * b;
  }
}

/// C in a frame of `guard` values; the product must write the inside and nothing else.
template <class T>
bool product_is_exact(int64_t m, int64_t n, int64_t k, bool transposed, bool accumulate, int factor) {
  const int64_t lda = (transposed ? m : k) + 3, ldb = n + 5, ldc = n + 2;
  const auto a = integers<T>((transposed ? k : m) * lda, 1), b = integers<T>(k * ldb, 2);
  const auto before = integers<product_t<T>>((m + 1) * ldc, 3);
  auto c = before;
  const Strides2 sa = transposed ? Strides2{1, lda} : Strides2{lda, 1};
  gemm_small<T>(m, n, k, a.data(), sa, b.data(), ldb, c.data(), ldc, accumulate, product_t<T>(factor));
  for (int64_t i = 0; i <= m; ++i)
    for (int64_t j = 0; j < ldc; ++j) {
      product_t<T> want = before[size_t(i * ldc + j)];
      if (i < m && j < n) {
        product_t<T> sum = 0;
        for (int64_t p = 0; p < k; ++p) sum += product(a[size_t(i * sa.row + p * sa.column)], b[size_t(p * ldb + j)]);
        want = product_t<T>(factor) * sum + (accumulate ? want : 0);
      }
      if (c[size_t(i * ldc + j)] != want) return false;
    }
  return true;
}

template <class T>
void check_products() {
  for (int64_t m : {1, 2, 3, 4, 5, 6, 7, 13, 16, 17})
    for (int64_t n : {1, 2, 7, 8, 15, 16, 17, 31, 33, 48, 61, 64, 65, 197})
      for (int64_t k : {0, 1, 64})
        for (int bits = 0; bits < 4; ++bits) {
          INFO("m " << m << " n " << n << " k " << k << " transposed " << (bits & 1) << " accumulate " << (bits >> 1));
          CHECK(product_is_exact<T>(m, n, k, bits & 1, bits >> 1, bits == 2 ? 1 : 3));
        }
  for (int bits = 0; bits < 4; ++bits)  // several tiles high and deep
    for (int64_t k : {16, 23, 256, 300}) CHECK(product_is_exact<T>(35, 39, k, bits & 1, bits >> 1, 3));
}

/// A copy of `values` whose end is the end of readable memory.
template <class T>
class Guarded {
 public:
  explicit Guarded(const std::vector<T>& values) {
    const size_t bytes = values.size() * sizeof(T);
    size_ = (bytes + kPage - 1) / kPage * kPage;
    pages_ = static_cast<std::byte*>(
        mmap(nullptr, size_ + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REQUIRE(pages_ != MAP_FAILED);
    REQUIRE(mprotect(pages_ + size_, kPage, PROT_NONE) == 0);
    data_ = reinterpret_cast<T*>(pages_ + size_ - bytes);
    std::copy(values.begin(), values.end(), data_);
  }
  ~Guarded() { munmap(pages_, size_ + kPage); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  const T* data() const { return data_; }

 private:
  static constexpr size_t kPage = 65536;  // of any processor's
  size_t size_;
  std::byte* pages_;
  T* data_;
};

/// Factors without gaps that end where memory ends: a product that reads behind one crashes.
template <class T>
void check_reads() {
  for (int64_t m : {1, 7, 19})
    for (int64_t n : {1, 16, 21})
      for (int64_t k : {1, 16, 37})
        for (bool transposed : {false, true}) {
          const Guarded<T> a(integers<T>(m * k, 1)), b(integers<T>(k * n, 2));
          std::vector<product_t<T>> c(size_t(m * n));
          gemm_small<T>(m, n, k, a.data(), transposed ? Strides2{1, m} : Strides2{k, 1}, b.data(), n, c.data(), n,
                        false);
          CHECK(c[0] == c[0]);
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
  check_products<Bf16Pair>();
}

TEST_CASE("small products read nothing behind their factors", "[unit]") {
  check_reads<float>();
  check_reads<double>();
  check_reads<Bf16Pair>();
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

TEST_CASE("rounding to pairs of bf16 is bf16's own", "[unit]") {
  constexpr int n = simd::kLanes<float>;
  const float special[] = {0.f, -0.f, INFINITY, -INFINITY, NAN, 1.00390625f, 1.01171875f, 3.4e38f};
  for (uint32_t round = 0; round < 1000; ++round) {
    simd::Vec<float> x, y;
    for (int i = 0; i < n; ++i) {
      const uint32_t r = (round * n + uint32_t(i)) * 2654435761u;
      x[i] = round ? bits::to_float((r & 0x8FFFFFFFu) | 0x30000000u) : special[i % 8];
      y[i] = round ? bits::to_float((r * 31u & 0x8FFFFFFFu) | 0x30000000u) : special[(i + 3) % 8];
    }
    const auto pairs = simd::round_pairs(x, y), neighbours = simd::round_neighbours(x, y);
    std::array<bf16, 2 * n> in_order;
    std::memcpy(in_order.data(), &neighbours, sizeof neighbours);
    for (int i = 0; i < n; ++i) {
      INFO(x[i] << " and " << y[i]);
      CHECK(pairs[i] == (bf16(x[i]).bits | uint32_t(bf16(y[i]).bits) << 16));
      CHECK(in_order[size_t(i)].bits == bf16(x[i]).bits);
      CHECK(in_order[size_t(n + i)].bits == bf16(y[i]).bits);
    }
  }
}
