#include <cmath>

#include "ops/rpe_attention/rpe_attention.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

constexpr size_t kMask = 3, kTables = 4, kPlaces = 6;  // of the arguments

/// The state_dict names of the tables of q, k and v: each side has kPlaces places, in this order.
constexpr const char* kPlace[kPlaces] = {"lookup_table_weight",         "lookup_table_bias",
                                         "rp_rows.lookup_table_weight", "rp_cols.lookup_table_weight",
                                         "rp_rows.lookup_table_bias",   "rp_cols.lookup_table_bias"};
constexpr const char* kSides[] = {"rpe_q", "rpe_k", "rpe_v"};

std::vector<std::string> argument_names() {
  std::vector<std::string> names{"q", "k", "v", "mask"};
  for (const char* side : kSides)
    for (const char* place : kPlace) names.push_back(std::string(side) + "." + place);
  return names;
}

ops::RpeConfig config_of(const Attributes& a) {
  ops::RpeConfig none;
  none.on_k = false;
  return ops::parse_rpe(a.text("rpe", "none")).value_or(none);
}

/// The places of a config's tables among kPlace, in the order of the op.
std::vector<size_t> places(const ops::RpeConfig& rpe) {
  const bool bias = rpe.mode == ops::RpeMode::bias;
  if (rpe.method != ops::RpeMethod::cross) return {bias ? 1u : 0u};
  if (bias) return {4, 5};
  return {2, 3};
}

ops::RpeAttentionOptions options(const Inputs& in, const Attributes& a) {
  ops::RpeAttentionOptions o{.rpe = config_of(a), .dropout = a.number("dropout", 0), .mask = in[kMask]};
  if (o.rpe.any()) {
    const auto grid = a.integers("grid");
    check<ValueError>(grid.size() == 2, "rpe_attention: grid must be [height, width]");
    o.height = grid[0], o.width = grid[1], o.skip = a.integer("skip", 0);
  }
  if (a.find("scale")) o.scale = a.number("scale");
  o.draw = {uint64_t(a.integer("seed", 0)), uint64_t(a.integer("offset", 0))};
  std::vector<Tensor>* const tables[] = {&o.tables.q, &o.tables.k, &o.tables.v};
  const bool on[] = {o.rpe.on_q, o.rpe.on_k, o.rpe.on_v};
  const std::vector<size_t> used = places(o.rpe);
  for (size_t side = 0; side < 3; ++side) {
    for (size_t place = 0; place < kPlaces; ++place) {
      const size_t at = kTables + side * kPlaces + place;
      const bool wanted = on[side] && std::find(used.begin(), used.end(), place) != used.end();
      check<ValueError>(wanted == in[at].defined(), "rpe_attention: {} {} the table {}.{}", to_string(o.rpe),
                        wanted ? "needs" : "does not take", kSides[side], kPlace[place]);
    }
    if (on[side])
      for (size_t place : used) tables[side]->push_back(in[kTables + side * kPlaces + place]);
  }
  return o;
}

struct Grid {
  int64_t height, width, skip;
  int64_t tokens() const { return skip + height * width; }
};

/// q, k, v and the tables of `rpe` for B samples and H heads of size D.
Sample sample(Maker& m, const char* rpe, Grid g, int64_t b, int64_t h, int64_t d, const char* label,
              Attributes more = {}, Tensor mask = {}) {
  Attributes how{{"rpe", rpe}, {"grid", std::vector<int64_t>{g.height, g.width}}, {"skip", g.skip}};
  how.insert(how.end(), more.begin(), more.end());
  const ops::RpeConfig config = config_of(how);
  const Shape tokens{b, h, g.tokens(), d};
  Inputs in{m.normal(tokens), m.normal(tokens), m.normal(tokens), std::move(mask)};
  in.resize(argument_names().size());
  const int64_t heads = config.shared ? 1 : h, buckets = config.any() ? ops::rpe_buckets(config, g.skip) : 0;
  const bool on[] = {config.on_q, config.on_k, config.on_v};
  for (size_t side = 0; side < 3; ++side) {
    for (size_t place : places(config)) {
      if (!on[side]) continue;
      in[kTables + side * kPlaces + place] = m.normal(config.mode == ops::RpeMode::bias ? Shape{heads, buckets}
                                                      : side == 2                       ? Shape{heads, buckets, d}
                                                                                        : Shape{heads, d, buckets});
    }
  }
  return {std::move(in), std::move(how), label};
}

