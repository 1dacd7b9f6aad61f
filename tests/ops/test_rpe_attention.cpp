#include <cmath>
#include <set>

#include "core/cuda/kernel_hook.h"
#include "core/random.h"
#include "ops/attention/attention.h"
#include "ops/rpe_attention/rpe_attention.h"
#include "tests/support/catch.h"
#include "tests/support/evaluate.h"

using namespace vitrine;
using namespace vitrine::ops;

/// The equations of the paper's supplement, written out: what the sweep's definition is held against.
namespace {

struct Case {
  RpeAttentionOptions options;
  Tensor q, k, v;
};

Case make_case(const char* rpe, int64_t height, int64_t width, int64_t skip, int64_t heads = 2, int64_t d = 3) {
  Generator g{11, 0};
  const int64_t n = skip + height * width;
  const auto normal = [&](const Shape& shape) { return random_normal(shape, g, 0, 1, {.dtype = Dtype::f64}); };
  Case c{{.rpe = *parse_rpe(rpe), .height = height, .width = width, .skip = skip}, {}, {}, {}};
  const RpeConfig& config = c.options.rpe;
  c.q = normal({1, heads, n, d}), c.k = normal({1, heads, n, d}), c.v = normal({1, heads, n, d});
  const int64_t ht = config.shared ? 1 : heads, buckets = rpe_buckets(config, skip);
  const Shape table = config.mode == RpeMode::bias ? Shape{ht, buckets} : Shape{ht, d, buckets};
  for (int64_t t = 0; t < config.tables(); ++t) {
    if (config.on_q) c.options.tables.q.push_back(normal(table));
    if (config.on_k) c.options.tables.k.push_back(normal(table));
    if (config.on_v) c.options.tables.v.push_back(normal({ht, buckets, d}));
  }
  return c;
}

/// Element [i0, i1, ...] of a contiguous tensor; a leading dim of size 1 is shared.
double at(const Tensor& t, std::initializer_list<int64_t> place) {
  static std::vector<double> values;
  values = t.contiguous().to_vector();
  int64_t flat = 0;
  size_t dim = 0;
  for (int64_t i : place) flat = flat * t.size(int64_t(dim)) + (t.size(int64_t(dim)) == 1 ? 0 : i), ++dim;
  return values[size_t(flat)];
}

/// The encoding's part of the logit of (i, j) in head h.
double rpe_logit(const Case& c, int64_t h, int64_t i, int64_t j, double scale) {
  const RpeConfig& rpe = c.options.rpe;
  double sum = 0;
  const auto& indices = rpe_indices(rpe, c.options.height, c.options.width, c.options.skip, Device::cpu());
  for (size_t t = 0; t < indices.size(); ++t) {
    const auto id = int64_t(at(indices[t].ids(), {i, j})), mirrored = int64_t(at(indices[t].ids(), {j, i}));
    if (rpe.mode == RpeMode::bias) {
      if (rpe.on_k) sum += at(c.options.tables.k[t], {h, id});
      if (rpe.on_q) sum += at(c.options.tables.q[t], {h, mirrored});
      continue;
    }
    for (int64_t e = 0; e < c.q.size(3); ++e) {
      if (rpe.on_k) sum += scale * at(c.q, {0, h, i, e}) * at(c.options.tables.k[t], {h, e, id});
      if (rpe.on_q) sum += scale * at(c.k, {0, h, j, e}) * at(c.options.tables.q[t], {h, e, mirrored});
    }
  }
  return sum;
}

void check_case(const char* rpe, int64_t height, int64_t width, int64_t skip) {
  INFO(rpe);
  const Case c = make_case(rpe, height, width, skip);
  const RpeAttentionTerms terms = rpe_attention_unfused(c.q, c.k, c.v, c.options);
  const Tensor fused = rpe_attention(c.q, c.k, c.v, c.options);
  const auto& indices = rpe_indices(c.options.rpe, height, width, skip, Device::cpu());
  const int64_t n = c.q.size(2), d = c.q.size(3);
  const double scale = 1 / std::sqrt(double(d));
  for (int64_t h = 0; h < 2; ++h) {
    for (int64_t i = 0; i < n; ++i) {
      std::vector<double> p, out(static_cast<size_t>(d));
      double total = 0;
      for (int64_t j = 0; j < n; ++j) {
        double content = 0;
        for (int64_t e = 0; e < d; ++e) content += scale * at(c.q, {0, h, i, e}) * at(c.k, {0, h, j, e});
        const double encoded = rpe_logit(c, h, i, j, scale);
        CHECK(std::abs(at(terms.content, {0, h, i, j}) - content) < 1e-12);
        if (terms.rpe.defined()) {
          const Tensor r = terms.rpe.expand({1, 2, n, n});
          CHECK(std::abs(at(r, {0, h, i, j}) - encoded) < 1e-12);
        }
        p.push_back(std::exp(content + encoded));
        total += p.back();
      }
      for (int64_t j = 0; j < n; ++j) {
        p[size_t(j)] /= total;
        CHECK(std::abs(at(terms.probabilities, {0, h, i, j}) - p[size_t(j)]) < 1e-12);
        for (int64_t e = 0; e < d; ++e) {
          double value = at(c.v, {0, h, j, e});
          for (size_t t = 0; c.options.rpe.on_v && t < indices.size(); ++t)
            value += at(c.options.tables.v[t], {h, int64_t(at(indices[t].ids(), {i, j})), e});
          out[size_t(e)] += p[size_t(j)] * value;
        }
      }
      for (int64_t e = 0; e < d; ++e) {
        CHECK(std::abs(at(terms.out, {0, h, i, e}) - out[size_t(e)]) < 1e-12);
        CHECK(std::abs(at(fused, {0, h, i, e}) - out[size_t(e)]) < 1e-12);
      }
    }
  }
}

}  // namespace

