#include <cmath>

#include "models/deit/deit.h"
#include "nn/optim/optimizer.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "tests/support/models.h"

using namespace vitrine;
using models::DeiT;
using models::DeiTConfig;
using namespace vitrine::testing;

namespace {

Tensor loss_of(DeiT& model, const data::Safetensors& file, Device device) {
  const Tensor logits = model(file.at("image").to(device));
  return ops::cross_entropy(logits, file.at("target").to(device), {.label_smoothing = 0.1});
}

void check_against_timm(const std::string& name, Device device) {
  const data::Safetensors file = fixture("deit/" + name + ".safetensors");
  Generator rng;
  DeiT model({.device = device, .rng = &rng}, small_deit(name == "distilled"));
  model.load_state_dict(with_prefix(file, "weight."));
  model.eval();
  CHECK(distance(model(file.at("image").to(device)).detach(), file.at("logits")) < 1e-5);
  const Tensor loss = loss_of(model, file, device);
  CHECK(loss.item() == Catch::Approx(file.at("loss").item()).epsilon(1e-5));
  loss.backward();
  for (const auto& [key, p] : model.parameters()) {
    INFO(name << " " << key);
    CHECK(distance(p.grad(), file.at("grad." + key)) < 1e-4);  // sums of f32 in another order
  }
  // From the recorded gradients: that of the keys' bias is 0 but for rounding, and AdamW would divide it by itself.
  for (auto [key, p] : model.parameters()) p.set_grad(file.at("grad." + key).to(device));
  nn::make_adamw(nn::decay_groups(model.parameters(), 0.05))->step(1e-2);
  for (const auto& [key, p] : model.parameters()) {
    INFO(name << " " << key);
    CHECK(distance(p, file.at("stepped." + key)) < 1e-5);
  }
}

}  // namespace

TEST_CASE("deit: logits, gradients and an AdamW step equal timm's", "[model]") {
  check_against_timm("plain", Device::cpu());
  check_against_timm("distilled", Device::cpu());
}

TEST_CASE("deit: the emulated device computes the same", "[model][emulated]") {
  check_against_timm("plain", Device::emulated());
}

TEST_CASE("deit: the cuda device computes the same", "[model][cuda]") {
  if (cuda_device_count() == 0) {
    WARN("SKIPPED: no cuda device");
    return;
  }
  check_against_timm("plain", Device::cuda());
  check_against_timm("distilled", Device::cuda());
}

TEST_CASE("deit: presets have the published numbers of parameters", "[model]") {
  // DeiT's table (deit 1.1) and iRPE's (irpe 5.5).
  const std::vector<std::pair<std::string, int64_t>> published = {
      {"deit_tiny_patch16_224", 5717416},
      {"deit_small_patch16_224", 22050664},
      {"deit_base_patch16_224", 86567656},
      {"deit_tiny_distilled_patch16_224", 5910800},
      {"deit_small_distilled_patch16_224", 22436432},
      {"deit_base_distilled_patch16_224", 87338192},
      {"deit_base_patch16_384", 86859496},
      {"deit_base_distilled_patch16_384", 87630032},
      {"deit_tiny_patch16_384", 5790376},
      {"deit_small_patch16_384", 22196584},
      {"deit_tiny_distilled_patch16_384", 5983760},
      {"deit_small_distilled_patch16_384", 22582352},
      {"deit_tiny_patch16_224_ctx_product_50_shared_k", 5755816},
      {"deit_small_patch16_224_ctx_euc_20_shared_k", 22113640},
      {"deit_small_patch16_224_ctx_quant_51_shared_k", 22153576},
      {"deit_small_patch16_224_ctx_cross_56_shared_k", 22176616},
      {"deit_small_patch16_224_ctx_product_50_shared_k", 22089064},
      {"deit_small_patch16_224_ctx_product_50_shared_qk", 22127464},
      {"deit_small_patch16_224_ctx_product_50_shared_qkv", 22165864},
      {"deit_base_patch16_224_ctx_product_50_shared_k", 86606056},
      {"deit_base_patch16_224_ctx_product_50_shared_qkv", 86682856},
  };
  for (const auto& [name, count] : published) {
    INFO(name);
    CHECK(models::make_classifier({.blank = true}, name)->parameter_count() == count);
  }
}

