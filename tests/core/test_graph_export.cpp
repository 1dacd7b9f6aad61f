#include <nlohmann/json.hpp>

#include "core/graph_export.h"
#include "core/trace.h"
#include "ops/binary/operators.h"
#include "ops/softmax/softmax.h"
#include "tests/support/catch.h"

using namespace vitrine;
using nlohmann::json;
using vitrine::testing::Contains;

TEST_CASE("the tape exports to JSON and Graphviz, by module", "[unit]") {
  const Tensor x = from_vector({1, 2}, {2}, {.dtype = Dtype::f64}).set_requires_grad();
  Tensor y;
  {
    const trace::PathScope path("a \"block\"");
    y = x * full({2}, 3, {.dtype = Dtype::f64});
  }
  y = ops::softmax(y, 0);
  const json tape = json::parse(tape_json(y));
  REQUIRE(tape["nodes"].size() == 2);
  const json &softmax = tape["nodes"][0], &product = tape["nodes"][1];
  CHECK(tape["root"] == softmax["id"]);
  CHECK(softmax["id"] > product["id"]);
  json wanted = {{"id", softmax["id"]},
                 {"op", "softmax"},
                 {"module", ""},
                 {"attributes", "dim=0"},
                 {"saved_bytes", 16},
                 {"outputs", "[2] f64 cpu"},
                 {"inputs", json::array({{{"node", product["id"]}, {"index", 0}}})}};
  CHECK(softmax == wanted);
  wanted = {{"id", product["id"]},
            {"op", "mul"},
            {"module", "a \"block\""},
            {"attributes", ""},
            {"saved_bytes", 16},
            {"outputs", "[2] f64 cpu"},
            {"inputs", json::array({{{"leaf", "[2] f64 cpu"}}, nullptr})}};
  CHECK(product == wanted);
  const json nothing = {{"nodes", json::array()}, {"root", nullptr}};
  CHECK(json::parse(tape_json(x.detach())) == nothing);

  const std::string dot = tape_graphviz(y);
  const auto node = [](const json& n) { return "n" + n["id"].dump(); };
  CHECK_THAT(dot, Catch::StartsWith("digraph tape {") && Contains("label=\"a \\\"block\\\"\"") &&
                      Contains(node(product) + " -> " + node(softmax) + ";"));
}
