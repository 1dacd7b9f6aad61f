#include <cmath>

#include "models/detr/encoder.h"
#include "nn/attention.h"
#include "ops/binary/operators.h"
#include "ops/compare/compare.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/unary/unary.h"
#include "tests/support/models.h"

using namespace vitrine;
using namespace vitrine::testing;
using models::DetrEncoderConfig;
using models::DetrEncoderLayer;

namespace {

constexpr nn::TokenGrid kGrid{3, 4, 0};

DetrEncoderConfig small(const std::string& rpe, double dropout = 0) {
  return {.dim = 8, .heads = 2, .ffn = 12, .rpe = ops::parse_rpe(rpe), .dropout = dropout};
}

/// Runs the recorded layer in f64 and compares the output and every gradient.
void check_against_torch(const std::string& name, Device device) {
  const data::Safetensors file = fixture("detr/encoder_" + name + ".safetensors");
  REQUIRE(file.metadata.size() == 1);
  Generator rng;
  DetrEncoderLayer layer({.device = device, .dtype = Dtype::f64, .rng = &rng}, small(file.metadata[0].second));
  const nn::LoadReport report = layer.load_state_dict(file.tensors, nn::Strict::no);
  CHECK(report.missing.empty());
  const Tensor x = file.at("x").to(device).detach().set_requires_grad(),
               pos = file.at("pos").to(device).detach().set_requires_grad();
  const Tensor y = layer(x, pos, kGrid, file.at("key_padding_mask").to(device));
  INFO(name << " on " << to_string(device));
  CHECK(distance(y.detach(), file.at("out")) < 1e-12);
  y.backward({.gradient = file.at("cotangent.out").to(device)});
  CHECK(distance(x.grad(), file.at("grad.x")) < 1e-12);
  CHECK(distance(pos.grad(), file.at("grad.pos")) < 1e-12);
  for (const auto& [key, p] : layer.parameters()) {
    INFO(key);
    CHECK(distance(p.grad(), file.at("grad." + key)) < 1e-12);
  }
}

/// Draws every parameter anew, so that none is 0 or 1.
void redraw(nn::Module& module, Generator& rng) {
  for (auto [name, p] : module.parameters()) {
    const NoGrad no_grad;
    p.copy_(random_normal(p.shape(), rng, p.dim() == 1, 0.5, p.options()));
  }
}

}  // namespace

TEST_CASE("detr: an encoder layer equals PyTorch's, also with image RPE written out pair by pair",
          "[model][emulated]") {
  for (const char* name : {"plain", "product_qkv", "cross_k"})
    for (const Device device : {Device::cpu(), Device::emulated()}) check_against_torch(name, device);
}

TEST_CASE("detr: the cuda device computes the same", "[model][cuda]") {
  if (cuda_device_count() == 0) {
    WARN("SKIPPED: no cuda device");
    return;
  }
  for (const char* name : {"plain", "product_qkv", "cross_k"}) check_against_torch(name, Device::cuda());
}

TEST_CASE("detr: gradients of an encoder layer equal central differences", "[model]") {
  for (const char* rpe : {"none", "rpe-1.9-product-ctx-0-qkv", "rpe-1.9-euc-bias-1-qk", "rpe-2-cross-ctx-1-qv"}) {
    INFO(rpe);
    Generator rng{.seed = 2};
    DetrEncoderLayer layer({.dtype = Dtype::f64, .rng = &rng}, small(rpe));
    redraw(layer, rng);
    const TensorOptions f64{.dtype = Dtype::f64};
    const Tensor x = random_normal({2, 12, 8}, rng, 0, 1, f64), pos = random_normal({2, 12, 8}, rng, 0, 1, f64);
    const Tensor padding =
        ops::ge(arange(12).view({1, 12}).expand({2, 12}), from_vector({12, 9}, {2, 1}, {.dtype = Dtype::i64}));
    check_gradients(
        layer, [&](const Tensor& t) { return layer(t, pos, kGrid, padding); }, x);
  }
}

