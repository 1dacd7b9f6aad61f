#include "models/deit/deit.h"
#include "models/official_names.h"
#include "models/pretrained.h"
#include "models/swin/swin.h"
#include "ops/binary/operators.h"
#include "tests/support/models.h"

using namespace vitrine;
using namespace vitrine::testing;
using models::official_names;

namespace {

/// The models of tests/fixtures/deit/make_hugging_face.py.
models::DeiTConfig tiny(bool distilled) {
  return {.name = "tiny",
          .image_size = 12,
          .patch_size = 4,
          .num_classes = 3,
          .dim = 8,
          .depth = 2,
          .heads = 2,
          .distilled = distilled};
}

models::PretrainedReport check_logits(const models::DeiTConfig& config, const nn::NamedTensors& weights,
                                      const data::Safetensors& recorded) {
  Generator rng;
  models::DeiT model({.rng = &rng}, config);
  auto report = models::load_pretrained(model, official_names(weights), models::Fit::evaluate);
  model.eval();
  const NoGrad no_grad;
  CHECK(distance(model.logits(recorded.at("image")), recorded.at("logits")) < 1e-5);
  return report;
}

nn::NamedTensors without(nn::NamedTensors weights, const std::string& name) {
  std::erase_if(weights, [&](const auto& entry) { return entry.first == name; });
  return weights;
}

}  // namespace

TEST_CASE("names: weights of Hugging Face's ViT and DeiT give its logits", "[model]") {
  const data::Safetensors vit = fixture("deit/hf_vit.safetensors"), deit = fixture("deit/hf_deit.safetensors");
  CHECK(check_logits(tiny(false), with_prefix(vit, "file."), vit).left_out.empty());
  check_logits(tiny(false), with_prefix(vit, "program."), vit);
  check_logits(tiny(true), with_prefix(deit, "file."), deit);
}

TEST_CASE("names: a pooler is left out; a qkv that is not whole is told of", "[model]") {
  const data::Safetensors vit = fixture("deit/hf_vit.safetensors");
  nn::NamedTensors weights = with_prefix(vit, "file.");
  weights.emplace_back("vit.pooler.dense.weight", zeros({8, 8}));
  const models::PretrainedReport report = check_logits(tiny(false), weights, vit);
  REQUIRE(report.left_out.size() == 1);
  CHECK(report.left_out[0].name == "pooler.dense.weight");

  const std::string stem = "vit.encoder.layer.1.attention.attention.";
  Generator rng;
  models::DeiT model({.rng = &rng}, tiny(false));
  try {
    models::load_pretrained(model, official_names(without(weights, stem + "key.bias")), models::Fit::fine_tune);
    FAIL("no error");
  } catch (const ShapeError& e) {
    CHECK(std::string(e.what()) ==
          "the weights do not fit the model; 1 missing: blocks.1.attn.qkv.bias; 2 unexpected: " + stem +
              "query.bias, " + stem + "value.bias");
  }
}

TEST_CASE("names: timm's Swin has each downsampling in the stage behind it", "[model]") {
  const data::Safetensors file = fixture("swin/swin.safetensors");
  nn::NamedTensors timm;
  for (auto [name, t] : with_prefix(file, "weight.")) {  // the inverse of make_swin.py's official()
    if (name.ends_with("relative_position_index") || name.ends_with("attn_mask")) continue;
    if (name.starts_with("head.")) name.insert(5, "fc.");
    if (name.find(".downsample.") != std::string::npos) ++name[7];
    timm.emplace_back(name, t);
  }
  const auto has = [](const nn::NamedTensors& list, const std::string& name) {
    return std::any_of(list.begin(), list.end(), [&](const auto& entry) { return entry.first == name; });
  };
  REQUIRE(has(timm, "layers.2.downsample.reduction.weight"));
  Generator rng;
  models::Swin model({.rng = &rng}, small_swin());
  models::load_pretrained(model, official_names(timm), models::Fit::evaluate);
  model.eval();
  const NoGrad no_grad;
  CHECK(distance(model(file.at("image")), file.at("logits")) < 1e-5);
  // The authors' own names, buffers among them, stay as they are.
  const nn::NamedTensors own = official_names(with_prefix(file, "weight."));
  CHECK(has(own, "layers.0.downsample.norm.weight"));
  CHECK_FALSE(has(own, "layers.2.downsample.norm.weight"));
  models::load_pretrained(model, own, models::Fit::evaluate);
}

TEST_CASE("names: a wrapper's prefix is taken off if every name has it", "[model]") {
  nn::NamedTensors wrapped = {{"module.cls_token", zeros({1})}, {"module.norm.bias", zeros({1})}};
  CHECK(official_names(wrapped)[1].first == "norm.bias");
  wrapped[0].first = "cls_token";
  CHECK(official_names(wrapped)[1].first == "module.norm.bias");
}
