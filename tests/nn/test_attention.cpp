#include <cmath>
#include <cstdio>

#include "data/checkpoint/safetensors.h"
#include "nn/attention.h"
#include "tests/support/catch.h"

using namespace vitrine;

namespace {

/// Largest difference relative to the largest expected value.
double difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const std::vector<double> x = a.to_vector(), y = b.to_vector();
  double worst = 0, largest = 0;
  for (size_t i = 0; i < x.size(); ++i)
    worst = std::max(worst, std::abs(x[i] - y[i])), largest = std::max(largest, std::abs(y[i]));
  return worst / largest;
}

struct Collector : trace::Watcher {
  std::vector<std::string> names;
  bool wants(const std::string& name) override { return name.ends_with("probabilities") || name.ends_with("rpe"); }
  void see(const std::string& name, const Tensor&) override { names.push_back(name); }
};

/// Runs the recorded layer in f64 on `device` and compares the output and every gradient.
void check_fixture(const std::string& name, Device device) {
  const data::Safetensors file =
      data::read_safetensors(std::string(VITRINE_SOURCE_DIR) + "/tests/fixtures/deit/rpe_" + name + ".safetensors");
  std::string rpe, grid;
  for (const auto& [key, value] : file.metadata) (key == "rpe" ? rpe : grid) = value;
  nn::TokenGrid tokens;
  REQUIRE(std::sscanf(grid.c_str(), "%ld %ld %ld", &tokens.height, &tokens.width, &tokens.skip) == 3);
  Generator rng;
  nn::Attention layer({.device = device, .dtype = Dtype::f64, .rng = &rng},
                      {.dim = 8, .heads = 2, .grid = tokens, .rpe = ops::parse_rpe(rpe)});
  layer.load_state_dict(file.tensors, nn::Strict::no);
  const Tensor x = file.at("x").to(device).detach().set_requires_grad();
  const Tensor y = layer(x);
  INFO(name << " on " << to_string(device));
  CHECK(difference(y.detach(), file.at("out")) < 1e-12);
  y.backward({.gradient = file.at("cotangent.out").to(device)});
  CHECK(difference(x.grad(), file.at("grad.x")) < 1e-12);
  for (const auto& [key, p] : layer.parameters()) {
    INFO(key);
    CHECK(difference(p.grad(), file.at("grad." + key)) < 1e-12);
  }

  Collector collector;  // who watches makes it run unfused: the same result
  trace::Watcher* before = trace::set_watcher(&collector);
  const NoGrad no_grad;
  const Tensor watched = layer(x);
  trace::set_watcher(before);
  CHECK(difference(watched, file.at("out")) < 1e-12);
  CHECK(collector.names.size() == (rpe.ends_with("-v") ? 1 : 2));  // on v alone there is no term in the logits
}

}  // namespace

TEST_CASE("attention with iRPE equals its equations written out pair by pair", "[unit][emulated]") {
  for (const char* name :
       {"product_k", "product_qkv", "product_bias_qk", "cross_qkv", "cross_bias_k", "euc_qkv", "quant_v"}) {
    check_fixture(name, Device::cpu());
    check_fixture(name, Device::emulated());
  }
}

TEST_CASE("attention names itself in errors", "[unit]") {
  Generator rng;
  nn::Attention layer({.name = "attn", .rng = &rng}, {.dim = 8, .heads = 2, .grid = {2, 2, 1}});
  CHECK_THROWS_WITH(layer(zeros({1, 6, 8})),
                    "attn: attention: x [1, 6, 8] f32 cpu has 6 tokens, but the grid is 1 + 2 x 2");
  CHECK_THROWS_WITH(layer(zeros({1, 5, 9})).to_vector(), testing::Contains("attn.qkv: linear: x"));
}