TEST_CASE("detr: a padded grid gives the cells what their own grid gives, and padding reaches none", "[model]") {
  for (const char* rpe : {"rpe-1.9-product-ctx-1-qkv", "rpe-1.9-cross-ctx-0-k", "rpe-1.9-quant-bias-1-qk"}) {
    INFO(rpe);
    Generator rng{.seed = 4};
    DetrEncoderLayer layer({.dtype = Dtype::f64, .rng = &rng}, small(rpe));
    redraw(layer, rng);
    const NoGrad no_grad;
    const TensorOptions f64{.dtype = Dtype::f64};
    const Tensor x = random_normal({1, 3, 2, 8}, rng, 0, 1, f64), pos = random_normal({1, 3, 2, 8}, rng, 0, 1, f64);
    const Tensor alone = layer(x.reshape({1, 6, 8}), pos.reshape({1, 6, 8}), nn::TokenGrid{3, 2});
    Tensor wide_x = random_normal({1, 5, 4, 8}, rng, 0, 1, f64), wide_pos = random_normal({1, 5, 4, 8}, rng, 0, 1, f64);
    const auto cells = [](const Tensor& t) { return t.narrow(1, 0, 3).narrow(2, 0, 2); };
    cells(wide_x).copy_(x), cells(wide_pos).copy_(pos);
    Tensor padding = ones({1, 5, 4}, {.dtype = Dtype::boolean});
    cells(padding.unsqueeze(3)).zero_();
    const Tensor padded =
        layer(wide_x.view({1, 20, 8}), wide_pos.view({1, 20, 8}), nn::TokenGrid{5, 4}, padding.view({1, 20}));
    CHECK(distance(cells(padded.view({1, 5, 4, 8})), alone.view({1, 3, 2, 8})) < 1e-14);
    const Tensor unmasked = layer(wide_x.view({1, 20, 8}), wide_pos.view({1, 20, 8}), nn::TokenGrid{5, 4});
    CHECK(distance(cells(unmasked.view({1, 5, 4, 8})), alone.view({1, 3, 2, 8})) > 1e-3);
  }
}

TEST_CASE("detr: dropout acts on the attention's weights and in the three places behind it", "[model]") {
  constexpr double kRate = 0.3;
  Generator rng{.seed = 5};
  DetrEncoderLayer layer({.rng = &rng}, small("rpe-1.9-product-ctx-1-qkv", kRate));
  redraw(layer, rng);
  const NoGrad no_grad;
  const Tensor x = random_normal({2, 12, 8}, rng), pos = random_normal({2, 12, 8}, rng);
  Generator draws = rng;  // the layer's own come from rng, in the same order
  const Tensor y = layer(x, pos, kGrid);

  // By the equations, the attention in its unfused form.
  const auto heads = [&](const Tensor& in, int64_t part) {
    return ops::linear(in, layer.self_attn.in_proj_weight.tensor().narrow(0, 8 * part, 8),
                       layer.self_attn.in_proj_bias.tensor().narrow(0, 8 * part, 8))
        .view({2, 12, 2, 4})
        .permute({0, 2, 1, 3});
  };
  const auto tables = [](const std::optional<nn::Rpe>& rpe) { return rpe->tables(Dtype::f32); };
  const Tensor attended =
      ops::rpe_attention_unfused(
          heads(x + pos, 0), heads(x + pos, 1), heads(x, 2),
          {.rpe = *layer.self_attn.config.rpe,
           .height = kGrid.height,
           .width = kGrid.width,
           .tables = {tables(layer.self_attn.rpe_q), tables(layer.self_attn.rpe_k), tables(layer.self_attn.rpe_v)},
           .dropout = kRate,
           .draw = draws.draw()})
          .out;
  const auto drop = [&](const Tensor& t) { return ops::dropout(t, kRate, draws.draw()); };
  const Tensor z = layer.norm1(x + drop(layer.self_attn.out_proj(attended.permute({0, 2, 1, 3}).reshape({2, 12, 8}))));
  const Tensor hidden = drop(ops::relu(layer.linear1(z)));
  const Tensor expected = layer.norm2(z + drop(layer.linear2(hidden)));
  CHECK(distance(y, expected) < 1e-6);
  CHECK(draws.offset == rng.offset);
  layer.eval();
  CHECK(distance(layer(x, pos, kGrid), expected) > 0.1);
  CHECK(draws.offset == rng.offset);
}

