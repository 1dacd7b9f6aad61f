#include <filesystem>

#include "models/swin/swin.h"
#include "nn/optim/optimizer.h"
#include "ops/binary/operators.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "tests/support/models.h"

using namespace vitrine;
using namespace vitrine::testing;
using models::Swin;
using models::SwinConfig;

namespace {

/// The second block of a model of one stage of side x side tokens.
SwinConfig one_stage(int64_t side, const std::string& rpe = "") {
  SwinConfig config = small_swin(rpe);
  config.image_size = side, config.patch_size = 1, config.dim = 4, config.depths = {2}, config.heads = {2};
  return config;
}

void check_against_timm(Device device) {
  const data::Safetensors file = fixture("swin/swin.safetensors");
  Generator rng;
  Swin model({.device = device, .rng = &rng}, small_swin());
  model.load_state_dict(with_prefix(file, "weight."));
  model.eval();
  const Tensor logits = model(file.at("image").to(device));
  CHECK(distance(logits.detach(), file.at("logits")) < 1e-5);
  const Tensor loss = ops::cross_entropy(logits, file.at("target").to(device), {.label_smoothing = 0.1});
  CHECK(loss.item() == Catch::Approx(file.at("loss").item()).epsilon(1e-5));
  loss.backward();
  size_t recorded = 0;
  for (const auto& [key, p] : model.parameters()) {
    const Tensor* expected = file.find("grad." + key);
    if (!expected) continue;
    ++recorded;
    INFO(key);
    CHECK(distance(p.grad(), *expected) < 1e-4);  // sums of f32 in another order
  }
  CHECK(recorded == with_prefix(file, "grad.").size());
}

/// Sets every parameter to something that is neither 0 nor 1.
void redraw(nn::Module& module, Generator& rng) {
  const NoGrad no_grad;
  for (auto [name, p] : module.parameters()) p.copy_(random_normal(p.shape(), rng, 0, 0.5));
}

}  // namespace

TEST_CASE("swin: logits and gradients equal timm's", "[model]") { check_against_timm(Device::cpu()); }

TEST_CASE("swin: the emulated device computes the same", "[model][emulated]") {
  check_against_timm(Device::emulated());
}

TEST_CASE("swin: the cuda device computes the same", "[model][cuda]") {
  if (cuda_device_count() == 0) {
    WARN("SKIPPED: no cuda device");
    return;
  }
  check_against_timm(Device::cuda());
}

TEST_CASE("swin: state_dict has the official names, buffers and order", "[model]") {
  Generator rng;
  Swin model({.rng = &rng}, small_swin());
  const data::Safetensors file = fixture("swin/swin.safetensors");
  const nn::NamedTensors own = model.state_dict();
  CHECK(own.size() == with_prefix(file, "weight.").size());
  CHECK(own.front().first == "patch_embed.proj.weight");
  CHECK(own.back().first == "head.bias");
  int buffers = 0;
  for (const auto& [name, t] : own) {
    INFO(name);
    const Tensor& official = file.at("weight." + name);
    CHECK(t.shape() == official.shape());
    CHECK(t.dtype() == official.dtype());
    if (name.ends_with("attn_mask") || name.ends_with("relative_position_index")) {
      ++buffers;
      CHECK(t.to_vector() == official.to_vector());
    }
  }
  CHECK(buffers == 7);
  const auto groups = nn::decay_groups(model.parameters(), 0.05);
  for (const auto& [name, p] : groups[1].parameters) CHECK_FALSE(name.ends_with("relative_position_bias_table"));
}

TEST_CASE("swin: files without the buffers, or with those of another size, load too", "[model]") {
  Generator rng;
  Swin model({.rng = &rng}, small_swin());
  const nn::NamedTensors before = model.state_dict();
  nn::NamedTensors weights;
  for (const auto& [name, t] : before) {
    if (name.ends_with("relative_position_index")) continue;
    weights.emplace_back(name, name.ends_with("attn_mask") ? zeros({1, 9, 9}) : t.detach().clone());
  }
  CHECK(model.load_state_dict(weights).complete());
  CHECK(distance(model.state_dict()[4].second, before[4].second) == 0);
  weights.emplace_back("layers.0.blocks.0.attn_mask", zeros({1, 9, 9}));  // a block that has none
  CHECK(message_of([&] { model.load_state_dict(weights); }) ==
        "the weights do not fit the model; 1 unexpected: layers.0.blocks.0.attn_mask");
}

