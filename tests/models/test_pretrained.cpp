#include <algorithm>
#include <cmath>
#include <cstring>

#include "data/checkpoint/checkpoint.h"
#include "models/deit/deit.h"
#include "models/pretrained.h"
#include "models/swin/swin.h"
#include "tests/support/catch.h"

using namespace vitrine;
using models::DeiT;
using models::DeiTConfig;
using models::Fit;
using models::PositionResize;
using models::PretrainedReport;

namespace {

std::string fixture(const std::string& name) { return std::string(VITRINE_SOURCE_DIR) + "/tests/fixtures/" + name; }

DeiTConfig small(bool distilled = false, int64_t image_size = 12, int64_t classes = 5) {
  return {.name = "small",
          .image_size = image_size,
          .patch_size = 4,
          .num_classes = classes,
          .dim = 16,
          .depth = 2,
          .heads = 2,
          .distilled = distilled};
}

nn::NamedTensors weights(const std::string& name) {
  nn::NamedTensors list;
  for (const auto& [key, t] : data::read_safetensors(fixture("deit/" + name + ".safetensors")).tensors)
    if (key.starts_with("weight.")) list.emplace_back(key.substr(7), t);
  return list;
}

Tensor at(const nn::NamedTensors& list, const std::string& name) {
  for (const auto& [key, t] : list)
    if (key == name) return t;
  FAIL("no " << name);
  return {};
}

void check_close(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const std::vector<double> x = a.to_vector(), y = b.to_vector();
  for (size_t i = 0; i < x.size(); ++i) CHECK(x[i] == Catch::Approx(y[i]).epsilon(1e-5).margin(1e-6));
}

bool equal(const Tensor& a, const Tensor& b) { return a.shape() == b.shape() && a.to_vector() == b.to_vector(); }

std::vector<std::string> names(const std::vector<PretrainedReport::Note>& notes) {
  std::vector<std::string> list;
  for (const auto& note : notes) list.push_back(note.name);
  return list;
}

using Names = std::vector<std::string>;

struct Loaded {
  Generator rng{.seed = 4};
  DeiT model;
  nn::NamedTensors before;
  PretrainedReport report;