TEST_CASE("detr: names, shapes and initial values of an encoder layer are the reference's", "[model]") {
  // Uniform within the bound, from detr 1.7 and 1.11 where those say it; norm weights are all 1.
  using Drawn = std::vector<std::pair<std::string, double>>;
  const Drawn attention{{"self_attn.in_proj_weight [768, 256]", .0765466},
                        {"self_attn.in_proj_bias [768]", 0},
                        {"self_attn.out_proj.weight [256, 256]", .1082532},
                        {"self_attn.out_proj.bias [256]", 0}};
  const Drawn rest{{"linear1.weight [2048, 256]", .0510310},
                   {"linear1.bias [2048]", 1. / 16},
                   {"linear2.weight [256, 2048]", .0510310},
                   {"linear2.bias [256]", .0220971},
                   {"norm1.weight [256]", 1},
                   {"norm1.bias [256]", 0},
                   {"norm2.weight [256]", 1},
                   {"norm2.bias [256]", 0}};
  // Without extra tokens there is no extra bucket: 49 at ratio 1.9, 81 at 2.
  const std::string table = ".lookup_table_weight ";
  const std::vector<std::pair<std::string, Drawn>> cases = {
      {"none", {}},
      {"rpe-1.9-product-ctx-1-kv",
       {{"self_attn.rpe_k" + table + "[1, 32, 49]", .0609145}, {"self_attn.rpe_v" + table + "[1, 49, 32]", .0612372}}},
      {"rpe-2.0-product-ctx-1-q", {{"self_attn.rpe_q" + table + "[1, 32, 81]", .0473779}}},
      {"rpe-1.9-product-bias-0-q", {{"self_attn.rpe_q.lookup_table_bias [8, 49]", .3244428}}},
      {"rpe-2.0-cross-ctx-0-k",
       {{"self_attn.rpe_k.rp_rows" + table + "[8, 32, 9]", .1290994},
        {"self_attn.rpe_k.rp_cols" + table + "[8, 32, 9]", .1290994}}}};
  for (const auto& [rpe, tables] : cases) {
    Drawn expected = attention;
    for (const Drawn& more : {tables, rest}) expected.insert(expected.end(), more.begin(), more.end());
    Generator rng{.seed = 6};
    const DetrEncoderLayer layer({.rng = &rng}, {.rpe = ops::parse_rpe(rpe)});
    const nn::NamedTensors state = layer.state_dict();
    REQUIRE(state.size() == expected.size());
    for (size_t i = 0; i < state.size(); ++i) {
      const auto& [name, bound] = expected[i];
      INFO(name);
      CHECK(state[i].first + " " + to_string(state[i].second.shape()) == name);
      double largest = 0, mean = 0;
      for (const double v : state[i].second.to_vector())
        largest = std::max(largest, std::abs(v)), mean += v / double(state[i].second.numel());
      CHECK(largest <= bound * (1 + 1e-5));
      CHECK(largest >= bound * 0.98);
      CHECK(std::abs(mean - (bound == 1)) <= (bound == 1 ? 0 : 0.2 * bound));
    }
  }
}

TEST_CASE("detr: what does not fit an encoder layer is said once", "[model]") {
  Generator rng;
  const auto make = [&](const DetrEncoderConfig& config) {
    return message_of([&] { DetrEncoderLayer({.rng = &rng}, config); });
  };
  CHECK(make({.dim = 8, .heads = 3}) == "encoder layer: 3 heads must divide dim 8, and ffn 2048 be above 0");
  CHECK(make({.dropout = 1}) == "encoder layer: dropout 1 must be in [0, 1)");
  DetrEncoderLayer layer({.rng = &rng}, small("none"));
  const Tensor x = zeros({2, 12, 8});
  const auto call = [&](const Tensor& pos, const nn::TokenGrid& grid, const Tensor& padding) {
    return message_of([&] { layer(x, pos, grid, padding); });
  };
  CHECK(call(zeros({1, 12, 8}), kGrid, {}) ==
        "encoder layer: x [2, 12, 8] f32 cpu and pos [1, 12, 8] f32 cpu must be [B, N, 8]");
  CHECK(call(x, {3, 5, 0}, {}) ==
        "encoder layer: x [2, 12, 8] f32 cpu has 12 tokens, but the grid is 3 x 5 without extra tokens");
  CHECK(call(x, {3, 4, 1}, {}).ends_with("but the grid is 3 x 4 without extra tokens"));
  CHECK(call(x, kGrid, zeros({2, 11}, {.dtype = Dtype::boolean})) ==
        "encoder layer: key_padding_mask [2, 11] bool cpu must be [2, 12]");
}
