#include <cmath>
#include <set>

#include "apps/plot/index_functions.h"
#include "data/image/image.h"
#include "tests/apps/tiny_runs.h"
#include "tests/support/catch.h"

using namespace vitrine;
using nlohmann::json;
using testing::Finished;
using testing::run_program;
using testing::ScratchFolder;
using vitrine::testing::Contains;

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
  CHECK(lost.status == 1);
  CHECK(lost.is_one_error());
  CHECK_THAT(lost.err, Contains("no/maps.png"));
}

TEST_CASE("rpe: --curve draws both index functions", "[apps][rpe]") {
  const ScratchFolder folder("rpecurve");
  const std::string file = folder.file("g.svg");
  const Finished run = run_program({"rpe", "--ratio", "1.9", "--curve", file});
  REQUIRE(run.status == 0);
  CHECK(run.out == file + "\n");
  const std::string svg = folder.read("g.svg");
  CHECK(svg == apps::index_functions_svg(1.9));
  CHECK_THAT(svg, Contains("g, piecewise") && Contains("h, clip") && Contains("relative position x") &&
                      Contains("index of the bucket") && Contains("-3 to 3"));
  const Finished both =
      run_program({"rpe", "--ratio", "1.9", "--curve", file, "--method", "euc", "--grid", "2x2", "--json"});
  CHECK(both.json()["num_buckets"] == 7);
  CHECK(run_program({"rpe", "--ratio", "1.9", "--curve", folder.file("no/g.svg")}).status == 1);
  CHECK(run_program({"rpe", "--ratio", "-1", "--curve", file}).status == 2);
}

namespace {

/// Trains for an epoch with `rpe` and returns the checkpoint.
std::string trained(const ScratchFolder& folder, const testing::TinyMnist& data, const std::string& rpe) {
  const std::string out = folder.file(rpe);
  REQUIRE(run_program({"train", "--data", "mnist:" + data.path, "--epochs", "1", "--batch-size", "16", "--lr", "0.01",
                       "--rpe", rpe, "--out", out})
              .status == 0);
  return out + "/checkpoint.safetensors";
}

}  // namespace

TEST_CASE("rpe --checkpoint: the term of a bias is the mean of its tables by bucket", "[apps][rpe]") {
  const ScratchFolder folder("rpeterms");
  const testing::TinyMnist data(folder);
  const std::string checkpoint = trained(folder, data, "rpe-1.9-product-bias-0-k"), png = folder.file("terms.png");
  const Finished run = run_program(
      {"rpe", "--checkpoint", checkpoint, "--patches", "2,5;0,0", "--images", "19", "--png", png, "--json"});
  INFO(run.err);
  REQUIRE(run.status == 0);
  const json all = run.json();
  CHECK(all["images"] == 19);
  REQUIRE(all["layers"].size() == 4);
  const json ids =
      run_program({"rpe", "--method", "product", "--ratio", "1.9", "--grid", "7x7", "--json"}).json()["ids"];
  const data::Safetensors file = data::read_safetensors(checkpoint);
  for (size_t layer = 0; layer < 4; ++layer) {
    const std::string name = "blocks." + std::to_string(layer) + ".attn";
    CHECK(all["layers"][layer]["layer"] == name);
    const Tensor* table = file.find(name + ".rpe_k.lookup_table_bias");
    REQUIRE(table);
    const std::vector<double> bias = table->to_vector();  // [2 heads, 50]
    const json& map = all["layers"][layer]["maps"][0];
    CHECK(map["patch"] == json({2, 5}));
    std::vector<double> right;
    double mean = 0, largest = 0;
    for (const int id : ids[2 * 7 + 5]) right.push_back((bias[size_t(id)] + bias[50 + size_t(id)]) / 2);
    for (const double x : right) mean += x / 49;
    for (size_t cell = 0; cell < 49; ++cell) {
      CHECK(double(map["term"][cell / 7][cell % 7]) == Approx(right[cell] - mean).margin(1e-7));
      largest = std::max(largest, std::abs(right[cell] - mean));
    }
    // It has learned something, but in the last block, where only the class token's query counts.
    CHECK((largest > 1e-4) == (layer < 3));
  }
  CHECK(data::decode_image(png).width > 4 * 7 * 18);
}