std::vector<Sample> samples(Maker& m) {
  const Attributes dropped{{"dropout", 0.3}, {"seed", 5}, {"offset", 2}};
  const Tensor padding = from_vector({1, 1, 1, 0, 1, 0, 1, 1, 0, 0, 1, 1}, {2, 1, 1, 6}, {.dtype = Dtype::boolean});
  const Tensor blind = from_vector({0, 1, 1, 1, 1}, {5, 1}, {.dtype = Dtype::boolean});
  const Grid two_by_three{2, 3, 0}, with_class{2, 3, 1};
  const auto mma = [&m](const char* rpe, Grid g, int64_t b, int64_t h, int64_t d, const char* label,
                        Attributes more = {}, Tensor mask = {}) {
    return sample(m, rpe, g, b, h, d, label, std::move(more), std::move(mask)).reduces(64).only({Dtype::bf16});
  };
  // A sum over N, each term of which is itself a rounded sum over N, D or the buckets: k is their total.
  return {
      sample(m, "rpe-1.9-product-ctx-1-k", with_class, 2, 2, 4, "product on k").reduces(64),
      sample(m, "rpe-1.9-product-ctx-1-q", {3, 2, 1}, 2, 2, 4, "product on q").reduces(64),
      sample(m, "rpe-1.9-product-ctx-1-v", with_class, 2, 2, 4, "product on v").reduces(64),
      sample(m, "rpe-1.9-product-ctx-0-qk", {2, 4, 0}, 2, 3, 3, "product on q and k, tables per head").reduces(64),
      sample(m, "rpe-1.0-product-ctx-0-qkv", {4, 5, 2}, 1, 2, 5, "product on all, two extra tokens").reduces(128),
      sample(m, "rpe-1.9-product-ctx-1-qkv", {5, 4, 1}, 1, 1, 8, "dropout", dropped).reduces(128),
      sample(m, "rpe-1.9-euc-ctx-1-qkv", {3, 3, 1}, 2, 2, 4, "euclidean").reduces(64),
      sample(m, "rpe-2.0-quant-ctx-0-qkv", two_by_three, 2, 2, 4, "quantization, key padding, scale", {{"scale", 0.7}},
             padding)
          .reduces(64),
      sample(m, "rpe-1.9-cross-ctx-1-qkv", {3, 2, 2}, 2, 2, 4, "cross").reduces(64),
      sample(m, "rpe-1.5-cross-ctx-0-vk", {4, 1, 1}, 1, 2, 3, "cross, one column, a row that sees no key", {}, blind)
          .reduces(64),
      sample(m, "rpe-1.9-product-ctx-1-qkv-clip", {2, 7, 1}, 1, 1, 4, "clip").reduces(64),
      sample(m, "rpe-1.9-product-bias-1-qk", with_class, 2, 2, 4, "bias on q and k").reduces(64),
      sample(m, "rpe-1.9-cross-bias-0-qk", {3, 2, 1}, 1, 2, 4, "bias, cross, tables per head", dropped).reduces(64),
      sample(m, "rpe-2.0-euc-bias-0-k", {2, 2, 0}, 3, 2, 2, "bias, euclidean").reduces(64),
      sample(m, "rpe-3.5-product-ctx-1-qk", {4, 5, 1}, 1, 1, 2, "more buckets than registers hold").reduces(300),
      sample(m, "rpe-1.9-product-ctx-1-qkv", {7, 18, 1}, 1, 1, 4, "grid rows longer than a vector").reduces(512),
      sample(m, "rpe-1.9-product-ctx-1-qkv", {14, 14, 1}, 1, 1, 4, "DeiT's grid").reduces(1024),
      // Head sizes of the tensor-core kernels. What bf16 rounds inside them does not add up over a sum, so that k, and
      // with it the tolerance, is what f64 needs.
      mma("rpe-1.9-product-ctx-1-qkv", with_class, 2, 2, 64, "fewer tokens than a fragment"),
      mma("rpe-1.9-product-ctx-1-qkv", {1, 1, 0}, 1, 1, 64, "one token, head size 64"),
      mma("rpe-1.9-product-ctx-1-qkv", {14, 14, 1}, 1, 1, 32, "DeiT's grid, four tiles"),
      mma("rpe-1.9-product-ctx-1-qk", {5, 14, 0}, 1, 1, 64, "two tiles, head size 64"),
      mma("rpe-1.0-euc-ctx-1-qkv", {8, 8, 1}, 1, 1, 32, "one more token than a tile", dropped),
      mma("rpe-1.9-cross-ctx-1-qkv", {3, 5, 2}, 1, 1, 32, "cross, one more token than a fragment"),
      mma("rpe-2.0-quant-ctx-0-qkv", two_by_three, 2, 2, 32, "key padding and scale, head size 32", {{"scale", 0.2}},
          padding),
      mma("rpe-1.5-cross-ctx-0-vk", {4, 1, 1}, 1, 2, 32, "a row that sees no key, head size 32", {}, blind),
      mma("rpe-3.5-product-ctx-1-qkv", {5, 5, 1}, 1, 1, 32, "more buckets than a tile"),
      mma("rpe-3.0-product-ctx-1-qkv", {4, 6, 1}, 1, 1, 32, "as many buckets as a tile has rows"),
      mma("rpe-3.0-product-ctx-1-v", {4, 6, 1}, 1, 1, 32, "as many buckets as a tile has rows, on v"),
      mma("rpe-7.0-product-ctx-1-qkv", {7, 8, 1}, 1, 1, 32, "more buckets than shared memory holds"),
      mma("rpe-1.9-product-bias-0-qk", {4, 4, 1}, 1, 2, 32, "bias, head size 32"),
      mma("rpe-1.9-cross-bias-1-qk", {5, 14, 0}, 1, 1, 32, "bias, cross, two tiles", dropped).reduces(256),
      mma("rpe-1.9-product-bias-1-q", {2, 2, 0}, 1, 1, 32, "bias, scale 0", {{"scale", 0.0}}),
      // Small enough for the check flavour: head size 64, and two tiles.
      mma("rpe-1.0-product-ctx-1-qkv", {3, 5, 0}, 1, 1, 64, "15 tokens").only({Dtype::f32, Dtype::bf16}),
      mma("rpe-1.9-product-ctx-1-qk", {4, 4, 0}, 2, 1, 32, "16 tokens"),
      mma("rpe-1.0-cross-ctx-1-qkv", {7, 9, 0}, 1, 1, 32, "63 tokens"),
      mma("rpe-0.5-product-ctx-1-qkv", {8, 8, 0}, 1, 1, 32, "64 tokens"),
      mma("rpe-0.5-product-ctx-1-qkv", {5, 13, 0}, 1, 1, 32, "65 tokens"),
      mma("rpe-0.4-product-ctx-1-qv", {3, 6, 0}, 1, 2, 32, "one bucket").only({Dtype::f32, Dtype::bf16}),
      sample(m, "rpe-20.0-euc-ctx-0-qkv", {3, 6, 0}, 1, 2, 4, "euclidean, most buckets unused, tables per head")
          .reduces(256),
      sample(m, "rpe-33.0-quant-ctx-1-qkv", {4, 4, 1}, 2, 1, 3, "quantization, most buckets unused").reduces(256),
      sample(m, "rpe-20.0-cross-ctx-0-qkv", {2, 5, 1}, 1, 2, 6, "cross, most buckets unused").reduces(256),
      sample(m, "rpe-20.0-cross-bias-1-qk", {2, 4, 1}, 2, 2, 4, "bias, cross, most buckets unused").reduces(256),
      sample(m, "rpe-1.9-product-ctx-1-qkv", {1, 7, 5}, 1, 2, 5, "one grid row, five extra tokens").reduces(128),
      sample(m, "rpe-1.9-product-ctx-1-qkv", {1, 1, 0}, 2, 2, 20, "one token").reduces(64),
      sample(m, "rpe-10.0-product-ctx-1-qkv", {10, 11, 0}, 1, 1, 2, "f64: more buckets than shared memory holds")
          .reduces(512),
      sample(m, "none", with_class, 1, 2, 4, "none").reduces(32),
      sample(m, "rpe-1.9-product-ctx-1-qkv", with_class, 0, 2, 4, "no samples"),
      sample(m, "rpe-1.9-product-bias-1-qk", with_class, 0, 2, 4, "no samples, bias"),
  };
}