TEST_CASE("rpe_attention and its terms are the paper's equations", "[unit]") {
  check_case("rpe-1.9-product-ctx-1-qkv", 3, 2, 1);
  check_case("rpe-1.9-product-ctx-0-q", 2, 3, 0);
  check_case("rpe-1.9-cross-ctx-0-qkv", 3, 2, 2);
  check_case("rpe-1.9-cross-bias-0-qk", 2, 3, 1);
  check_case("rpe-1.9-quant-ctx-1-v", 2, 2, 1);
}

TEST_CASE("rpe_attention without an encoding is attention", "[unit]") {
  Case c = make_case("rpe-1.9-product-ctx-1-k", 2, 3, 1);
  c.options = {};
  c.options.rpe.on_k = false;
  CHECK(rpe_attention(c.q, c.k, c.v, c.options).to_vector() == attention(c.q, c.k, c.v).to_vector());
  const RpeAttentionTerms terms = rpe_attention_unfused(c.q, c.k, c.v, c.options);
  CHECK_FALSE(terms.rpe.defined());
}

TEST_CASE("zero tables change nothing", "[unit]") {
  Case c = make_case("rpe-1.9-product-ctx-1-qkv", 5, 4, 1);
  for (auto* tables : {&c.options.tables.q, &c.options.tables.k, &c.options.tables.v}) (*tables)[0].zero_();
  const std::vector<double> out = rpe_attention(c.q, c.k, c.v, c.options).to_vector(),
                            plain = attention(c.q, c.k, c.v).to_vector();
  for (size_t i = 0; i < out.size(); ++i) CHECK(std::abs(out[i] - plain[i]) < 1e-14);
}

namespace {

Case moved(Case c, Dtype dtype, Device device) {
  for (Tensor* x : {&c.q, &c.k, &c.v}) *x = x->to(dtype).to(device);
  for (auto* tables : {&c.options.tables.q, &c.options.tables.k, &c.options.tables.v})
    for (Tensor& x : *tables) x = x.to(dtype).to(device);
  return c;
}

std::set<std::string> launched;

/// The kernels of attention's own that a forward and backward pass of `c` launches.
std::set<std::string> kernels_of(Case c) {
  for (Tensor* x : {&c.q, &c.k, &c.v}) x->set_requires_grad();
  for (auto* tables : {&c.options.tables.q, &c.options.tables.k, &c.options.tables.v})
    for (Tensor& x : *tables) x.set_requires_grad();
  launched.clear();
  trace::kernel_hook = [](const char* name) {
    const std::string text = name;
    if (text.rfind("attention_", 0) == 0 && text != "attention_delta") launched.insert(text);
  };
  const Tensor out = rpe_attention(c.q, c.k, c.v, c.options);
  out.backward({.gradient = full(out.shape(), 1, out.options())});
  trace::kernel_hook = nullptr;
  return launched;
}

}  // namespace

TEST_CASE("rpe_attention runs on tensor cores where they apply, else on the plain kernels", "[unit][emulated]") {
  const std::set<std::string> mma{"attention_forward_mma", "attention_dq_mma", "attention_dkv_mma"};
  const std::set<std::string> plain{"attention_forward", "attention_dq", "attention_dkv"};
  const auto kernels = [](const char* rpe, int64_t height, int64_t width, int64_t d, Dtype dtype) {
    return kernels_of(moved(make_case(rpe, height, width, 1, 1, d), dtype, Device::emulated()));
  };
  for (const char* method : {"product", "euc", "quant", "cross"})
    for (const char* mode : {"ctx-1-qkv", "ctx-0-k", "bias-1-qk"})
      for (const int64_t d : {32, 64}) {
        const std::string rpe = std::string("rpe-1.9-") + method + "-" + mode;
        INFO(rpe << ", head size " << d);
        CHECK(kernels(rpe.c_str(), 2, 3, d, Dtype::bf16) == mma);
      }
  CHECK(kernels("rpe-1.9-product-ctx-1-qkv", 2, 3, 32, Dtype::f32) == plain);
  CHECK(kernels("rpe-1.9-product-ctx-1-qkv", 2, 3, 48, Dtype::bf16) == plain);
  // More buckets in use than shared memory holds. (Of all buckets the presets below have as many.)
  CHECK(kernels("rpe-7.0-product-ctx-1-qkv", 7, 8, 32, Dtype::bf16) == plain);
  for (const char* rpe : {"rpe-20.0-euc-ctx-1-qkv", "rpe-33.0-quant-ctx-1-qkv", "rpe-20.0-cross-ctx-1-qk"})
    CHECK(kernels(rpe, 14, 14, 64, Dtype::bf16) == mma);
}

