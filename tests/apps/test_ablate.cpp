#include <cmath>
#include <set>
#include <tuple>

#include "apps/ablate/tables.h"
#include "tests/apps/tiny_runs.h"

using namespace vitrine;
using namespace vitrine::testing;
using vitrine::testing::Contains;

namespace {

/// A row takes a fraction of a second: an epoch of 6 steps.
std::vector<std::string> ablate_words(const TinyMnist& data, const std::string& out,
                                      std::vector<std::string> more = {}) {
  std::vector<std::string> words = {
      "ablate",  "--table", "3",    "--data", "mnist:" + data.path, "--epochs", "1",      "--batch-size", "16",
      "--seeds", "2",       "--lr", "0.01",   "--dropout",          "0.1",      "--json", "--out",        out};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// The documents agree in all but times.
void check_same_table(nlohmann::json a, nlohmann::json b) {
  for (nlohmann::json* document : {&a, &b})
    for (auto& row : (*document)["rows"])
      for (auto& run : row["runs"]) run.erase("seconds");
  CHECK(a == b);
}

/// A row of the paper: absolute encoding, relative encoding, top-1.
using PaperRow = std::tuple<std::string, std::string, double>;

void check_rows(int number, const std::vector<PaperRow>& expected) {
  const apps::AblationTable& table = apps::ablation_table(number);
  CHECK(table.number == number);
  REQUIRE(table.rows.size() == expected.size());
  std::set<std::string> names;
  for (size_t r = 0; r < expected.size(); ++r) {
    const apps::AblationRow& row = table.rows[r];
    INFO("table " << number << ", row " << r + 1 << ": " << row.name);
    CHECK(PaperRow{row.ape, row.rpe, row.paper} == expected[r]);
    CHECK(names.insert(row.name).second);
  }
}

}  // namespace

TEST_CASE("ablate: settings and figures of the rows are the paper's", "[unit][ablate]") {
  check_rows(1, {{"learned", "none", 79.9},  // irpe 8.1, with the presets of 5.5
                 {"learned", "rpe-20-euc-bias-0-k", 80.1},
                 {"learned", "rpe-20-euc-ctx-1-k", 80.4},
                 {"learned", "rpe-33-quant-bias-0-k", 80.3},
                 {"learned", "rpe-33-quant-ctx-1-k", 80.5},
                 {"learned", "rpe-20-cross-bias-0-k", 80.5},
                 {"learned", "rpe-20-cross-ctx-1-k", 80.8},
                 {"learned", "rpe-1.9-product-bias-0-k", 80.5},
                 {"learned", "rpe-1.9-product-ctx-1-k", 80.9}});
  check_rows(2, {{"learned", "none", 79.9},  // irpe 8.2
                 {"learned", "rpe-1.9-product-bias-0-k", 80.5},
                 {"learned", "rpe-1.9-product-bias-1-k", 80.0},
                 {"learned", "rpe-1.9-product-ctx-0-k", 80.9},
                 {"learned", "rpe-1.9-product-ctx-1-k", 80.9}});
  check_rows(3, {{"learned", "none", 79.9},  // irpe 8.2
                 {"learned", "rpe-1.9-product-bias-1-k-clip", 80.1},
                 {"learned", "rpe-1.9-product-ctx-1-k-clip", 80.9},
                 {"learned", "rpe-1.9-product-bias-1-k", 80.0},
                 {"learned", "rpe-1.9-product-ctx-1-k", 80.9}});
  check_rows(4, {{"learned", "none", 79.9},  // irpe 8.4
                 {"none", "none", 77.6},
                 {"none", "rpe-1.9-product-ctx-1-q", 80.9},
                 {"none", "rpe-1.9-product-ctx-1-k", 80.9},
                 {"none", "rpe-1.9-product-ctx-1-v", 80.2},
                 {"none", "rpe-1.9-product-ctx-1-qk", 81.0},
                 {"none", "rpe-1.9-product-ctx-1-qkv", 81.3},
                 {"learned", "rpe-1.9-product-ctx-1-q", 80.9},
                 {"learned", "rpe-1.9-product-ctx-1-k", 80.9},
                 {"learned", "rpe-1.9-product-ctx-1-v", 80.2},
                 {"learned", "rpe-1.9-product-ctx-1-qk", 81.1},
                 {"learned", "rpe-1.9-product-ctx-1-qkv", 81.4}});
  CHECK_THAT(apps::ablation_table(1).note, Contains("presumed"));
  CHECK_THAT(apps::ablation_table(2).note, Contains("could not be recovered"));
  CHECK_THAT(apps::ablation_table(4).note, Contains("assumed"));
}

TEST_CASE("ablate: the table says what its runs reached, and they are those of train", "[apps][ablate]") {
  const ScratchFolder folder("ablate");
  const TinyMnist data(folder);
  const std::string out = folder.file("table");
  const Finished run = run_program(ablate_words(data, out));
  INFO(run.err);
  REQUIRE(run.status == 0);
  CHECK_THAT(run.err, Contains("run 1 of 10: none (row 1 of 5), seed 0") &&
                          Contains("run 10 of 10: piecewise, contextual (row 5 of 5), seed 1; about "));
  const nlohmann::json table = run.json(), &rows = table["rows"];
  CHECK(table == nlohmann::json::parse(folder.read("table/table.json")));
  REQUIRE(rows.size() == 5);
  for (size_t r = 0; r < rows.size(); ++r) {
    INFO(rows[r]);
    std::vector<double> top1, difference;
    for (size_t k = 0; k < 2; ++k) {
      const std::string runs = out + "/row" + std::to_string(r + 1) + "-seed" + std::to_string(k);
      CHECK(rows[r]["runs"][k]["seed"] == k);
      top1.push_back(rows[r]["runs"][k]["top1"]);
      difference.push_back(top1[k] - double(rows[0]["runs"][k]["top1"]));
      CHECK(top1[k] == metrics(runs).back()["test_acc1"]);
    }
    for (const auto& [key, x] : {std::pair{"top1", top1}, {"difference", difference}}) {
      CHECK(double(rows[r][std::string(key) + "_mean"]) == Approx((x[0] + x[1]) / 2).margin(1e-12));
      CHECK(double(rows[r][std::string(key) + "_std"]) == Approx(std::abs(x[0] - x[1]) / std::sqrt(2.)).margin(1e-12));
    }
    CHECK(rows[r]["seeds"] == 2);
  }
  CHECK(rows[2]["rpe"] == "rpe-1.9-product-ctx-1-k-clip");
  CHECK(rows[2]["buckets"] == "50 of 50");
  CHECK(rows[2]["paper_top1"] == 80.9);
  CHECK(double(rows[2]["paper_difference"]) == Approx(1.0));
  const std::string markdown = folder.read("table/table.md");
  CHECK_THAT(markdown, Contains("| clip, contextual | rpe-1.9-product-ctx-1-k-clip | 50 of 50 |") &&
                           Contains("--table 3 --seeds 2 --device cpu --data mnist:" + data.path + " --epochs 1"));

  // The same run by itself, then a table with one seed more: what is finished stays as it is.
  REQUIRE(run_program({"train", "--data", "mnist:" + data.path, "--epochs", "1", "--batch-size", "16", "--lr", "0.01",
                       "--dropout", "0.1", "--rpe", "rpe-1.9-product-ctx-1-k-clip", "--ape", "learned", "--seed", "1",
                       "--out", folder.file("alone")})
              .status == 0);
  check_same_run(folder.file("alone"), out + "/row3-seed1");
  for (int r = 1; r <= 5; ++r)
    for (const char* seed : {"-seed0", "-seed1"}) std::filesystem::remove_all(out + "/row" + std::to_string(r) + seed);
  const Finished more = run_program(ablate_words(data, out, {"--seeds", "3"}));
  REQUIRE(more.status == 0);
  CHECK_THAT(more.err, Contains("run 11 of 15") && !Contains("run 10 of 15"));
  CHECK(more.json()["rows"][3]["runs"][0] == rows[3]["runs"][0]);
  CHECK(more.json()["rows"][3]["runs"].size() == 3);
}

TEST_CASE("ablate: killed again and again, it goes on and ends with the same table", "[apps][ablate][plain]") {
  const ScratchFolder folder("ablatekill");
  const TinyMnist data(folder);
  const Finished whole = run_program(ablate_words(data, folder.file("whole")));
  REQUIRE(whole.status == 0);
  const std::string out = folder.file("killed");
  int kills = 0, status = -1;
  nlohmann::json known = nlohmann::json::array();  // the rows after the last kill
  for (int milliseconds = 60; milliseconds < 5000 && status != 0; milliseconds += milliseconds / 4) {
    status = run_and_signal(ablate_words(data, out, {"--save-every", "0"}), milliseconds, SIGKILL);
    kills += status == 128 + SIGKILL;
    if (!std::filesystem::exists(out + "/table.json")) continue;
    const nlohmann::json rows = nlohmann::json::parse(folder.read("killed/table.json"))["rows"];
    for (size_t r = 0; r < known.size(); ++r)  // what is finished stays, its seconds too
      for (size_t k = 0; k < known[r]["runs"].size(); ++k) CHECK(rows[r]["runs"][k] == known[r]["runs"][k]);
    known = rows;
  }
  const Finished rest = run_program(ablate_words(data, out));
  REQUIRE(rest.status == 0);
  CHECK(kills > 1);
  check_same_table(rest.json(), whole.json());
  check_same_run(folder.file("whole") + "/row5-seed1", out + "/row5-seed1");
}

TEST_CASE("ablate: what is wrong is said once, with the right status", "[apps][ablate]") {
  const ScratchFolder folder("ablateerrors");
  const TinyMnist data(folder);
  const std::string out = folder.file("table");
  const auto fails = [&](std::vector<std::string> more, const std::string& part) {
    const Finished run = run_program(ablate_words(data, out, std::move(more)));
    INFO(run.err);
    CHECK(run.is_one_error());
    CHECK_THAT(run.err, Contains(part));
    return run.status;
  };
  CHECK(run_program({"ablate", "--table", "1"}).status == 2);
  CHECK(fails({"--table", "5"}, "there is no table 5; 1: methods, 2: sharing") == 2);
  CHECK(fails({"--seeds", "0"}, "--seeds must be between 1 and 1000, got 0") == 2);
  CHECK(fails({"--epochs", "0"}, "--epochs must be at least 1, got 0") == 2);
  CHECK(fails({"--rpe", "none"}, "--rpe is what the rows of the table differ in") == 2);
  CHECK(fails({"--model", "deit_mikro_patch4_28"}, "did you mean deit_micro_patch4_28") == 2);
  CHECK(fails({"--data", "mnist:/no/such"}, "/no/such") == 3);
  CHECK(!std::filesystem::exists(out));
  CHECK(fails({"--out", folder.write("file", "x") + "/table"}, "cannot be made") == 1);

  CHECK(run_program(ablate_words(data, out, {"--batch-size", "97"})).status == 2);  // no run, so nothing is settled
  CHECK(nlohmann::json::parse(folder.read("table/table.json"))["settings"]["batch_size"] == 97);
  folder.write("table/table.json", "{\"settings\": 1}");
  CHECK(fails({}, "table.json: malformed table") == 3);
  folder.write("table/table.json", "{\"sett");
  CHECK(fails({}, "table.json: malformed table") == 3);
  std::filesystem::remove_all(out);
  REQUIRE(run_program(ablate_words(data, out)).status == 0);
  CHECK(fails({"--epochs", "2"}, "table.json was made with --epochs 1, not 2") == 2);
  CHECK(fails({"--table", "2"}, "table.json was made with --table 3, not 2") == 2);
  CHECK(fails({"--seeds", "1"}, "table.json was made with --seeds 2, not 1") == 2);
}
