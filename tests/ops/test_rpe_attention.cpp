#include <cmath>

#include "core/random.h"
#include "ops/attention/attention.h"
#include "ops/rpe_attention/rpe_attention.h"
#include "tests/support/catch.h"

using namespace vitrine;
using namespace vitrine::ops;

/// The equations of the paper's supplement, written out: what the sweep's definition is held against.
namespace {

struct Case {
  RpeAttentionOptions options;
  Tensor q, k, v;
};

Case make_case(const char* rpe, int64_t height, int64_t width, int64_t skip) {
  Generator g{11, 0};
  const int64_t heads = 2, d = 3, n = skip + height * width;
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
