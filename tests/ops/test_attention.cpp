#include "core/allocator.h"
#include "core/autograd.h"
#include "ops/attention/attention.h"
#include "tests/support/catch.h"

namespace vitrine {
namespace {

struct Usage {
  int64_t largest_block, peak;
};

/// The largest block and the peak above the start of one forward and backward pass of 2 samples, 4 heads and n tokens.
Usage usage(Device device, Dtype dtype, int64_t n, bool unfused) {
  const int64_t b = 2, h = 4, d = 32;
  Generator generator{3, 0};
  Tensor q, k, v, dout;
  {
    const NoGrad no_grad;
    const auto draw = [&] { return random_normal({b, h, n, d}, generator).to(dtype).to(device); };
    q = draw(), k = draw(), v = draw(), dout = draw();
  }
  for (Tensor* x : {&q, &k, &v}) x->set_requires_grad();
  Allocator& memory = allocator(device);
  const int64_t before = memory.stats().live_bytes;
  memory.reset_peak();
  const Tensor out = unfused ? ops::attention_unfused(q, k, v).out : ops::attention(q, k, v);
  out.backward({.gradient = dout});
  const MemoryStats stats = memory.stats();
  return {stats.largest_block, stats.peak_bytes - before};
}

}  // namespace

TEST_CASE("fused attention makes no score tensor on the cpu", "[unit]") {
  const int64_t n = 401, scores = 2 * 4 * n * n * 4, tokens = 2 * 4 * n * 32 * 4;
  const Usage fused = usage(Device::cpu(), Dtype::f32, n, false), plain = usage(Device::cpu(), Dtype::f32, n, true);
  // The largest block of the fused form is a thread's scratch for one head: its rows, and blocks of query rows.
  CHECK(fused.largest_block < scores / 4);
  CHECK(fused.peak < scores + 4 * tokens);
  // The measurement can see a score tensor.
  CHECK(plain.largest_block >= scores);
  CHECK(plain.peak > fused.peak);
}

TEST_CASE("fused attention makes nothing larger than its inputs in device memory", "[unit]") {
  const int64_t n = 130, tokens = 2 * 4 * n * 32;
  for (const auto& [dtype, bytes] : {std::pair(Dtype::f32, int64_t(4)), std::pair(Dtype::bf16, int64_t(2))}) {
    const Usage fused = usage(Device::emulated(), dtype, n, false);
    CHECK(fused.largest_block <= tokens * bytes + 4096);
    CHECK(fused.largest_block < 2 * 4 * n * n * bytes);
  }
}

TEST_CASE("attention drops the weights that dropout drops", "[unit]") {
  // With one query, and the unit vectors as values, the result is the row of dropped probabilities.
  const int64_t n = 32;
  std::vector<double> identity(n * n);
  for (int64_t i = 0; i < n; ++i) identity[i * n + i] = 1;
  Generator generator{9, 0};
  const NoGrad no_grad;
  const Tensor q = random_normal({1, 1, 5, n}, generator), k = random_normal({1, 1, n, n}, generator);
  const Tensor v = from_vector(identity, {1, 1, n, n});
  const RandomDraw draw{11, 4};
  const ops::AttentionWeights plain = ops::attention_unfused(q, k, v, {.dropout = 0.4, .draw = draw});
  for (Device device : {Device::cpu(), Device::emulated()}) {
    const Tensor out = ops::attention(q.to(device), k.to(device), v.to(device), {.dropout = 0.4, .draw = draw});
    const std::vector<double> got = out.to_vector(), p = plain.probabilities.to_vector();
    int64_t dropped = 0;
    for (int64_t i = 0; i < 5 * n; ++i) {
      const bool kept = draw.uniform(i) >= 0.4f;
      dropped += !kept;
      CHECK(got[i] == Catch::Approx(kept ? p[i] / 0.6 : 0.0).epsilon(1e-5));
    }
    CHECK(dropped > 40);
    CHECK(dropped < 90);
  }
}

}  // namespace vitrine
