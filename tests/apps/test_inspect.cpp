#include "apps/inspect/html.h"
#include "apps/inspect/terms.h"
#include "tests/apps/inspected.h"

using namespace vitrine;
using nlohmann::json;
using namespace vitrine::testing;

namespace {

int count_of(const std::string& text, const std::string& what) {
  int n = 0;
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) ++n;
  return n;
}

}  // namespace

TEST_CASE("inspect: the share of relative position is that of its formula", "[apps][inspect]") {
  const std::vector<double> content = {1, -2, 0, 0.5}, rpe = {-1, 0, 3, 0.5}, none = {0, 0, 0, 0};
  CHECK(apps::rpe_share(content, rpe) == 4.5 / 8.0);
  CHECK(apps::rpe_share(content, none) == 0);
  CHECK(apps::rpe_share(none, rpe) == 1);
  CHECK(apps::rpe_share(none, none) == 0);
  CHECK_THROWS_AS(apps::rpe_share(content, std::vector<double>{1}), ShapeError);
}

TEST_CASE("inspect: packed rows are within half a step of their values", "[apps][inspect]") {
  const std::vector<double> row = {0.3, -0.7, 0, 0.123, std::nan("")}, weights = {0.1, 0.6, 0.3, 0, 0};
  apps::PackedRows packed;
  packed.add(row, true);
  packed.add(weights, false);
  packed.add(std::vector<double>(5, 0.0), true);
  REQUIRE(packed.scales.size() == 3);
  CHECK(packed.scales[0] == 0.7f);
  for (size_t i = 0; i < 4; ++i) CHECK(std::abs(int8_t(packed.values[i]) * 0.7 / 127 - row[i]) <= 0.7 / 254 + 1e-12);
  CHECK(packed.values[4] == 0);
  for (size_t i = 0; i < 5; ++i) CHECK(std::abs(packed.values[5 + i] * 0.6 / 255 - weights[i]) <= 0.6 / 510 + 1e-12);
  for (size_t i = 10; i < 15; ++i) CHECK(packed.values[i] == 0);
}

TEST_CASE("inspect: queries thin out evenly when the page would be too large", "[apps][inspect]") {
  const nn::TokenGrid grid{.height = 4, .width = 4, .skip = 1};
  CHECK(apps::chosen_queries(grid, 10, 170).size() == 17);
  CHECK(apps::chosen_queries(grid, 10, 169) == std::vector<int64_t>{0, 6, 8, 14, 16});
  CHECK(apps::chosen_queries(grid, 10, 0) == std::vector<int64_t>{0, 11});
}

TEST_CASE("inspect: texts from files cannot become markup", "[apps][inspect]") {
  CHECK(apps::html_text("a<b> & \"c\" 'd'") == "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;");
  CHECK(apps::html_text("größe 漢 😀") == "größe 漢 😀");
  const std::string bad = "\xEF\xBF\xBD";
  CHECK(apps::html_text("\xff|\xc3|\xed\xa0\x80|\n") == bad + "|" + bad + "|" + bad + bad + bad + "|" + bad);
  CHECK_THAT(apps::html_text(kHostile), !Contains("<") && !Contains("\""));
  const std::string document = apps::script_json(json{{"x", kHostile}}.dump());
  CHECK_THAT(document, !Contains("<"));
  CHECK(json::parse(document)["x"] == kHostile);
  CHECK_THAT(apps::script_json("[\"</script>\"]"), !Contains("<"));
}