TEST_CASE("swin: parameters and multiply-adds of the presets", "[model]") {
  // Table 1 of the paper rounds these; products as PyTorch's flop counter sees them in timm's models.
  struct Row {
    const char* name;
    int64_t parameters;
    double products;
  };
  for (const Row& row :
       {Row{"swin_tiny_patch4_window7_224", 28288354, 4490.566656e6},
        {"swin_small_patch4_window7_224", 49606258, 0},
        {"swin_base_patch4_window7_224", 87768224, 0},
        {"swin_base_patch4_window12_384", 87903584, 47083.134976e6},
        {"swin_tiny_patch4_window7_224_ctx_product_169_shared_qkv", 28288354 - 169 * 138 + 12 * 3 * 169 * 32, 0}}) {
    INFO(row.name);
    const auto model = models::make_classifier({.blank = true}, row.name);
    CHECK(model->parameter_count() == row.parameters);
    int64_t parameters = 0, products = 0;
    for (const models::LayerCost& layer : model->costs()) parameters += layer.parameters, products += layer.macs_matmul;
    CHECK(parameters == row.parameters);
    if (row.products > 0) CHECK(double(products) == row.products);
  }
}

TEST_CASE("swin: gradients of a shifted block equal central differences", "[model]") {
  // 7 x 7 tokens in windows of 3: nine windows over 9 x 9, two rows and columns of padding.
  for (const char* rpe : {"", "rpe-1-product-ctx-1-qkv-clip", "rpe-1.9-cross-ctx-0-qkv"}) {
    INFO("rpe '" << rpe << "'");
    Generator rng{.seed = 2};
    models::SwinBlock block({.dtype = Dtype::f64, .rng = &rng}, one_stage(7, rpe), 0, 1, 0);
    REQUIRE(block.windows.shift == 1);
    redraw(block, rng);
    const auto call = [&](const Tensor& x) {
      const auto [stream, branch] = block(x, Tensor());
      return stream + branch;
    };
    check_gradients(block, call, random_normal({2, 49, 4}, rng, 0, 1, {.dtype = Dtype::f64}));
  }
}

TEST_CASE("swin: a token never sees another region of a shifted image", "[model]") {
  for (const int64_t side : {9, 7}) {  // without padding, and with
    constexpr int64_t kWindow = 3, kShift = 1;
    const int64_t padded = (side + kWindow - 1) / kWindow * kWindow;
    Generator rng{.seed = 4};
    models::SwinBlock block({.rng = &rng}, one_stage(side), 0, 1, 0);
    redraw(block, rng);
    const NoGrad no_grad;
    const Tensor x = random_normal({1, side * side, 4}, rng);
    const auto after_attention = [&](const Tensor& tokens) {
      return (block(tokens, Tensor())[0]).to_vector();  // the stream as the MLP finds it
    };
    // Neighbours in one window of the shifted image, on one side of the cut that the shift makes.
    const auto together = [&](int64_t a, int64_t b) {
      const auto window = [&](int64_t i) { return (i + padded - kShift) % padded / kWindow; };
      return window(a) == window(b) && (a < kShift) == (b < kShift);
    };
    const std::vector<double> before = after_attention(x);
    for (int64_t t = 0; t < side * side; ++t) {
      Tensor changed = x.clone();
      changed.narrow(1, t, 1).copy_(random_normal({1, 1, 4}, rng));
      const std::vector<double> after = after_attention(changed);
      for (int64_t u = 0; u < side * side; ++u) {
        bool moved = false;
        for (size_t c = 0; c < 4; ++c) moved |= before[size_t(u) * 4 + c] != after[size_t(u) * 4 + c];
        INFO("token " << u << " after a change of token " << t << ", side " << side);
        CHECK(moved == (together(t / side, u / side) && together(t % side, u % side)));
      }
    }
  }
}

TEST_CASE("swin: the bias of a pair is that of its offset, and iRPE replaces it", "[model]") {
  Generator rng{.seed = 6};
  models::WindowAttention attention({.rng = &rng}, one_stage(9), 4, 2, 3);
  redraw(attention, rng);
  struct Collector final : trace::Watcher {
    Tensor rpe;
    bool wants(const std::string& name) override { return name.ends_with("rpe"); }
    void see(const std::string&, const Tensor& value) override { rpe = value; }
  } collector;
  const NoGrad no_grad;
  const Tensor x = random_normal({2, 9, 4}, rng);
  const Tensor fused = attention(x, Tensor());
  trace::Watcher* previous = trace::set_watcher(&collector);
  const Tensor unfused = attention(x, Tensor());
  trace::set_watcher(previous);
  CHECK(distance(unfused, fused) < 1e-6);
  const std::vector<double> table = attention.relative_position_bias_table.tensor().to_vector();
  const std::vector<double> bias = collector.rpe.expand({2, 2, 9, 9}).select(0, 0).to_vector();
  for (int64_t h = 0; h < 2; ++h)
    for (int64_t i = 0; i < 9; ++i)
      for (int64_t j = 0; j < 9; ++j) {
        const int64_t offset = (i / 3 - j / 3 + 2) * 5 + i % 3 - j % 3 + 2;
        CHECK(bias[size_t((h * 9 + i) * 9 + j)] == table[size_t(offset * 2 + h)]);
      }

  const auto names = [&](const std::string& rpe) {
    const models::ClassifierOptions options{.rpe = rpe};
    std::string all;
    for (const auto& [name, t] :
         models::make_classifier({.rng = &rng}, "swin_micro_patch2_window7_28", options)->state_dict())
      if (name.starts_with("layers.0.blocks.0.attn.")) all += name.substr(23) + " " + to_string(t.shape()) + ", ";
    return all;
  };
  const std::string rest = "qkv.weight [96, 32], qkv.bias [96], proj.weight [32, 32], proj.bias [32], ";
  CHECK(names("none") == rest);
  CHECK(names("shaw") == names("rpe-1.9-product-ctx-1-k-clip"));
  CHECK(names("rpe-3-product-ctx-1-qkv-clip") == rest + "rpe_q.lookup_table_weight [1, 32, 169], " +
                                                     "rpe_k.lookup_table_weight [1, 32, 169], " +
                                                     "rpe_v.lookup_table_weight [1, 169, 32], ");
}

