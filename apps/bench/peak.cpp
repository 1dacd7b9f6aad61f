#include "apps/bench/peak.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "apps/bench/timing.h"
#include "core/parallel.h"
#include "core/tensor.h"
#include "core/vector_math.h"
#include "ops/matmul/onednn.h"

namespace vitrine::apps {
namespace {

using Vector = simd::Vec<float>;
constexpr int kLanes = simd::kLanes<float>;
constexpr int kRounds = 9;

/// Runs 12 independent chains of multiply-adds: enough to hide a latency of 4 cycles at 2 a cycle. Their starts differ,
/// or the compiler would make one of them, and each is one instruction whatever the program is compiled with.
float multiply_add_chains(int64_t steps, float seed) {
  const Vector a = Vector{} + 0.999f, b = Vector{} + seed;
  std::array<Vector, 12> c;
  for (size_t i = 0; i < c.size(); ++i) c[i] = b * float(i + 1);
  for (int64_t s = 0; s < steps; ++s) {
#pragma GCC unroll 12
    for (Vector& x : c) x = vm::detail::fma(x, a, b);
  }
  Vector sum{};
  for (const Vector& x : c) sum += x;
  return sum[0] + sum[kLanes - 1];
}

double best_ms(const std::function<void()>& work) {
  double best = INFINITY;
  for (int round = 0; round < kRounds; ++round)
    best = std::min(best, time_calls(
                              work, [] {}, false, 20));
  return best;
}

double measure_f32() {
  constexpr int64_t kSteps = 200'000;
  const int threads = num_threads();
  std::vector<float> sink(static_cast<size_t>(threads) * 16);
  const double ms = best_ms([&] {
    parallel_for(threads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        sink[size_t(i) * 16] = multiply_add_chains(kSteps, sink[size_t(i) * 16] + 1e-3f);
    });
  });
  return double(threads) * double(kSteps) * 12 * kLanes * 2 / (ms * 1e-3);
}

double measure_bf16() {
  double best = 0;
  for (const int64_t n : {512, 1024}) {
    Tensor a = zeros({n, n}, {.dtype = Dtype::bf16}), b = zeros({n, n}, {.dtype = Dtype::bf16}),
           c = zeros({n, n}, {.dtype = Dtype::bf16});
    a.fill_(0.5), b.fill_(0.25);
    GemmDesc desc{.m = n, .n = n, .k = n};
    desc.a = desc.b = desc.c = {.type = Dtype::bf16, .row = n};
    void* out = c.raw_mutable_data();
    const double ms = best_ms([&] { onednn::gemm(desc, a.raw_data(), b.raw_data(), nullptr, out); });
    best = std::max(best, 2 * std::pow(double(n), 3) / (ms * 1e-3));
  }
  return best;
}

double measure_bandwidth(int64_t bytes) {
  const int64_t n = std::max<int64_t>(1, bytes / int64_t(2 * sizeof(Vector)));
  std::vector<Vector> x(static_cast<size_t>(n), Vector{} + 1), y(static_cast<size_t>(n));
  constexpr int64_t kGrain = 16384 / sizeof(Vector);
  const double ms = best_ms([&] {
    parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) y[size_t(i)] = x[size_t(i)] * 0.5f;
    });
  });
  return double(n) * 2 * sizeof(Vector) / (ms * 1e-3);
}

}  // namespace

double Peaks::flops(Dtype dtype) {
  const auto [at, is_new] = flops_.try_emplace(dtype, 0);
  if (is_new) at->second = dtype == Dtype::bf16 ? measure_bf16() : measure_f32();
  return at->second;
}

double Peaks::bandwidth(double bytes) {
  constexpr int kSmallest = 14, kLargest = 28;  // 16 KiB to 256 MiB
  const int size = std::clamp(int(std::lround(std::log2(std::max(bytes, 1.0)))), kSmallest, kLargest);
  const auto [at, is_new] = bandwidth_.try_emplace(size, 0);
  if (is_new) at->second = measure_bandwidth(int64_t(1) << size);
  return at->second;
}

double Peaks::dram() {
  if (dram_ == 0) dram_ = measure_bandwidth(int64_t(1) << 29);
  return dram_;
}

double Peaks::percent(double flops_count, double bytes, Dtype dtype, double ms) {
  const double by_flops = is_product(flops_count, bytes) ? flops_count / flops(dtype) : 0;
  return 100 * std::max(by_flops, bytes / bandwidth(bytes)) / (ms * 1e-3);
}

}  // namespace vitrine::apps