TEST_CASE("rpe --checkpoint: contextual terms depend on the image, one value a bucket", "[apps][rpe]") {
  const ScratchFolder folder("rpeterms");
  const testing::TinyMnist data(folder);
  const std::string checkpoint = trained(folder, data, "rpe-1.9-product-ctx-1-k");
  data::Image image{.height = 28, .width = 28, .channels = 1, .pixels = {}};
  for (int p = 0; p < 28 * 28; ++p) image.pixels.push_back(uint8_t(testing::stripes(3, 5, p)));
  data::write_png(folder.file("three.png"), image);
  const auto first_map = [&](std::vector<std::string> more) {
    std::vector<std::string> words = {"rpe", "--checkpoint", checkpoint, "--patches", "3,3", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const Finished run = run_program(words);
    INFO(run.err);
    REQUIRE(run.status == 0);
    return run.json()["layers"][0]["maps"][0]["term"];
  };
  const json mean = first_map({}), one = first_map({"--image", folder.file("three.png")});
  CHECK(mean != one);
  for (const json& map : {mean, one}) {
    CHECK(map[0][0] == map[0][1]);  // of the offsets 2 and 3 to either side one bucket, as g has it
    CHECK(map[5][2] == map[6][2]);
    CHECK(map[3][2] != map[3][4]);
  }
}

TEST_CASE("rpe --checkpoint: what does not fit is said once", "[apps][rpe]") {
  const ScratchFolder folder("rpeterms");
  const testing::TinyMnist data(folder);
  const std::string with = trained(folder, data, "rpe-1.9-product-ctx-1-k"), png = folder.file("terms.png");
  const auto fails = [&](std::vector<std::string> words, const std::string& part) {
    words.insert(words.begin(), {"rpe", "--checkpoint"});
    const Finished run = run_program(words);
    INFO(run.err);
    CHECK(run.is_one_error());
    CHECK_THAT(run.err, Contains(part));
    CHECK(!std::filesystem::exists(png));
    return run.status;
  };
  for (const char* rpe : {"none", "rpe-1.9-product-ctx-1-v"}) {
    const std::string without = trained(folder, data, rpe);
    CHECK(fails({without, "--png", png}, without + ": the model's relative positions add nothing to its logits") == 3);
  }
  CHECK(fails({with}, "--checkpoint needs --png FILE to draw into, or --json") == 2);
  CHECK(fails({with, "--png", png, "--grid", "7x7"}, "leave --method, --ratio, --grid and --curve out") == 2);
  CHECK(fails({with, "--png", png, "--images", "0"}, "--images must be at least 1") == 2);
  for (const char* patches : {"3", "3,", "3;3", "a,b", "3,3;", "3,3 4,4"})
    CHECK(fails({with, "--png", png, "--patches", patches}, "write ROW,COLUMN;ROW,COLUMN") == 2);
  for (const char* patches : {"7,0", "0,7", "-1,0", "0,0;3,9"})
    CHECK(fails({with, "--png", png, "--patches", patches}, "outside of the model's grid of 7 x 7") == 2);
  CHECK(fails({folder.file("lost"), "--png", png}, "lost: no such file") == 3);
  CHECK(fails({with, "--png", png, "--image", folder.write("no.png", "x")}, "no.png") == 3);
  CHECK(fails({with, "--png", folder.file("no/terms.png")}, "no/terms.png") == 1);
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
  CHECK_THAT(run_program({"rpe"}).err, Contains("give --method, --ratio and --grid; or --ratio and --curve; or"));
}