TEST_CASE("rpe_attention keeps to its memory where grid rows end behind those of scores", "[unit]") {
  const Case c = make_case("rpe-1-cross-ctx-1-v", 2, 18, 0);  // 36 keys and 8 buckets: vectors of keys go to 50 of 48
  RpeAttentionOptions options = c.options;
  for (Tensor& table : options.tables.v) table = table.to(Dtype::f32);
  const auto single = [](const Tensor& x) { return x.to(Dtype::f32); };
  const Tensor out = rpe_attention(single(c.q), single(c.k), single(c.v), options);
  const Tensor expected = rpe_attention(c.q, c.k, c.v, c.options);
  const std::vector<double> got = out.to_vector(), want = expected.to_vector();
  for (size_t i = 0; i < want.size(); ++i) CHECK(got[i] == Approx(want[i]).margin(1e-5));
}

TEST_CASE("one bucket for all keys is no encoding", "[unit][emulated]") {
  // scale q_i.Wk[:, 0] is the same for all j, and a softmax does not see it.
  for (const auto& [dtype, device, tolerance] :
       {std::tuple(Dtype::f64, Device::cpu(), 1e-14), std::tuple(Dtype::f32, Device::emulated(), 1e-6),
        std::tuple(Dtype::bf16, Device::emulated(), 1e-2)}) {
    const Case c = moved(make_case("rpe-0.4-product-ctx-1-k", 3, 6, 0, 2, 32), dtype, device);
    REQUIRE(rpe_buckets(c.options.rpe, 0) == 1);
    CHECK(testing::compare(attention(c.q, c.k, c.v), rpe_attention(c.q, c.k, c.v, c.options), tolerance) == "");
  }
}

TEST_CASE("the gradient of the table of q does not need others wanted", "[unit][emulated]") {
  const Case c = moved(make_case("rpe-1.9-product-ctx-1-q", 5, 8, 1, 2, 8), Dtype::f32, Device::emulated());
  const auto gradient = [&](bool others) {
    const auto call = [&](const testing::Inputs& in) -> testing::Outputs {
      RpeAttentionOptions o = c.options;
      o.tables.q = {in[3]};
      return rpe_attention(in[0], in[1], in[2], o);
    };
    return testing::evaluate(call, {c.q, c.k, c.v, c.options.tables.q[0]}, {others, others, others, true},
                             testing::random_cotangents({c.q}, Dtype::f32, 3))
        .gradients[3];
  };
  CHECK(testing::compare_bits(gradient(true), gradient(false)) == "");
}

TEST_CASE("rpe_attention on a 56 x 56 grid", "[slow][emulated]") {
  // N = 3136: ids and windows of a large grid, 49 tiles.
  const Case c = moved(make_case("rpe-1.9-product-ctx-1-qkv", 56, 56, 0, 1, 64), Dtype::bf16, Device::cpu());
  const auto pass = [&](Dtype dtype, Device device, auto run) {
    Case x = moved(c, dtype, device);
    testing::Inputs in{x.q, x.k, x.v, x.options.tables.q[0], x.options.tables.k[0], x.options.tables.v[0]};
    const auto call = [&](const testing::Inputs& leaves) -> testing::Outputs {
      x.options.tables = {{leaves[3]}, {leaves[4]}, {leaves[5]}};
      return run(leaves[0], leaves[1], leaves[2], x.options);
    };
    const std::vector<Tensor> cotangents = testing::random_cotangents({c.q}, Dtype::bf16, 3);
    return testing::evaluate(call, in, std::vector<bool>(6, true), {cotangents[0].to(dtype).to(device)});
  };
  const auto unfused = [](const Tensor& q, const Tensor& k, const Tensor& v, const RpeAttentionOptions& o) {
    return rpe_attention_unfused(q, k, v, o).out;
  };
  const testing::Evaluation expected = pass(Dtype::f32, Device::cpu(), unfused);
  const auto check_near = [&](const testing::Evaluation& got, double tolerance) {
    CHECK(testing::compare_norms(expected.outputs[0], got.outputs[0], tolerance, 0) == "");
    for (size_t i = 0; i < 6; ++i) {
      INFO("gradient " << i);
      CHECK(testing::compare_norms(expected.gradients[i], got.gradients[i], tolerance, 0) == "");
    }
  };
  check_near(pass(Dtype::f32, Device::cpu(), rpe_attention), 1e-5);
  check_near(pass(Dtype::bf16, Device::emulated(), rpe_attention), 3e-2);
}