  Loaded(const DeiTConfig& config, const nn::NamedTensors& values, Fit fit) : model({.rng = &rng}, config) {
    for (const auto& [name, t] : model.state_dict()) before.emplace_back(name, t.detach().clone());
    report = models::load_pretrained(model, values, fit);
    model.eval();
    const size_t count = report.loaded.size() + report.resized.size() + report.initial.size();
    CHECK(count == model.state_dict().size());
    for (const auto& name : report.loaded) CHECK(equal(at(model.state_dict(), name), at(values, name)));
    for (const auto& name : report.initial) CHECK(equal(at(model.state_dict(), name), at(before, name)));
  }
};

/// The message of what loading throws; the model must be as it was.
std::string failure(const DeiTConfig& config, const nn::NamedTensors& values, Fit fit) {
  Generator rng;
  DeiT model({.rng = &rng}, config);
  const Tensor before = model.cls_token.tensor().clone();
  try {
    models::load_pretrained(model, values, fit);
  } catch (const ShapeError& e) {
    CHECK(equal(model.cls_token, before));
    return e.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("pretrained: weights of torch.save have the bits and the logits of the safetensors form", "[model]") {
  const data::Safetensors recorded = data::read_safetensors(fixture("deit/plain.safetensors"));
  const data::Checkpoint read = data::read_checkpoint(fixture("checkpoint/deit.pth"));
  CHECK(read.key == "model");
  for (const auto& [name, t] : read.content.tensors) {
    INFO(name);
    const Tensor& same = recorded.at("weight." + name);
    REQUIRE(t.shape() == same.shape());
    CHECK(std::memcmp(t.raw_data(), same.raw_data(), size_t(t.numel()) * sizeof(float)) == 0);
  }
  Loaded torch(small(), read.content.tensors, Fit::evaluate), ours(small(), weights("plain"), Fit::evaluate);
  CHECK(torch.report.loaded.size() == 32);
  const Tensor a = torch.model(recorded.at("image")), b = ours.model(recorded.at("image"));
  CHECK(equal(a, b));
  const std::vector<double> x = a.to_vector(), y = recorded.at("logits").to_vector();
  for (size_t i = 0; i < x.size(); ++i) CHECK(x[i] == Catch::Approx(y[i]).epsilon(1e-5).margin(1e-5));
}

TEST_CASE("pretrained: positions are resized as DeiT's program does it, or as timm", "[model]") {
  const data::Safetensors recorded = data::read_safetensors(fixture("checkpoint/positions.safetensors"));
  for (const int64_t side : {5, 2}) {
    const Tensor own = zeros({1, 1 + side * side, 4});
    for (const PositionResize how : {PositionResize::bicubic, PositionResize::bicubic_aa}) {
      const Tensor made = models::resize_positions(recorded.at("from"), 1, {side, side, 1}, own, how);
      const char* name = how == PositionResize::bicubic ? "to" : "aa";
      check_close(made, recorded.at(name + std::to_string(side)));
    }
  }
  CHECK(equal(models::resize_positions(recorded.at("from"), 1, {3, 3, 1}, zeros({1, 10, 4})), recorded.at("from")));
  CHECK(models::parse_position_resize("bicubic-aa") == PositionResize::bicubic_aa);
  CHECK_THROWS_AS(models::parse_position_resize("nearest"), ValueError);
}

TEST_CASE("pretrained: Swin's biases are resized to another window", "[model]") {
  const data::Safetensors recorded = data::read_safetensors(fixture("checkpoint/positions.safetensors"));
  check_close(models::resize_bias_table(recorded.at("table"), 9), recorded.at("table9"));
  CHECK_THROWS_AS(models::resize_bias_table(zeros({24, 2}), 9), ShapeError);

  Generator rng;
  const auto swin = [&](int64_t window) {
    return models::SwinConfig{.name = "small",
                              .image_size = 30,
                              .patch_size = 2,
                              .num_classes = 5,
                              .dim = 4,
                              .depths = {2},
                              .heads = {2},
                              .window = window};
  };
  models::Swin three({.rng = &rng}, swin(3)), five({.rng = &rng}, swin(5));
  const PretrainedReport report = models::load_pretrained(five, three.state_dict(), Fit::evaluate);
  CHECK(names(report.resized) == Names{"layers.0.blocks.0.attn.relative_position_bias_table",
                                       "layers.0.blocks.1.attn.relative_position_bias_table"});
  CHECK(report.resized[0].what == "windows of 3 x 3 to 5 x 5");
  const std::string table = report.resized[0].name;
  CHECK(equal(at(five.state_dict(), table), models::resize_bias_table(at(three.state_dict(), table), 9)));
}

TEST_CASE("pretrained: another number of classes leaves the head as drawn, another size resizes positions", "[model]") {
  const Loaded head(small(false, 12, 7), weights("plain"), Fit::fine_tune);
  Names left = names(head.report.left_out);
  std::sort(left.begin(), left.end());
  CHECK(left == Names{"head.bias", "head.weight"});
  CHECK(head.report.initial == Names{"head.weight", "head.bias"});
  CHECK(head.report.text().find("head.weight (is [5, 16], the model's is [7, 16])") != std::string::npos);

  const Loaded size(small(false, 20), weights("plain"), Fit::evaluate);
  CHECK(names(size.report.resized) == Names{"pos_embed"});
  CHECK(size.report.resized[0].what == "1 + 3 x 3 to 1 + 5 x 5 positions");
  CHECK(size.report.initial.empty());
  const Tensor own = at(size.model.state_dict(), "pos_embed"), theirs = at(weights("plain"), "pos_embed");
  CHECK(equal(own.narrow(1, 0, 1), theirs.narrow(1, 0, 1)));
  CHECK(equal(own, models::resize_positions(theirs, 1, {5, 5, 1}, own)));
}

TEST_CASE("pretrained: distilled to plain and plain to distilled", "[model]") {
  const Loaded plain(small(), weights("distilled"), Fit::fine_tune);
  Names left = names(plain.report.left_out);
  std::sort(left.begin(), left.end());
  CHECK(left == Names{"dist_token", "head_dist.bias", "head_dist.weight"});
  CHECK(plain.report.initial.empty());
  const Tensor from = at(weights("distilled"), "pos_embed"), to = at(plain.model.state_dict(), "pos_embed");
  CHECK(equal(to.narrow(1, 0, 1), from.narrow(1, 0, 1)));
  CHECK(equal(to.narrow(1, 1, 9), from.narrow(1, 2, 9)));

  const Loaded distilled(small(true), weights("plain"), Fit::fine_tune);
  CHECK(distilled.report.initial == Names{"dist_token", "head_dist.weight", "head_dist.bias"});
  const Tensor own = at(distilled.model.state_dict(), "pos_embed"), theirs = at(weights("plain"), "pos_embed");
  CHECK(equal(own.narrow(1, 0, 1), theirs.narrow(1, 0, 1)));
  CHECK(equal(own.narrow(1, 1, 1), at(distilled.before, "pos_embed").narrow(1, 1, 1)));
  CHECK(equal(own.narrow(1, 2, 9), theirs.narrow(1, 1, 9)));
}

TEST_CASE("pretrained: relative positions are added to weights without them, and change nothing at first", "[model]") {
  DeiTConfig config = small();
  config.rpe = ops::parse_rpe("rpe-1.9-product-ctx-1-qkv");
  Loaded with(config, weights("plain"), Fit::fine_tune), without(small(), weights("plain"), Fit::evaluate);
  CHECK(with.report.initial.size() == 6);
  const Tensor image = data::read_safetensors(fixture("deit/plain.safetensors")).at("image");
  const std::vector<double> x = with.model(image).to_vector(), y = without.model(image).to_vector();
  for (size_t i = 0; i < x.size(); ++i) CHECK(x[i] == Catch::Approx(y[i]).epsilon(1e-5).margin(1e-5));
  nn::NamedTensors other = with.model.state_dict();
  config.rpe = ops::parse_rpe("rpe-1.9-product-ctx-1-k");
  CHECK(failure(config, other, Fit::fine_tune).find("4 unexpected: blocks.0.attn.rpe_") != std::string::npos);
}

TEST_CASE("pretrained: what does not fit is an error with every name, and evaluation takes no drawn values",
          "[model]") {
  nn::NamedTensors values = weights("plain");
  for (auto& [name, t] : values) {
    if (name == "norm.bias") name = "fc_norm.bias";
    if (name == "cls_token") t = zeros({1, 1, 8});
    if (name == "blocks.0.attn.qkv.weight") t = zeros({48, 8});
  }
  for (const Fit fit : {Fit::evaluate, Fit::fine_tune}) {
    const std::string message = failure(small(), values, fit);
    CHECK(
        message.starts_with("the weights do not fit the model; 1 missing: norm.bias; 1 unexpected: fc_norm.bias; 2 of "
                            "another shape: "));
    CHECK(message.find("cls_token is [1, 1, 8], the model's is [1, 1, 16]") != std::string::npos);
    CHECK(message.find("blocks.0.attn.qkv.weight is [48, 8], the model's is [48, 16]") != std::string::npos);
  }
  CHECK(failure(small(false, 12, 7), weights("plain"), Fit::evaluate).find("2 of another shape: head.") !=
        std::string::npos);
  CHECK(failure(small(true), weights("plain"), Fit::evaluate)
            .find("3 missing: dist_token, head_dist.weight, "
                  "head_dist.bias") != std::string::npos);
  CHECK(failure(small(), weights("distilled"), Fit::evaluate).find("3 unexpected: ") != std::string::npos);
  nn::NamedTensors rows = weights("plain");
  for (auto& [name, t] : rows)
    if (name == "pos_embed") t = zeros({1, 9, 16});  // the class token's row is missing, as in DeiT III
  CHECK(failure(small(), rows, Fit::fine_tune).find("pos_embed is [1, 9, 16]") != std::string::npos);
  for (const char* scale : {"blocks.0.ls1.gamma", "blocks.0.gamma_1"}) {
    nn::NamedTensors third = rows;
    third.emplace_back(scale, zeros({16}));
    CHECK(failure(small(), third, Fit::fine_tune).starts_with("the weights are of DeiT III, which is not supported"));
  }
}
