#include <cmath>

#include "ops/attention/attention.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

ops::AttentionOptions options(const Inputs& in, const Attributes& a) {
  ops::AttentionOptions o{.bias = in[3], .mask = in[4], .dropout = a.number("dropout", 0)};
  if (a.find("scale")) o.scale = a.number("scale");
  o.draw = {uint64_t(a.integer("seed", 0)), uint64_t(a.integer("offset", 0))};
  return o;
}

/// [rows, cols] where query i sees the keys up to i + shift; with shift < 0 the first queries see none.
Tensor causal(int64_t rows, int64_t cols, int64_t shift) {
  std::vector<double> seen;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j) seen.push_back(j <= i + shift);
  return from_vector(seen, {rows, cols}, {.dtype = Dtype::boolean});
}

std::vector<Sample> samples(Maker& m) {
  const auto qkv = [&m](int64_t b, int64_t h, int64_t lq, int64_t lk, int64_t d) -> Inputs {
    return {m.normal({b, h, lq, d}), m.normal({b, h, lk, d}), m.normal({b, h, lk, d})};
  };
  const auto with = [](Inputs in, Tensor bias, Tensor mask) {
    in.push_back(std::move(bias));
    in.push_back(std::move(mask));
    return in;
  };
  const Attributes none, dropped{{"dropout", 0.3}, {"seed", 5}, {"offset", 2}};
  const Tensor padding = from_vector({1, 1, 1, 0, 1, 0, 1, 1, 0, 0}, {2, 1, 1, 5}, {.dtype = Dtype::boolean});
  const Tensor minus = full({3}, -INFINITY, {.dtype = Dtype::f64});
  // A sum over L, each term of which is itself a rounded sum over L or D: k is their total.
  return {
      Sample(qkv(2, 3, 5, 5, 4), none, "plain").reduces(32),
      Sample(with(qkv(2, 2, 3, 5, 8), m.normal({2, 3, 5}), padding), {{"scale", 0.7}}, "bias, key padding, scale")
          .reduces(64),
      Sample(with(qkv(2, 2, 4, 4, 3), m.normal({2, 1, 4, 4}), {}), none, "bias per sample").reduces(32),
      Sample(with(qkv(1, 2, 6, 3, 5), m.normal({6, 1}), causal(6, 3, -2)), none, "rows that see no key").reduces(32),
      Sample(qkv(1, 1, 17, 16, 32), none, "one more row than a fragment").reduces(128),
      Sample(with(qkv(1, 1, 16, 65, 32), m.normal({1, 65}), {}), none, "one more key than a tile").reduces(256),
      Sample(with(qkv(1, 1, 20, 9, 32), m.normal({20, 9}), causal(20, 9, 0)), dropped, "dropout").reduces(128),
      Sample(qkv(1, 1, 1, 1, 64), none, "one token").reduces(64),
      Sample(with(qkv(1, 2, 7, 197, 64), {}, m.booleans({197}, 0.7)), none, "many keys, head size 64").reduces(512),
      Sample(qkv(1, 1, 197, 7, 20), none, "many queries, odd head size").reduces(512),
      Sample(qkv(1, 1, 150, 18, 32), none, "three tiles of queries").reduces(512),
      Sample(with(qkv(1, 1, 2, 3, 4), minus, {}), none, "bias of -inf").values_only(),
      Sample(qkv(2, 1, 3, 0, 4), none, "no keys"),
      Sample(qkv(2, 1, 0, 3, 4), none, "no queries"),
      Sample(qkv(0, 2, 3, 3, 4), none, "no samples"),
  };
}

std::vector<Sample> benches(Maker& m) {
  const auto bench = [&m](int64_t b, int64_t h, int64_t n, int64_t d, const char* label) {
    const Inputs in{m.normal({b, h, n, d}), m.normal({b, h, n, d}), m.normal({b, h, n, d})};
    return Sample(in, Attributes{}, label).bench(4. * b * h * n * n * d, 16. * b * h * n * d);
  };
  return {bench(8, 6, 197, 64, "DeiT-S b8"), bench(2, 8, 1050, 32, "DETR encoder b2")};
}

