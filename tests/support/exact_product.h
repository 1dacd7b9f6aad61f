#pragma once
#include <random>
#include <vector>

#include "ops/matmul/gemm_desc.h"
#include "tests/support/threads.h"

/// What the tests of matrix products on raw memory share.
namespace vitrine::testing {

/// Small integers: sums up to 1000 products of them are exact in float, so results are compared with ==.
template <class T>
std::vector<T> integers(int64_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<T> v;
  for (int64_t i = 0; i < size; ++i) v.push_back(T(float(int(random() % 7) - 3)));
  return v;
}

/// Elements from the first one of `x` to its last one.
inline int64_t extent(const GemmDesc& d, const GemmOperand& x, int64_t rows, int64_t columns) {
  if (rows * columns * d.batch_count() == 0) return 1;
  return d.batch_offset(x, d.batch_count() - 1) + (rows - 1) * x.row + (columns - 1) * x.column + 1;
}

/// Whether run(d, a, b, bias, c) gives what plain loops give, in all of c's memory: between its rows and behind it too.
template <class T, class C, class Bias = C, class F>
bool is_exact(const GemmDesc& d, F run) {
  constexpr int64_t kBehind = 64;
  const auto a = integers<T>(extent(d, d.a, d.m, d.k), 1), b = integers<T>(extent(d, d.b, d.k, d.n), 2);
  const auto bias = integers<Bias>(d.n + 1, 3);
  auto c = integers<C>(extent(d, d.c, d.m, d.n) + kBehind, 4), want = c;
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
  run(d, a.data(), b.data(), bias.data(), c.data());
  for (size_t i = 0; i < c.size(); ++i)
    if (double(c[i]) != double(want[i])) return false;
  return true;
}

/// Whether run(d, a, b, c) gives the same bits on 1, 2, 3 and 8 threads, for factors whose sums round.
template <class T, class F>
bool same_on_any_threads(const GemmDesc& d, F run) {
  std::mt19937 random(7);
  std::vector<T> a(size_t(extent(d, d.a, d.m, d.k))), b(size_t(extent(d, d.b, d.k, d.n)));
  for (auto* v : {&a, &b})
    for (T& x : *v) x = T(float(random()) * 0x1p-32f - 0.5f);
  const auto run_with = [&](int threads) {
    const ThreadsGuard guard(threads);
    std::vector<T> c(size_t(extent(d, d.c, d.m, d.n)));
    run(d, a.data(), b.data(), c.data());
    return std::vector<float>(c.begin(), c.end());
  };
  const auto one = run_with(1);
  for (int threads : {2, 3, 8})
    if (run_with(threads) != one) return false;
  return true;
}

}  // namespace vitrine::testing