TEST_CASE("swin: training overfits eight images", "[model]") {
  for (const char* rpe : {"", "rpe-1-product-ctx-1-qkv-clip"}) {
    INFO("rpe '" << rpe << "'");
    Generator rng{.seed = 3};
    SwinConfig config = small_swin(rpe);
    config.drop_path = 0.05;
    Swin model({.rng = &rng}, config);
    std::vector<std::vector<double>> before;
    for (const auto& [name, p] : model.parameters()) before.push_back(p.to_vector());
    CHECK(overfit(model, rng, 100, 5e-3) < 0.05);
    const nn::NamedTensors after = model.parameters();
    for (size_t i = 0; i < after.size(); ++i) {
      INFO(after[i].first);
      CHECK(after[i].second.to_vector() != before[i]);
    }
  }
}

TEST_CASE("swin: a checkpoint gives the same model back", "[model]") {
  const std::string file = (std::filesystem::temp_directory_path() / "vitrine_test_swin.safetensors").string();
  Generator rng{.seed = 8}, other{.seed = 9};
  Swin model({.rng = &rng}, small_swin()), loaded({.rng = &other}, small_swin());
  redraw(model, rng);
  data::write_safetensors(file, {.tensors = model.state_dict()});
  const data::Safetensors content = data::read_safetensors(file);
  std::filesystem::remove(file);
  CHECK(content.at("layers.2.blocks.0.attn.relative_position_index").dtype() == Dtype::i64);
  loaded.load_state_dict(content.tensors);
  const NoGrad no_grad;
  const Tensor images = random_normal({2, 3, 24, 24}, rng);
  CHECK(loaded(images).to_vector() == model(images).to_vector());
}

TEST_CASE("swin: what cannot be built or fed says why", "[model]") {
  Generator rng;
  const auto make = [&](const models::ClassifierOptions& options) {
    return message_of([&] { models::make_classifier({.rng = &rng}, "swin_tiny_patch4_window7_224", options); });
  };
  CHECK(make({.image_size = 240}) ==
        "swin_tiny_patch4_window7_224: image size 240 is no multiple of 32: patches of 4, halved 3 times");
  CHECK(make({.ape = models::Ape::sincos}) ==
        "swin_tiny_patch4_window7_224: its absolute encoding is learned or none, not sincos");
  CHECK_THAT(make({.rpe = "rpe-3-product-bias-0-v-clip"}), Contains("no bias on v"));
  for (const std::string rival : {"transformer-xl", "huang", "sasa", "axial"})
    CHECK(make({.rpe = rival}) == "swin_tiny_patch4_window7_224 does not take rpe '" + rival +
                                      "'; give shaw, none, or as rpe-1.9-product-ctx-1-k");
  CHECK_THAT(make({.rpe = "hunag"}), Contains("must be none, shaw, "));
  SwinConfig uneven = small_swin();
  uneven.heads = {1, 3, 4};
  CHECK(message_of([&] { Swin({.rng = &rng}, uneven); }) == "small: stage 1 has 2 blocks, and 3 heads of 16 channels");
  uneven.heads = {1, 2};
  CHECK(message_of([&] { Swin({.rng = &rng}, uneven); }) ==
        "small: 3 depths, 2 numbers of heads and windows of 3 make no stages");
  Swin model({.rng = &rng}, small_swin());
  CHECK(message_of([&] {
          model(zeros({1, 3, 16, 16}));
        }) == "small: images [1, 3, 16, 16] f32 cpu must be [B, 3, 24, 24]");
}