TEST_CASE("deit: presets of image RPE have the encoding and the tables that their names say", "[model]") {
  const std::vector<std::string> on_k{"rpe_k.lookup_table_weight [1, 64, 50]"};
  const std::vector<std::string> on_qk{"rpe_q.lookup_table_weight [1, 64, 50]", on_k[0]};
  const std::vector<std::string> on_qkv{on_qk[0], on_qk[1], "rpe_v.lookup_table_weight [1, 50, 64]"};
  struct Published {  // irpe 5.1, 5.5
    std::string name, rpe;
    std::vector<std::string> tables;
  };
  for (const auto& [name, rpe, tables] :
       {Published{"tiny_patch16_224_ctx_product_50_shared_k", "rpe-1.9-product-ctx-1-k", on_k},
        {"small_patch16_224_ctx_euc_20_shared_k", "rpe-20.0-euc-ctx-1-k", {"rpe_k.lookup_table_weight [1, 64, 82]"}},
        {"small_patch16_224_ctx_quant_51_shared_k",
         "rpe-33.0-quant-ctx-1-k",
         {"rpe_k.lookup_table_weight [1, 64, 134]"}},
        {"small_patch16_224_ctx_cross_56_shared_k",
         "rpe-20.0-cross-ctx-1-k",
         {"rpe_k.rp_rows.lookup_table_weight [1, 64, 82]", "rpe_k.rp_cols.lookup_table_weight [1, 64, 82]"}},
        {"small_patch16_224_ctx_product_50_shared_k", "rpe-1.9-product-ctx-1-k", on_k},
        {"small_patch16_224_ctx_product_50_shared_qk", "rpe-1.9-product-ctx-1-qk", on_qk},
        {"small_patch16_224_ctx_product_50_shared_qkv", "rpe-1.9-product-ctx-1-qkv", on_qkv},
        {"base_patch16_224_ctx_product_50_shared_k", "rpe-1.9-product-ctx-1-k", on_k},
        {"base_patch16_224_ctx_product_50_shared_qkv", "rpe-1.9-product-ctx-1-qkv", on_qkv}}) {
    INFO(name);
    const auto model = models::make_classifier({.blank = true}, "deit_" + name);
    const DeiTConfig& config = dynamic_cast<const DeiT&>(*model).config;
    REQUIRE(config.rpe.has_value());
    CHECK(to_string(*config.rpe) == rpe);
    std::vector<std::string> expected, found;
    for (int block = 0; block < 12; ++block)
      for (const std::string& table : tables) expected.push_back(format("blocks.{}.attn.{}", block, table));
    for (const auto& [key, t] : model->state_dict())
      if (key.find("lookup_table") != std::string::npos) found.push_back(key + " " + to_string(t.shape()));
    CHECK(found == expected);
  }
}

TEST_CASE("deit: multiply-adds by the counting rule of the iRPE paper", "[model]") {
  const std::vector<std::pair<std::string, int64_t>> published = {
      {"deit_tiny_patch16_224", 1260697456},
      {"deit_tiny_patch16_224_ctx_product_50_shared_k", 1283845744},
      {"deit_small_patch16_224", 4612909816},
      {"deit_small_patch16_224_ctx_product_50_shared_k", 4659206392},
      {"deit_small_patch16_224_ctx_product_50_shared_qk", 4705502968},
      {"deit_small_patch16_224_ctx_product_50_shared_qkv", 4885242616},
      {"deit_base_patch16_224", 17591882248},
      {"deit_base_patch16_224_ctx_product_50_shared_k", 17684475400},
      {"deit_base_patch16_224_ctx_product_50_shared_qkv", 18136547848},
  };
  for (const auto& [name, macs] : published) {
    INFO(name);
    const auto model = models::make_classifier({.blank = true}, name);
    int64_t sum = 0;
    for (const models::LayerCost& layer : model->costs()) sum += layer.macs;
    CHECK(sum == macs);
  }
  int64_t products = 0;
  for (const auto& layer : models::make_classifier({.blank = true}, "deit_small_patch16_224")->costs())
    products += layer.macs_matmul;
  CHECK(products == Catch::Approx(4598.882e6).epsilon(1e-6));
}

TEST_CASE("deit: state_dict has the official names in the official order", "[model]") {
  Generator rng;
  DeiT model({.rng = &rng}, small_deit(true));
  const data::Safetensors file = fixture("deit/distilled.safetensors");
  nn::NamedTensors official = with_prefix(file, "weight.");
  const nn::NamedTensors own = model.state_dict();
  REQUIRE(own.size() == official.size());
  CHECK(own.front().first == "cls_token");
  CHECK(own[1].first == "dist_token");
  CHECK(own[2].first == "pos_embed");
  CHECK(own.back().first == "head_dist.bias");
  const auto groups = nn::decay_groups(model.parameters(), 0.05);
  CHECK(groups[0].parameters.front().first == "cls_token");
  CHECK(groups[1].parameters.front().first == "dist_token");  // decayed, as the reference has it
}

