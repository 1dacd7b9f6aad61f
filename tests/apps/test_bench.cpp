#include <set>

#include "core/cuda/emulator/emulator.h"
#include "tests/apps/run_program.h"
#include "tests/support/catch.h"

using namespace vitrine;
using testing::Finished;
using testing::run_program;
using testing::ScratchFolder;
using vitrine::testing::Contains;

namespace {

/// The smallest bench there is, as quick as it gets.
std::vector<std::string> quick(const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"bench",    "ops",           "--device", "cpu",      "--precision",
                                        "f32",      "--rounds",      "2",        "--budget", "0.1",
                                        "--filter", "cross_entropy", "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

/// A peer of a few lines of sh: what it answers to `load` and `run`.
std::string fake_peer(const ScratchFolder& folder, const std::string& load, const std::string& run) {
  return folder.write("peer.sh",
                      "while read -r line; do case \"$line\" in\n"
                      "*'\"cmd\":\"hello\"'*) echo '{\"name\": \"fake 1\", \"details\": \"none\"}';;\n"
                      "*'\"cmd\":\"load\"'*) echo '" +
                          load +
                          "';;\n"
                          "*'\"cmd\":\"run\"'*) echo '" +
                          run +
                          "';;\n"
                          "*) echo '{\"ms\": 1.5}';; esac; done\n");
}

}  // namespace

TEST_CASE("bench: rows have the keys that others rely on", "[apps]") {
  unsetenv("VITRINE_PEER_PYTHON");
  const ScratchFolder folder("bench");
  const Finished run = run_program(quick({"--markdown", folder.file("table.md")}));
  INFO(run.err);
  REQUIRE(run.status == 0);
  const nlohmann::json rows = run.json();
  REQUIRE(rows.size() >= 2);
  for (const auto& row : rows) {
    INFO(row);
    CHECK_THAT(row["name"].get<std::string>(), Contains("cross_entropy"));
    CHECK(row["device"] == "cpu");
    CHECK(row["dtype"] == "f32");
    CHECK(row["ms"] > 0);
    CHECK(!row.contains("ratio"));
    if (row["direction"] != "forward") continue;
    for (const char* key : {"gflops", "gbytes_per_s", "percent_of_peak", "percent_of_dram"}) CHECK(row[key] > 0);
  }
  CHECK_THAT(folder.read("table.md"), Contains("| cross_entropy |") && Contains("Machine: ") &&
                                          Contains("Peer: none") && Contains("bench ops --device cpu"));
}

TEST_CASE("bench: a peer that knows no op leaves the rows as they are", "[apps]") {
  const ScratchFolder folder("bench");
  const std::string script = fake_peer(folder, "{\"known\": false}", "{}");
  const Finished run = run_program(quick({"--peer", "/bin/sh", "--peer-script", script}));
  INFO(run.err);
  CHECK(run.status == 0);
  for (const auto& row : run.json()) CHECK(!row.contains("ratio"));
}

TEST_CASE("bench: a row that the peer does not confirm fails and has no ratio", "[apps]") {
  const ScratchFolder folder("bench");
  // It leaves the file of inputs in place, which holds no outputs.
  for (const std::string answer : {"{\"how\": \"\"}", "{\"error\": \"cannot\"}"}) {
    const std::string script = fake_peer(folder, "{\"known\": true}", answer);
    const Finished run = run_program(quick({"--peer", "/bin/sh", "--peer-script", script}));
    INFO(run.err);
    CHECK(run.status == 1);
    CHECK_THAT(run.err, Contains("rows disagree with the peer"));
    for (const auto& row : run.json()) {
      CHECK(row["peer"] == "fake 1");
      CHECK_THAT(row["check"].get<std::string>(), Contains("FAIL") && Contains(answer[2] == 'h' ? "out.0" : "cannot"));
      CHECK(row["ratio"].is_null());
    }
  }
}

TEST_CASE("bench: a peer that cannot be started or ends is one clear error", "[apps]") {
  const Finished none = run_program(quick({"--peer", "/no/such/python"}));
  CHECK(none.status == 1);
  CHECK(none.is_one_error());
  CHECK_THAT(none.err, Contains("'/no/such/python' cannot be started"));
  const Finished ended = run_program(quick({"--peer", "/bin/true"}));
  CHECK(ended.status == 1);
  CHECK(ended.is_one_error());
  CHECK_THAT(ended.err, Contains("the peer ended"));
}

namespace {

/// Training or inference of the smallest model, as quick as it gets.
std::vector<std::string> quick_model(const std::string& suite, const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"bench",     suite, "--device",     "cpu", "--model", "deit_micro_patch4_28",
                                        "--rounds",  "2",   "--budget",     "0.1", "--rpe",   "rpe-1.9-product-ctx-1-k",
                                        "--threads", "1",   "--batch-size", "2",   "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

}  // namespace

TEST_CASE("bench train and infer: rows have the keys that others rely on", "[apps]") {
  unsetenv("VITRINE_PEER_PYTHON");
  const ScratchFolder folder("bench");
  for (const std::string suite : {"train", "infer"}) {
    const Finished run = run_program(quick_model(suite, {"--markdown", folder.file("table.md")}));
    INFO(run.err);
    REQUIRE(run.status == 0);
    const nlohmann::json rows = run.json();
    REQUIRE(rows.size() == 2);
    for (const auto& row : rows) {
      INFO(row);
      CHECK(row["name"] == "deit_micro_patch4_28");
      CHECK(row["sample"] == "b2, rpe-1.9-product-ctx-1-k");
      CHECK(row["direction"] == (suite == "train" ? "training step" : "inference"));
      if (emulator::flavour() == emulator::Flavour::plain)  // elsewhere every block comes from the system
        CHECK(row["system_allocations"] == 0);
      CHECK(row["rpe_tax_percent"].is_number());
      CHECK(!row.contains("ratio"));
      for (const char* key : {"ms", "images_per_s", "gflops", "percent_of_peak", "peak_bytes"}) CHECK(row[key] > 0);
    }
    CHECK(rows[0]["dtype"] == "f32");
    CHECK(rows[1]["dtype"] == "bf16");
    CHECK_THAT(folder.read("table.md"), Contains("RPE tax %") && Contains("bench " + suite + " --"));
  }
}

TEST_CASE("bench rpe: every method beside none, in time and memory", "[apps]") {
  unsetenv("VITRINE_PEER_PYTHON");
  const Finished run =
      run_program({"bench", "rpe", "--device", "cpu", "--model", "deit_micro_patch4_28", "--rounds", "1", "--budget",
                   "0.1", "--precision", "f32", "--threads", "1", "--filter", "training step", "--json"});
  INFO(run.err);
  REQUIRE(run.status == 0);
  const nlohmann::json rows = run.json();
  std::set<std::string> samples;
  for (const auto& row : rows) {
    INFO(row);
    const std::string sample = row["sample"];
    samples.insert(sample);
    CHECK(row["direction"] == "training step");
    CHECK(row["ms"] > 0);
    CHECK(row["peak_bytes"] > 0);
    CHECK(row.contains("rpe_tax_percent") == (sample.size() > 2));
    CHECK(row.contains("rpe_memory_tax_percent") == (sample.size() > 2));
  }
  CHECK(samples.size() == rows.size());
  for (const std::string batch : {"b1", "b8"}) {
    CHECK(samples.count(batch) == 1);
    for (const char* rpe : {"20.0-euc-ctx-1-k", "33.0-quant-ctx-1-k", "20.0-cross-ctx-1-k", "1.9-product-ctx-1-k",
                            "1.9-product-bias-0-k", "1.9-product-ctx-1-qkv"})
      CHECK(samples.count(batch + ", rpe-" + rpe) == 1);
  }
}

TEST_CASE("bench train --profile: the parts of a step by op", "[apps]") {
  const Finished run = run_program(quick_model("train", {"--profile", "--precision", "f32"}));
  INFO(run.err);
  REQUIRE(run.status == 0);
  const nlohmann::json models = run.json();
  REQUIRE(models.size() == 1);
  int attentions = 0;
  std::set<std::string> phases;
  for (const auto& op : models[0]["ops"]) {
    phases.insert(op["phase"].get<std::string>());
    if (op["op"] == "rpe_attention") attentions += op["calls"].get<int>();
    CHECK(op["ms"].is_number());
  }
  CHECK(attentions == 8);  // 4 blocks, forward and backward
  CHECK(phases == std::set<std::string>{"forward", "backward", "optimizer"});
}

TEST_CASE("bench train: a peer that does not confirm the results gets no ratio", "[apps]") {
  const ScratchFolder folder("bench");
  // It leaves the file as it never was: model_run answers, but writes nothing.
  const std::string script = fake_peer(folder, "{}", "{}");
  const Finished run =
      run_program(quick_model("train", {"--peer", "/bin/sh", "--peer-script", script, "--precision", "f32"}));
  INFO(run.err);
  CHECK(run.status == 1);
  CHECK_THAT(run.json()[0]["check"].get<std::string>(), Contains("FAIL"));
  CHECK(run.json()[0]["ratio"].is_null());
}

TEST_CASE("bench: flags of models and suites that do not exist are refused", "[apps]") {
  const Finished ops = run_program({"bench", "ops", "--model", "deit_micro_patch4_28"});
  CHECK(ops.status == 2);
  CHECK_THAT(
      ops.err,
      Contains("--model, --batch-size, --rpe, --profile, --eager and --graph belong to bench train, infer and rpe"));
  const Finished suite = run_program({"bench", "trian"});
  CHECK(suite.status == 2);
  CHECK_THAT(suite.err, Contains("unknown suite 'trian'; did you mean train?"));
  const Finished model = run_program({"bench", "infer", "--model", "deit_tinny_patch16_224"});
  CHECK(model.status == 2);
  CHECK_THAT(model.err, Contains("did you mean deit_tiny_patch16_224"));
}

TEST_CASE("bench: a filter that matches nothing names the nearest op", "[apps]") {
  const Finished run = run_program({"bench", "--filter", "softmux"});
  CHECK(run.status == 2);
  CHECK_THAT(run.err, Contains("no op matches --filter softmux; did you mean") && Contains("softmax"));
}