std::vector<Sample> benches(Maker& m) {
  const auto bench = [&m](const char* rpe, Grid g, int64_t b, int64_t h, const char* label) {
    const double n = double(g.tokens()), rows = double(b * h) * n;
    const ops::RpeConfig config = *ops::parse_rpe(rpe);
    const double tables = double(config.on_q + config.on_k + config.on_v) * double(ops::rpe_buckets(config, g.skip));
    return sample(m, rpe, g, b, h, 64, label).bench(rows * 64 * (4 * n + 2 * tables), 16 * rows * 64);
  };
  const Grid deit{14, 14, 1}, cifar{8, 8, 1};
  return {bench("rpe-1.9-product-ctx-1-k", deit, 8, 6, "DeiT-S b8, k"),
          bench("rpe-1.9-product-ctx-1-qk", deit, 8, 6, "DeiT-S b8, qk"),
          bench("rpe-1.9-product-ctx-1-qkv", deit, 8, 6, "DeiT-S b8, qkv"),
          bench("rpe-1.9-product-ctx-1-k", cifar, 32, 3, "DeiT-Ti/4 b32, k")};
}

std::vector<ErrorSample> errors(Maker& m) {
  const Tensor q = m.normal({2, 3, 7, 4}), wk = m.normal({1, 4, 50}), wv = m.normal({1, 50, 4});
  const Tensor other = m.normal({2, 3, 6, 4}), thin = m.normal({2, 3, 7, 0}), ids = m.integers({2, 3, 7, 4}, 0, 3);
  const Tensor mask = m.booleans({2, 1, 1, 5});
  const auto on = [](const char* rpe, ops::RpeTables tables) {
    return ops::RpeAttentionOptions{
        .rpe = *ops::parse_rpe(rpe), .height = 2, .width = 3, .skip = 1, .tables = std::move(tables)};
  };
  const auto k = [=](const char* rpe, std::vector<Tensor> tables) { return on(rpe, {.k = std::move(tables)}); };
  const char* const product = "rpe-1.9-product-ctx-1-k";
  auto masked = k(product, {wk}), dropped = k(product, {wk}), bias_on_v = on(product, {.k = {wk}, .v = {wv}});
  masked.mask = mask, dropped.dropout = 1;
  auto float_mask = masked;
  float_mask.mask = q;
  bias_on_v.rpe.mode = ops::RpeMode::bias, bias_on_v.rpe.on_v = true;
  return {
      {[=] { ops::rpe_attention(ids, q, q, k(product, {wk})); },
       "rpe_attention: q must be floating, got [2, 3, 7, 4] i64 cpu"},
      {[=] { ops::rpe_attention(q, Tensor(), q, k(product, {wk})); }, "rpe_attention: k is undefined"},
      {[=] { ops::rpe_attention(q, q, Tensor(), k(product, {wk})); }, "rpe_attention: v is undefined"},
      {[=] { ops::rpe_attention(q, q.to(Dtype::f32), q, k(product, {wk})); },
       "rpe_attention: q [2, 3, 7, 4] f64 cpu and k [2, 3, 7, 4] f32 cpu have different dtypes"},
      {[=] { ops::rpe_attention(q, q, q.to(Device::emulated()), k(product, {wk})); },
       "rpe_attention: q [2, 3, 7, 4] f64 cpu and v [2, 3, 7, 4] f64 emulated have different devices"},
      {[=] { ops::rpe_attention(q, other, other, k(product, {wk})); },
       "rpe_attention: q [2, 3, 7, 4] f64 cpu, k [2, 3, 6, 4] f64 cpu and v [2, 3, 6, 4] f64 cpu must have one shape "
       "[B, H, N, D]"},
      {[=] { ops::rpe_attention(thin, thin, thin, k(product, {wk})); },
       "rpe_attention: q [2, 3, 7, 0] f64 cpu has head size 0"},
      {[=] { ops::rpe_attention(other, other, other, k(product, {wk})); },
       "rpe_attention: q [2, 3, 6, 4] f64 cpu has 6 tokens, but 1 extra and a 2 x 3 grid are 7"},
      {[=] { ops::rpe_attention(q, q, q, bias_on_v); },
       "rpe_attention: rpe-1.9-product-bias-1-kv: there is no bias on v; write ctx, or leave out v"},
      {[=] { ops::rpe_attention(q, q, q, k("rpe-1.9-cross-ctx-1-k", {wk})); },
       "rpe_attention: rpe-1.9-cross-ctx-1-k has 1 tables for k, expected 2, of rows and of columns"},
      {[=] { ops::rpe_attention(q, q, q, on(product, {.q = {wk}, .k = {wk}})); },
       "rpe_attention: rpe-1.9-product-ctx-1-k has 1 tables for q, expected 0"},
      {[=] { ops::rpe_attention(q, q, q, k(product, {wv})); },
       "rpe_attention: rpe-1.9-product-ctx-1-k needs tables of k of shape [1, 4, 50], got [1, 50, 4] f64 cpu"},
      {[=] { ops::rpe_attention(q, q, q, k("rpe-1.9-product-bias-0-k", {wk})); },
       "rpe_attention: rpe-1.9-product-bias-0-k needs tables of k of shape [3, 50], got [1, 4, 50] f64 cpu"},
      {[=] { ops::rpe_attention(q, q, q, on("rpe-1.9-product-ctx-1-v", {.v = {wk}})); },
       "rpe_attention: rpe-1.9-product-ctx-1-v needs tables of v of shape [1, 50, 4], got [1, 4, 50] f64 cpu"},
      {[=] { ops::rpe_attention(q, q, q, k(product, {Tensor()})); }, "rpe_attention: the table of k is undefined"},
      {[=] { ops::rpe_attention(q, q, q, k(product, {wk.to(Dtype::f32)})); },
       "rpe_attention: q [2, 3, 7, 4] f64 cpu and the table of k [1, 4, 50] f32 cpu have different dtypes"},
      {[=] { ops::rpe_attention(q, q, q, k(product, {wk.to(Device::emulated())})); },
       "rpe_attention: q [2, 3, 7, 4] f64 cpu and the table of k [1, 4, 50] f64 emulated have different devices"},
      {[=] { ops::rpe_attention(q, q, q, masked); },
       "rpe_attention: mask [2, 1, 1, 5] bool cpu does not broadcast to the scores [2, 3, 7, 7] of q [2, 3, 7, 4] f64 "
       "cpu"},
      {[=] { ops::rpe_attention(q, q, q, float_mask); }, "rpe_attention: mask must be bool, got [2, 3, 7, 4] f64 cpu"},
      {[=] { ops::rpe_attention(q, q, q, dropped); }, "rpe_attention: dropout must be in [0, 1), got 1"},
      {[=] { ops::rpe_attention_unfused(other, other, other, k(product, {wk})); },
       "rpe_attention_unfused: q [2, 3, 6, 4] f64 cpu has 6 tokens, but 1 extra and a 2 x 3 grid are 7"},
  };
}

const Register spec(OpSpec{.name = "rpe_attention",
                           .arguments = argument_names(),
                           .call = [](const Inputs& in, const Attributes& a) -> Outputs {
                             return ops::rpe_attention(in[0], in[1], in[2], options(in, a));
                           },
                           .reference = [](const Inputs& in, const Attributes& a) -> Outputs {
                             return ops::rpe_attention_unfused(in[0], in[1], in[2], options(in, a)).out;
                           },
                           .samples = samples,
                           .benches = benches,
                           .errors = errors});

}  // namespace
}  // namespace vitrine::testing
