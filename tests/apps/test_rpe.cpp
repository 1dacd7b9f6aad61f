#include <set>

#include "data/image/image.h"
#include "tests/apps/run_program.h"
#include "tests/support/catch.h"

using namespace vitrine;
using Catch::Matchers::Contains;
using nlohmann::json;
using testing::Finished;
using testing::run_program;

namespace {

/// A fixture's method as --method takes it, and where its ids are in the answer.
std::pair<std::string, json> ids_of(const json& e) {
  const std::string name = e["method"];
  const std::string method = name.starts_with("cross") ? "cross" : name == "euclidean" ? "euc" : name;
  const std::string grid = std::to_string(int(e["height"])) + "x" + std::to_string(int(e["width"]));
  const Finished run = run_program(
      {"rpe", "--method", method, "--ratio", e["ratio"].dump(), "--grid", grid, "--skip", e["skip"].dump(), "--json"});
  CHECK(run.status == 0);
  CHECK(run.err.empty());
  const json all = run.json();
  for (const char* key : {"height", "width", "skip", "ratio"}) CHECK(all[key] == e[key]);
  if (name == "cross_rows") return {name, all["rows"]};
  if (name == "cross_columns") return {name, all["cols"]};
  return {name, all};
}

}  // namespace

TEST_CASE("rpe: ids and their number equal those computed from the equations", "[apps][rpe]") {
  std::ifstream file(std::string(VITRINE_SOURCE_DIR) + "/tests/fixtures/relpos/irpe_ids.json");
  for (const json& e : json::parse(file)) {
    INFO(e["method"] << " ratio " << e["ratio"] << " skip " << e["skip"]);
    const auto [name, answer] = ids_of(e);
    CHECK(answer["ids"] == e["ids"]);
    const int side = 2 * int(2 * e["ratio"].get<double>()) + 1;
    CHECK(answer["num_buckets"] == (name == "product" ? side * side : side) + (e["skip"] > 0));
  }
}

TEST_CASE("rpe: --clip takes the clip function", "[apps][rpe]") {
  const json all =
      run_program({"rpe", "--method", "cross", "--ratio", "1.5", "--grid", "1x9", "--clip", "--json"}).json();
  CHECK(all["clip"] == true);
  CHECK(all["cols"]["ids"][8] == json({6, 6, 6, 6, 6, 6, 5, 4, 3}));
  CHECK(all["cols"]["ids"][0] == json({3, 2, 1, 0, 0, 0, 0, 0, 0}));
}

TEST_CASE("rpe: people see how many buckets are used, the function, and the map of the centre", "[apps][rpe]") {
  const Finished product =
      run_program({"rpe", "--method", "product", "--ratio", "1.9", "--grid", "3x3", "--skip", "1"});
  CHECK(product.status == 0);
  CHECK(product.out ==
        "product, ratio 1.9, grid 3 x 3, 1 extra: 26 of 50 buckets used\n\n"
        "x      0  1  2\n"
        "g(x)   0  1  2\n\n"
        "seen from row 1, column 1:\n"
        " 32 31 30\n"
        " 25[24]23\n"
        " 18 17 16\n\n"
        "Every pair with an extra token has bucket 49.\n");
  // The figures that the presets' names carry: buckets in use on a 14 x 14 grid.
  const auto used = [](const char* method, const char* ratio) {
    const std::string out =
        run_program({"rpe", "--method", method, "--ratio", ratio, "--grid", "14x14", "--skip", "1"}).out;
    return out.substr(0, out.find('\n'));
  };
  CHECK_THAT(used("euc", "20"), Contains("20 of 82 buckets used"));
  CHECK_THAT(used("quant", "33"), Contains("51 of 134 buckets used"));
  CHECK_THAT(used("cross", "20"), Contains("rows 28 of 82 buckets used, columns 28 of 82"));
  // 2 (1 + ln(x / 2) / ln 8): 2.4 at 3, 2.7 at 4, 3.4 at 9, 3.5 at 10; the largest squared distance is 8 * 8.
  CHECK_THAT(run_program({"rpe", "--method", "quantization", "--ratio", "2", "--grid", "1x9"}).out,
             Contains("x      0  1  2-3  4-9  10-64\n") && Contains("g(x)   0  1    2    3      4\n"));
}

TEST_CASE("rpe: --png draws one colour a bucket", "[apps][rpe]") {
  const testing::ScratchFolder folder("rpe");
  const std::string file = folder.file("maps.png");
  REQUIRE(run_program({"rpe", "--method", "cross", "--ratio", "1.9", "--grid", "4x4", "--png", file}).status == 0);
  const data::Image image = data::decode_image(file);
  std::map<std::array<uint8_t, 3>, int> areas;
  for (size_t i = 0; i < image.pixels.size(); i += 3)
    ++areas[{image.pixels[i], image.pixels[i + 1], image.pixels[i + 2]}];
  // 7 buckets, each with more than half a cell somewhere; greys are paper, letters and lines.
  constexpr int kCell = 48 * 48;
  int colored = 0;
  for (const auto& [color, area] : areas)
    colored += area > kCell / 2 && std::set(color.begin(), color.end()).size() > 1;
  CHECK(colored == 7);
  CHECK(folder.list() == std::vector<std::string>{"maps.png"});
  const Finished lost =
      run_program({"rpe", "--method", "euc", "--ratio", "2", "--grid", "2x2", "--png", folder.file("no/maps.png")});
  CHECK(lost.status == 3);
  CHECK(lost.is_one_error());
  CHECK_THAT(lost.err, Contains("no/maps.png"));
}

TEST_CASE("rpe: wrong usage says what would be right", "[apps][rpe]") {
  const auto usage = [](const char* method, const char* ratio, const char* grid, const char* skip = "0") {
    const Finished run =
        run_program({"rpe", "--method", method, "--ratio", ratio, "--grid", grid, "--skip", skip, "--json"});
    INFO(run.err);
    CHECK(run.status == 2);
    CHECK(run.is_one_error());
    return run.err;
  };
  CHECK_THAT(usage("prodct", "1.9", "4x4"), Contains("unknown method 'prodct'; write euc, quant, cross or product"));
  for (const char* grid : {"4", "x4", "4x", "0x4", "4x0", "-4x4", "4x4x4", "4 x 4", "axb", "99999999999999999999x1"})
    CHECK_THAT(usage("product", "1.9", grid), Contains(grid) && Contains("write HEIGHTxWIDTH"));
  CHECK_THAT(usage("product", "1.9", "64x64", "1"), Contains("--grid 64x64 and --skip 1 are more than 4096 tokens"));
  for (const char* grid : {"4000000000x4000000000", "2x9223372036854775807", "9223372036854775807x2"})
    CHECK_THAT(usage("product", "1.9", grid), Contains("more than 4096 tokens"));
  CHECK_THAT(usage("product", "1.9", "4x4", "-1"), Contains("--skip -1"));
  CHECK_THAT(usage("product", "0", "4x4"), Contains("--ratio 0 must be above 0"));
  CHECK_THAT(usage("product", "nan", "4x4"), Contains("--ratio"));
  CHECK_THAT(usage("product", "1e9", "4x4"), Contains("at most 1000"));
  CHECK_THAT(usage("product", "big", "4x4"), Contains("--ratio"));
  CHECK(run_program({"rpe", "--method", "euc", "--ratio", "2"}).status == 2);
}