std::vector<ErrorSample> errors(Maker& m) {
  const Tensor q = m.normal({2, 3, 5, 4}), k = m.normal({2, 3, 7, 4}), narrow = m.normal({2, 3, 7, 2});
  const Tensor flat = m.normal({3, 5, 4}), thin = m.normal({2, 3, 5, 0}), bias = m.normal({2, 3, 7, 5});
  const Tensor f32 = k.to(Dtype::f32), ids = m.integers({2, 3, 5, 4}, 0, 3), mask = m.booleans({2, 1, 1, 5});
  return {
      {[=] { ops::attention(ids, k, k); }, "attention: q must be floating, got [2, 3, 5, 4] i64 cpu"},
      {[=] { ops::attention(q, Tensor(), k); }, "attention: k is undefined"},
      {[=] { ops::attention(q, k, Tensor()); }, "attention: v is undefined"},
      {[=] { ops::attention(q, f32, k); },
       "attention: q [2, 3, 5, 4] f64 cpu and k [2, 3, 7, 4] f32 cpu have different dtypes"},
      {[=] { ops::attention(q, k, k.to(Device::emulated())); },
       "attention: q [2, 3, 5, 4] f64 cpu and v [2, 3, 7, 4] f64 emulated have different devices"},
      {[=] { ops::attention(flat, k, k); },
       "attention: q [3, 5, 4] f64 cpu and k [2, 3, 7, 4] f64 cpu must be [B, H, Lq, D] and [B, H, Lk, D]"},
      {[=] { ops::attention(q, narrow, narrow); },
       "attention: q [2, 3, 5, 4] f64 cpu and k [2, 3, 7, 2] f64 cpu must be [B, H, Lq, D] and [B, H, Lk, D]"},
      {[=] { ops::attention(q, k, q); },
       "attention: k [2, 3, 7, 4] f64 cpu and v [2, 3, 5, 4] f64 cpu must have one shape"},
      {[=] { ops::attention(thin, thin, thin); }, "attention: q [2, 3, 5, 0] f64 cpu has head size 0"},
      {[=] { ops::attention(q, k, k, {.bias = bias}); },
       "attention: bias [2, 3, 7, 5] f64 cpu does not broadcast to the scores [2, 3, 5, 7] of q [2, 3, 5, 4] f64 cpu "
       "and k [2, 3, 7, 4] f64 cpu"},
      {[=] { ops::attention(q, k, k, {.mask = bias}); }, "attention: mask must be bool, got [2, 3, 7, 5] f64 cpu"},
      {[=] { ops::attention(q, k, k, {.mask = mask}); },
       "attention: mask [2, 1, 1, 5] bool cpu does not broadcast to the scores [2, 3, 5, 7] of q [2, 3, 5, 4] f64 cpu "
       "and k [2, 3, 7, 4] f64 cpu"},
      {[=] { ops::attention(q, k, k, {.dropout = 1}); }, "attention: dropout must be in [0, 1), got 1"},
      {[=] { ops::attention_unfused(q, k, k, {.dropout = -0.5}); },
       "attention_unfused: dropout must be in [0, 1), got -0.5"},
  };
}

const Register attention_spec(OpSpec{.name = "attention",
                                     .arguments = {"q", "k", "v", "bias", "mask"},
                                     .call = [](const Inputs& in, const Attributes& a) -> Outputs {
                                       return ops::attention(in[0], in[1], in[2], options(in, a));
                                     },
                                     .reference = [](const Inputs& in, const Attributes& a) -> Outputs {
                                       return ops::attention_unfused(in[0], in[1], in[2], options(in, a)).out;
                                     },
                                     .samples = samples,
                                     .benches = benches,
                                     .errors = errors});

}  // namespace
}  // namespace vitrine::testing