TEST_CASE("inspect: base64 is that of RFC 4648", "[apps][inspect]") {
  const char* expected[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
  for (size_t n = 0; n <= 6; ++n) CHECK(apps::base64(std::string("foobar").substr(0, n)) == expected[n]);
  CHECK(apps::base64(std::vector<float>{1.0f}) == "AACAPw==");
}

TEST_CASE("inspect: the page of a model with relative positions", "[apps][inspect]") {
  const ScratchFolder folder("inspect");
  const std::string checkpoint = make_checkpoint(folder, "rpe-1.9-product-ctx-0-qk");
  const std::string image = make_image(folder, "<img src=x>.png"), out = folder.file("page.html");
  const Finished run = run_program({"inspect", "--checkpoint", checkpoint, image, "--out", out, "--json"});
  INFO(run.err);
  REQUIRE(run.status == 0);
  CHECK(run.err.empty());
  const std::string page = folder.read("page.html");
  CHECK(run.json()["bytes"] == page.size());
  for (const char* part : {"<h1>deit_micro_patch4_28</h1>",
                           "rpe-1.9-product-ctx-0-qk",
                           "What the model says",
                           "as given: 12 × 20 pixels",
                           "as the model sees it: 12 × 12",
                           "10 = 1 + 3 × 3",
                           "Attention</h2>",
                           "relative position term of the logits",
                           "How much of the logits is relative position",
                           "Σ |rpe",
                           "The tape",
                           "Memory over time",
                           "<svg",
                           "Forward</h3>",
                           "Backward</h3>",
                           ">blocks.3<",
                           ">attn.qkv<",
                           ">rpe_attention<",
                           "The residual stream",
                           "before attention",
                           "Gradients of the parameters",
                           "blocks.0.attn.rpe_q.lookup_table_weight",
                           "fastest of five"})
    CHECK_THAT(page, Contains(part));

  // Nothing from outside, nothing from a file that became markup.
  for (const char* part : {"http:", "https:", "<link", "@import", "url("}) CHECK_THAT(page, !Contains(part));
  CHECK_THAT(page, Contains("&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;x&quot;"));
  CHECK_THAT(page, !Contains("<script>alert") && !Contains("<img src=x>"));
  CHECK(count_of(page, "<script") == count_of(page, "</script>"));

  // The maps against a run of our own.
  const json maps = script_data(page, "maps-data"), shares = run.json()["attention"];
  CHECK(maps["queries"].size() == kTokens);
  REQUIRE(maps["layers"].size() == kBlocks);
  REQUIRE(maps["buckets"].size() == 1);
  CHECK(maps["buckets"][0]["count"] == 50);
  CHECK(maps["buckets"][0]["ids"].size() == 25);
  CHECK(maps["buckets"][0]["ids"][0] == 8);    // offset (-2, -2): (3 - 2) 7 + 1
  CHECK(maps["buckets"][0]["ids"][13] == 25);  // offset (0, 1): 3 * 7 + 4
  for (size_t l = 0; l < kBlocks; ++l) {
    const json& layer = maps["layers"][l];
    CHECK(layer["path"] == "blocks." + std::to_string(l) + ".attn");
    const std::vector<double> p = unpacked(layer["p"], false), c = unpacked(layer["c"], true),
                              r = unpacked(layer["r"], true);
    REQUIRE(p.size() == kHeads * size_t(kTokens * kTokens));
    const size_t pairs = size_t(kTokens * kTokens);
    for (size_t row = 0; row < kHeads * size_t(kTokens); ++row) {
      double sum = 0, all = 0;
      for (size_t k = 0; k < size_t(kTokens); ++k) sum += std::exp(c[row * kTokens + k] + r[row * kTokens + k]);
      for (size_t k = 0; k < size_t(kTokens); ++k) {
        const double expected = std::exp(c[row * kTokens + k] + r[row * kTokens + k]) / sum;
        CHECK(std::abs(p[row * kTokens + k] - expected) < 0.02);  // three quantised numbers
        all += p[row * kTokens + k];
      }
      CHECK(std::abs(all - 1) < 0.01);
    }
    for (size_t h = 0; h < kHeads; ++h) {
      double of_rpe = 0, both = 0;
      for (size_t i = h * pairs; i < (h + 1) * pairs; ++i)
        of_rpe += std::abs(r[i]), both += std::abs(c[i]) + std::abs(r[i]);
      CHECK(std::abs(shares[l]["rpe_share"][h].get<double>() - of_rpe / both) < 0.01);
      CHECK(shares[l]["rpe_share"][h] > 0.02);
    }
  }
}

TEST_CASE("inspect: a model without relative positions, and one that has them on values alone", "[apps][inspect]") {
  const ScratchFolder folder("inspect");
  const std::string image = make_image(folder), out = folder.file("page.html");
  const auto page_of = [&](const std::string& rpe) {
    const Finished run = run_program({"inspect", "--checkpoint", make_checkpoint(folder, rpe), image, "--out", out});
    INFO(run.err);
    CHECK(run.status == 0);
    CHECK_THAT(run.out, Contains(out + ": "));
    return folder.read("page.html");
  };
  const std::string plain = page_of("none");
  CHECK_THAT(plain, Contains("This model has no relative position encoding"));
  CHECK_THAT(plain, !Contains("relative position term of the logits</label>"));
  CHECK(script_data(plain, "maps-data")["buckets"].empty());
  CHECK(!script_data(plain, "maps-data")["layers"][0].contains("r"));
  const std::string values = page_of("rpe-1.9-cross-ctx-1-v");
  CHECK_THAT(values, Contains("The encoding is on values"));
  CHECK(script_data(values, "maps-data")["buckets"].size() == 2);
  // A bias of the distance, one map for all heads: the rows are those of the queries they are said to be of.
  const json bias = script_data(page_of("rpe-1.9-euc-bias-1-k"), "maps-data");
  const std::vector<double> r = unpacked(bias["layers"][0]["r"], true);
  REQUIRE(r.size() == kHeads * size_t(kTokens * kTokens));
  const auto term = [&](int64_t query, int64_t key) { return Approx(r[size_t(query * kTokens + key)]).margin(0.01); };
  for (int64_t key = 0; key < kTokens; ++key) CHECK(r[0] == term(0, key));              // the class token: one bucket
  for (const int64_t corner : {3, 7, 9}) CHECK(r[5 * kTokens + 1] == term(5, corner));  // seen from the middle
  for (const int64_t edge : {4, 6, 8}) CHECK(r[5 * kTokens + 2] == term(5, edge));
  CHECK(r[5 * kTokens + 5] != term(5, 2));
}

TEST_CASE("inspect: a hierarchical model gets a page that says where it has no maps", "[apps][inspect]") {
  const ScratchFolder folder("inspect");
  const std::string checkpoint = make_checkpoint(folder, "rpe-3-product-ctx-1-k-clip", "swin_micro_patch2_window7_28");
  const std::string out = folder.file("page.html");
  const Finished run = run_program({"inspect", "--checkpoint", checkpoint, make_image(folder), "--out", out, "--json"});
  INFO(run.err);
  REQUIRE(run.status == 0);
  CHECK(run.json()["attention"].empty());
  const std::string page = folder.read("page.html");
  CHECK_THAT(page, Contains("36 = 0 + 6 × 6") && Contains("not looked at") && Contains("Not measured: no attention") &&
                       Contains("No attention layer of this model works on the grid of image tokens"));
  CHECK_THAT(page, Contains("<td>layers.1.blocks.3</td>") && Contains("layers.0.downsample.reduction.weight"));
}

TEST_CASE("inspect: what cannot be read or written is one error, and leaves no file", "[apps][inspect]") {
  const ScratchFolder folder("inspect");
  const std::string checkpoint = make_checkpoint(folder, "none"), image = make_image(folder);
  const std::string text = folder.write("text.txt", "no checkpoint, no image"), out = folder.file("page.html");
  data::write_safetensors(folder.file("other.safetensors"), {.tensors = {{"x", ones({2})}}, .metadata = {}});
  const auto before = folder.list();
  const auto fails = [&](const std::string& c, const std::string& i, const std::string& o, int status) {
    const Finished run = run_program({"inspect", "--checkpoint", c, i, "--out", o});
    INFO(run.err);
    CHECK(run.status == status);
    CHECK(run.is_one_error());
    CHECK(folder.list() == before);
    return run.err;
  };
  CHECK_THAT(fails(text, image, out, 3), Contains("text.txt"));
  CHECK_THAT(fails(folder.file("other.safetensors"), image, out, 3), Contains("is no checkpoint of this program"));
  CHECK_THAT(fails(folder.file("missing"), image, out, 3), Contains("missing"));
  CHECK_THAT(fails(checkpoint, text, out, 3),
             Contains("text.txt") && Contains("is not a JPEG, PNG, BMP, GIF, PSD or PNM image"));
  CHECK_THAT(fails(checkpoint, image, folder.file("no/page.html"), 1),
             Contains("cannot write") && Contains("no/page.html"));
  CHECK(run_program({"inspect", "--checkpoint", checkpoint, image}).status == 2);
  CHECK(run_program({"inspect", "--checkpoint", checkpoint, image, image, "--out", out}).status == 2);
}
