#include <tuple>

#include "core/allocator.h"
#include "core/autograd.h"
#include "core/trace.h"
#include "ops/attention/attention.h"
#include "ops/concat/concat.h"
#include "ops/rpe_attention/rpe_attention.h"
#include "tests/support/catch.h"

namespace vitrine {
namespace {

struct Usage {
  int64_t largest_block, peak;
};

enum class Form { fused, unfused, rpe, rpe_unfused };

/// The largest block and the peak above the start of one forward and backward pass of 2 samples, 4 heads and n tokens,
/// which with rpe are a row of the grid.
Usage usage(Device device, Dtype dtype, int64_t n, Form form) {
  const int64_t b = 2, h = 4, d = 32;
  Generator generator{3, 0};
  Tensor q, k, v, dout;
  {
    const NoGrad no_grad;
    const auto draw = [&] { return random_normal({b, h, n, d}, generator).to(dtype).to(device); };
    q = draw(), k = draw(), v = draw(), dout = draw();
  }
  ops::RpeAttentionOptions rpe{.rpe = *ops::parse_rpe("rpe-1.9-product-ctx-1-qkv"), .height = n / 26, .width = 26};
  const bool with_rpe = form == Form::rpe || form == Form::rpe_unfused;
  if (with_rpe) {
    const NoGrad no_grad;
    const auto table = [&](const Shape& shape) { return random_normal(shape, generator).to(dtype).to(device); };
    rpe.tables = {{table({1, d, 49})}, {table({1, d, 49})}, {table({1, 49, d})}};
    for (auto* tables : {&rpe.tables.q, &rpe.tables.k, &rpe.tables.v}) tables->front().set_requires_grad();
    ops::rpe_attention(q, k, v, rpe);  // ids are kept from here on
  }
  for (Tensor* x : {&q, &k, &v}) x->set_requires_grad();
  Allocator& memory = allocator(device);
  const int64_t before = memory.stats().live_bytes;
  memory.reset_peak();
  const Tensor out = form == Form::fused     ? ops::attention(q, k, v)
                     : form == Form::unfused ? ops::attention_unfused(q, k, v).out
                     : form == Form::rpe     ? ops::rpe_attention(q, k, v, rpe)
                                             : ops::rpe_attention_unfused(q, k, v, rpe).out;
  out.backward({.gradient = dout});
  const MemoryStats stats = memory.stats();
  return {stats.largest_block, stats.peak_bytes - before};
}

}  // namespace

TEST_CASE("fused attention makes no score tensor on the cpu", "[unit]") {
  for (const auto& [n, form, definition] :
       {std::tuple(int64_t(401), Form::fused, Form::unfused), {int64_t(390), Form::rpe, Form::rpe_unfused}}) {
    INFO(n);
    const int64_t scores = 2 * 4 * n * n * 4, tokens = 2 * 4 * n * 32 * 4;
    const Usage fused = usage(Device::cpu(), Dtype::f32, n, form),
                plain = usage(Device::cpu(), Dtype::f32, n, definition);
    // The largest block of the fused form is a thread's scratch for one head: its rows, and blocks of query rows.
    CHECK(fused.largest_block < scores / 4);
    CHECK(fused.peak < scores + 4 * tokens);
    // The measurement can see a score tensor.
    CHECK(plain.largest_block >= scores);
    CHECK(plain.peak > fused.peak);
  }
}

TEST_CASE("fused attention makes nothing larger than its inputs in device memory", "[unit][emulated]") {
  const int64_t n = 130, tokens = 2 * 4 * n * 32;
  for (const auto& [dtype, bytes] : {std::pair(Dtype::f32, int64_t(4)), std::pair(Dtype::bf16, int64_t(2))}) {
    const Usage fused = usage(Device::emulated(), dtype, n, Form::fused);
    CHECK(fused.largest_block <= tokens * bytes + 4096);
    CHECK(fused.largest_block < 2 * 4 * n * n * bytes);
  }
}

TEST_CASE("rpe_attention makes no score tensor in device memory", "[unit][emulated]") {
  const int64_t n = 130, buckets = 49;
  for (const auto& [dtype, bytes] : {std::pair(Dtype::f32, int64_t(4)), std::pair(Dtype::bf16, int64_t(2))}) {
    const Usage fused = usage(Device::emulated(), dtype, n, Form::rpe);
    CHECK(fused.largest_block <= 2 * 4 * n * buckets * 4 + 4096);
    CHECK(fused.largest_block < 2 * 4 * n * n * bytes);
  }
}

TEST_CASE("the gradients of thirds of a projection are thirds of one tensor", "[unit][emulated]") {
  const int64_t b = 2, h = 3, n = 5, d = 8, dim = h * d;
  const std::vector<int64_t> sizes = {dim, dim, dim};
  const auto parse = [](const char* text) { return *ops::parse_rpe(text); };
  for (const Device device : {Device::cpu(), Device::emulated()})
    for (const bool rpe : {false, true}) {
      INFO(to_string(device) << (rpe ? " rpe_attention" : " attention"));
      Generator rng{5, 0};
      const Tensor values = random_normal({b, n, 3 * dim}, rng).to(device);
      const Tensor table = random_normal({1, d, 50}, rng).to(device),
                   dout = random_normal({b, h, n, d}, rng).to(device);
      // With `apart` q, k, v are copies, whose gradients are put together by a concat.
      const auto gradient = [&](bool apart, bool* concatenated) {
        Tensor x = values.detach();
        x.set_requires_grad();
        std::vector<Tensor> parts;
        for (const Tensor& part : ops::split(x, sizes, 2)) {
          const Tensor heads = part.view({b, n, h, d}).permute({0, 2, 1, 3});
          parts.push_back(apart ? heads.clone() : heads);
        }
        const Tensor y = rpe ? ops::rpe_attention(parts[0], parts[1], parts[2],
                                                  {.rpe = parse("rpe-1.9-product-ctx-1-k"),
                                                   .height = 2,
                                                   .width = 2,
                                                   .skip = 1,
                                                   .tables = {{}, {table}, {}}})
                             : ops::attention(parts[0], parts[1], parts[2]);
        const trace::Recorder recorder;
        y.backward({.gradient = dout});
        *concatenated = false;
        for (const trace::Event& e : recorder.events()) *concatenated = *concatenated || e.name == "concat";
        return x.grad().to_vector();
      };
      bool concatenated = false;
      const std::vector<double> expected = gradient(true, &concatenated);
      CHECK(concatenated);
      CHECK(gradient(false, &concatenated) == expected);
      CHECK(!concatenated);
    }
}

TEST_CASE("attention drops the weights that dropout drops", "[unit][emulated]") {
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