TEST_CASE("deit: tables of image RPE decay unless told not to, absolute positions do not", "[model]") {
  Generator rng;
  for (const char* rpe : {"rpe-1.9-product-ctx-1-qkv", "rpe-1.9-product-bias-0-k"}) {
    DeiTConfig config = small_deit(false);
    config.rpe = ops::parse_rpe(rpe);
    DeiT model({.rng = &rng}, config);
    const int64_t tables = config.rpe->on_q ? 6 : 2;
    for (const bool decay_rpe : {true, false}) {
      const auto groups = nn::decay_groups(model.parameters(), 0.05, decay_rpe);
      const auto count = [&](size_t group, const std::string& part) {
        return std::count_if(groups[group].parameters.begin(), groups[group].parameters.end(),
                             [&](const auto& entry) { return entry.first.find(part) != std::string::npos; });
      };
      CHECK(count(0, "lookup_table") == (decay_rpe ? 0 : tables));
      CHECK(count(1, "lookup_table") == (decay_rpe ? tables : 0));
      CHECK(count(0, "pos_embed") == 1);
    }
  }
}

TEST_CASE("deit: initial values are drawn as in the reference", "[model]") {
  Generator rng{.seed = 1};
  const auto model = models::make_classifier({.rng = &rng}, "deit_tiny_distilled_patch16_224");
  for (const auto& [name, p] : model->parameters()) {
    INFO(name);
    const std::vector<double> values = p.to_vector();
    double sum = 0, squares = 0, largest = 0;
    for (const double v : values) sum += v, squares += v * v, largest = std::max(largest, std::abs(v));
    const double n = double(values.size()), mean = sum / n, std = std::sqrt(squares / n);
    const auto is_about = [&](double expected) { return std::abs(std / expected - 1) < 4 / std::sqrt(2 * n); };
    if (name.starts_with("patch_embed.proj")) {
      constexpr double kBound = 0.0360844;  // 1 / sqrt(768), PyTorch's default for a convolution
      CHECK(largest <= kBound);
      CHECK(largest > 0.95 * kBound);
      CHECK(is_about(kBound / std::sqrt(3.0)));
    } else if (name.find("norm") != std::string::npos && name.ends_with("weight")) {
      CHECK((mean == 1 && std == 1));
    } else if (name.ends_with("bias")) {
      CHECK(largest == 0);
    } else {
      CHECK(is_about(0.02));
      CHECK(std::abs(mean) < 4 * 0.02 / std::sqrt(n));
      CHECK((largest > 0.05 || n < 1000));  // bounded at 2, not at two deviations
    }
  }
}

TEST_CASE("deit: what cannot be built or fed says why", "[model]") {
  Generator rng;
  const auto make = [&](const std::string& name, const models::ClassifierOptions& options) {
    return [=, &rng] { models::make_classifier({.rng = &rng}, name, options); };
  };
  CHECK(message_of(make("deit_tinny_patch16_224", {}))
            .starts_with("unknown model 'deit_tinny_patch16_224'; did you mean deit_tiny_patch16_224"));
  CHECK(message_of(make("deit_tiny_patch4_32", {.image_size = 30})) ==
        "deit_tiny_patch4_32: image size 30 is no multiple of the patch size 4");
  CHECK(message_of(make("deit_tiny_patch4_32", {.rpe = "rpe-1.9-product-bias-1-v"})).find("bias") != std::string::npos);
  DeiT model({.rng = &rng}, small_deit(false));
  CHECK(message_of([&] {
          model(zeros({1, 3, 16, 16}));
        }) == "small: images [1, 3, 16, 16] f32 cpu must be [B, 3, 12, 12]");
  nn::NamedTensors weights = model.state_dict();
  weights[0].first = "class_token";
  weights.back().second = zeros({6});
  CHECK(message_of([&] { model.load_state_dict(weights); }) ==
        "the weights do not fit the model; 1 missing: cls_token; 1 unexpected: class_token; 1 of another shape: "
        "head.bias: is [5], got [6]");
}

TEST_CASE("deit: training overfits eight images, with relative positions everywhere", "[model]") {
  Generator rng{.seed = 3};
  DeiTConfig config = small_deit(false);
  config.rpe = ops::parse_rpe("rpe-1.9-product-ctx-1-qkv");
  DeiT model({.rng = &rng}, config);
  CHECK(overfit(model, rng, 150, 3e-3) < 0.05);
  for (const auto& [name, p] : model.parameters()) {
    // Of the last block only the class token's query counts, and all its pairs are in one bucket.
    if (!name.starts_with("blocks.0.attn.rpe")) continue;
    INFO(name);
    double largest = 0;
    for (double x : p.to_vector()) largest = std::max(largest, std::abs(x));
    CHECK(largest > 1e-3);  // the tables start at zero and have learned
  }
}
