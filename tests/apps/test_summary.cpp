#include <cmath>

#include "models/classifier.h"
#include "tests/apps/run_program.h"
#include "tests/support/catch.h"

using namespace vitrine;
using testing::Finished;
using testing::run_program;
using vitrine::testing::Contains;

TEST_CASE("summary: the paper's tables beside its figures", "[apps]") {
  const Finished run = run_program({"summary", "--paper", "--json"});
  REQUIRE(run.status == 0);
  const nlohmann::json tables = run.json();
  REQUIRE(tables["table2"].size() == 4);
  REQUIRE(tables["table5"].size() == 18);
  for (const char* table : {"table2", "table5"})
    for (const auto& row : tables[table]) {
      INFO(row);
      const double macs = row["macs"], parameters = row["parameters"];
      const std::string printed = row["paper_parameters"];
      if (row["row"] == "DeiT-S Transformer-XL") continue;
      CHECK(std::llround(macs * 1e-6) == row["paper_macs_millions"]);
      // To the printed digits, rounded or cut off; two rows of whole millions say more than their models have.
      if (row["row"] == "ViT-L/16" || row["row"] == "CPVT-S(0-5)") continue;
      CHECK(std::abs(parameters * 1e-6 - std::stod(printed)) < (printed.find('.') == printed.npos ? 1 : 0.005));
    }
  const auto& points = tables["figure4"];
  REQUIRE(points.size() == 6);
  const double naive[] = {178.8, 741.0, 1534.1, 4841.3, 11811.2, 28823.0};  // irpe 8.3
  for (size_t i = 0; i < points.size(); ++i) {
    CHECK(std::round(double(points[i]["naive_extra"]) * 1e-5) / 10 == naive[i]);
    CHECK(double(points[i]["look_up_extra"]) / double(points[i]["macs"]) < 0.01005);
  }
  const Finished text = run_program({"summary", "--paper"});
  CHECK(text.status == 0);
  CHECK_THAT(text.out, Contains("Tab. 2") && Contains("Tab. 5") && Contains("Fig. 4") && Contains("191452") &&
                           Contains("112496.5"));
}

TEST_CASE("summary: the figures of a model are the sums over its layers, at the size and classes asked for", "[apps]") {
  const auto summary = [](std::vector<std::string> more) {
    more.insert(more.begin(), {"summary", "deit_tiny_patch16_224", "--json"});
    const Finished run = run_program(more);
    INFO(run.err);
    REQUIRE(run.status == 0);
    const nlohmann::json found = run.json();
    for (const char* key : {"parameters", "macs", "macs_matmul"}) {
      int64_t sum = 0;
      for (const auto& layer : found["layers"]) sum += int64_t(layer[key]);
      CHECK(found[key] == sum);
    }
    return found;
  };
  // Products of a DeiT of 12 blocks with n tokens, D = 192: patches, 12 (n (3 + 1 + 8) D^2 + 2 n^2 D), the head.
  const auto products = [](int64_t n, int64_t classes) {
    return (n - 1) * 768 * 192 + 12 * (n * 12 * 192 * 192 + 2 * n * n * 192) + 192 * classes;
  };
  const nlohmann::json usual = summary({});
  CHECK(usual["name"] == "deit_tiny_patch16_224");
  CHECK(usual["parameters"] == 5717416);  // deit 1.1
  CHECK(usual["macs"] == 1260697456);     // irpe 8.3
  CHECK(usual["macs_matmul"] == products(197, 1000));
  const nlohmann::json large = summary({"--image-size", "384"});
  CHECK(large["parameters"] == 5790376);  // deit 1.1
  CHECK(large["macs_matmul"] == products(577, 1000));
  const nlohmann::json few = summary({"--num-classes", "100"});
  CHECK(few["parameters"] == 5543716);  // deit 1.1
  CHECK(few["macs_matmul"] == products(197, 100));
  CHECK(few["layers"].back()["name"] == "head");
  CHECK(few["layers"].back()["parameters"] == 19300);
}

TEST_CASE("models: every registered model, once, as a list of names or a line each", "[apps]") {
  const Finished run = run_program({"models", "--json"});
  REQUIRE(run.status == 0);
  const nlohmann::json list = run.json();
  CHECK(list == nlohmann::json(models::classifier_names()));
  for (const char* name : {"deit_tiny_patch16_224", "deit_base_distilled_patch16_384", "swin_tiny_patch4_window7_224",
                           "deit_small_patch16_224_ctx_product_50_shared_k"})
    CHECK(std::count(list.begin(), list.end(), name) == 1);
  std::string lines;
  for (const auto& name : list) lines += std::string(name) + "\n";
  const Finished text = run_program({"models"});
  CHECK(text.status == 0);
  CHECK(text.out == lines);
}

TEST_CASE("summary: layers of a model with an earlier method or generators", "[apps]") {
  const auto layers = [](const std::vector<std::string>& words) {
    const Finished run = run_program(words);
    INFO(run.err);
    REQUIRE(run.status == 0);
    return run.json()["layers"].dump();
  };
  CHECK_THAT(layers({"summary", "deit_micro_patch4_28", "--rpe", "sasa", "--json"}), Contains("blocks.0.attn.rpe"));
  CHECK_THAT(layers({"summary", "deit_micro_patch4_28", "--ape", "peg", "--json"}), Contains("pos_block.2"));
  CHECK_THAT(layers({"summary", "cpvt_tiny_0_5", "--ape", "learned", "--json"}), !Contains("pos_block"));
}

TEST_CASE("summary: what is wrong is said once", "[apps]") {
  const auto usage = [](const std::vector<std::string>& arguments) {
    const Finished run = run_program(arguments);
    INFO(run.err);
    CHECK(run.status == 2);
    CHECK(run.is_one_error());
    return run.err;
  };
  CHECK_THAT(usage({"summary"}), Contains("which MODEL? See vitrine models; or --paper"));
  CHECK_THAT(usage({"summary", "deit_tiny_patch16_224", "--paper"}), Contains("--paper takes no model"));
  CHECK_THAT(usage({"summary", "--paper", "--rpe", "huang"}), Contains("--paper takes no model and no other flag"));
  CHECK_THAT(usage({"summary", "deit_tiny_patch16_224", "--rpe", "huang-v"}),
             Contains("must be none, shaw, transformer-xl, huang, sasa, axial, or as rpe-"));
  CHECK_THAT(usage({"summary", "deit_tiny_patch16_224", "--ape", "cpvt"}), Contains("learned, sincos, none or peg"));
}
