#include <map>
#include <set>

#include "tests/apps/run_program.h"
#include "tests/support/catch.h"

using namespace vitrine;
using testing::Finished;
using testing::run_program;
using vitrine::testing::Contains;

TEST_CASE("program: help and version go to stdout with status 0", "[apps]") {
  const Finished help = run_program({"--help"});
  CHECK(help.status == 0);
  for (const char* command : {"bench", "gradcheck", "ops", "probe"}) CHECK_THAT(help.out, Contains(command));
  CHECK(help.err.empty());
  const Finished sub = run_program({"gradcheck", "--help"});
  CHECK(sub.status == 0);
  CHECK_THAT(sub.out, Contains("vitrine gradcheck") && Contains("--device") && Contains("--json"));
  const Finished version = run_program({"--version"});
  CHECK(version.status == 0);
  CHECK_THAT(version.out, Contains("vitrine ") && Contains("commit") && Contains("CUDA") && Contains("oneDNN"));
}

TEST_CASE("program: wrong usage is one message that names what would be right, with status 2", "[apps]") {
  const auto usage = [](const std::vector<std::string>& arguments) {
    const Finished run = run_program(arguments);
    INFO(run.err);
    CHECK(run.status == 2);
    CHECK(run.is_one_error());
    return run.err;
  };
  CHECK_THAT(usage({}), Contains("which command? ablate, bench, ") && Contains(", probe, rpe, "));
  CHECK_THAT(usage({"gradchek"}), Contains("unknown command 'gradchek'; did you mean gradcheck?"));
  CHECK_THAT(usage({"ops", "--jsn"}), Contains("unknown flag --jsn; did you mean --json"));
  CHECK_THAT(usage({"ops", "--device=cpu", "--jsn=1"}), Contains("unknown flag --jsn; did you mean --json"));
  CHECK_THAT(usage({"ops", "more"}), Contains("unexpected argument 'more'"));
  CHECK_THAT(usage({"ops", "--threads", "none"}), Contains("--threads"));
  CHECK_THAT(usage({"ops", "--threads", "0"}), Contains("--threads"));
  CHECK_THAT(usage({"ops", "--precision", "f8"}), Contains("--precision") && Contains("f32"));
  CHECK_THAT(usage({"gradcheck", "softmax", "--device", "cpuu"}), Contains("unknown device 'cpuu'") && Contains("cpu"));
  CHECK_THAT(usage({"gradcheck", "softmax", "--device", "cuda:99"}), Contains("cuda:99") && Contains("can use cpu"));
  CHECK_THAT(usage({"summary", "deit_micro_patch4_28", "--device", "cuda:99"}), Contains("no device cuda:99"));
  CHECK_THAT(usage({"models", "--device", "tpu"}), Contains("unknown device 'tpu'"));
  CHECK_THAT(usage({"ops", "--seed", "-1"}), Contains("--seed") && Contains("from 0 on, got -1"));
  CHECK_THAT(usage({"--version", "--json"}), Contains("unexpected argument '--json'; --version stands alone"));
  CHECK_THAT(usage({"--help", "train"}), Contains("unexpected argument 'train'; --help stands alone"));
  CHECK_THAT(usage({"summary", "deit\n\x1b[2J"}), Contains("unknown model 'deit\\n\\x1b[2J'"));
  CHECK_THAT(usage({"gradcheck", "softmx"}), Contains("unknown op 'softmx'; did you mean softmax"));
  CHECK_THAT(usage({"probe", "only.json"}), Contains("IN.safetensors"));
  CHECK_THAT(usage({"bench", "opps"}), Contains("unknown suite 'opps'; did you mean ops"));
}

TEST_CASE("program: an answer that cannot be written is one error with status 1", "[apps]") {
  const std::vector<std::vector<std::string>> commands = {
      {"--help"},
      {"--version"},
      {"ops", "--help"},
      {"models"},
      {"ops", "--json"},
      {"summary", "deit_micro_patch4_28"},
      {"summary", "deit_micro_patch4_28", "--json"},
      {"rpe", "--method", "product", "--ratio", "1.9", "--grid", "7x7", "--json"}};
  for (const std::vector<std::string>& arguments : commands) {
    const Finished run = run_program(arguments, {.out = "/dev/full"});
    INFO(arguments[0] << ": " << run.err);
    CHECK(run.status == 1);
    CHECK(run.is_one_error());
    CHECK_THAT(run.err, Contains("cannot write to stdout: No space left on device"));
  }
}

TEST_CASE("program: ops lists every op once with its samples", "[apps]") {
  const Finished run = run_program({"ops", "--json"});
  CHECK(run.status == 0);
  CHECK(run.err.empty());
  const nlohmann::json list = run.json();
  REQUIRE(list.is_array());
  std::set<std::string> names;
  for (const auto& op : list) {
    INFO(op);
    CHECK(op["name"].is_string());
    CHECK(names.insert(op["name"]).second);
    CHECK(op["cpu"] == true);
    CHECK(op["cuda"].is_boolean());
    CHECK(op["samples"] > 0);
    CHECK(op["composite"].is_boolean());
  }
  CHECK(names.count("softmax") == 1);
  CHECK_THAT(run_program({"ops"}).out, Contains("softmax"));
}

TEST_CASE("program: ops lists the dtypes that an op takes", "[apps]") {
  const std::map<std::string, std::vector<std::string>> expected{
      {"softmax", {"f64", "f32", "bf16", "f16"}},
      {"both_finite", {"f64", "f32"}},
      {"clip_factor", {"f64", "f32"}},
      {"logical_and", {"bool"}},
      {"eq", {"f64", "f32", "bf16", "f16", "i64", "i32", "u8", "bool"}},
      {"embedding", {"f64", "f32", "bf16", "f16", "i64", "i32"}},
      {"relpos", {}}};
  size_t seen = 0;
  for (const auto& op : run_program({"ops", "--json"}).json()) {
    INFO(op);
    const auto found = expected.find(op["name"]);
    if (found == expected.end()) continue;
    CHECK(op["dtypes"].get<std::vector<std::string>>() == found->second);
    ++seen;
  }
  CHECK(seen == expected.size());
}

TEST_CASE("program: gradcheck reports every differentiable sample", "[apps]") {
  const Finished run = run_program({"gradcheck", "softmax", "--device", "cpu", "--json"});
  CHECK(run.status == 0);
  const nlohmann::json list = run.json();
  CHECK(list.size() >= 3);
  for (const auto& row : list) {
    INFO(row);
    CHECK(row["op"] == "softmax");
    CHECK(row["device"] == "cpu");
    CHECK(row["passed"] == true);
    CHECK(row["max_error"].get<double>() <= row["tolerance"].get<double>());
    CHECK(row["tolerance"].get<double>() <= 1e-5);
  }
}

TEST_CASE("program: gradcheck ends with status 1 when a gradient is wrong", "[apps]") {
  setenv("VITRINE_MUTATE_VJP", "softmax:0:3", 1);
  const Finished run = run_program({"gradcheck", "softmax", "--device", "cpu", "--json"});
  unsetenv("VITRINE_MUTATE_VJP");
  CHECK(run.status == 1);
  CHECK_THAT(run.err, Contains("samples failed"));
  int failed = 0;
  for (const auto& row : run.json()) failed += row["passed"] == false;
  CHECK(failed > 0);
}

TEST_CASE("program: OpenMP's threads spin for a bounded time, or as the user says", "[apps]") {
  setenv("OMP_DISPLAY_ENV", "verbose", 1);
  setenv("GOMP_SPINCOUNT", "77", 1);
  const std::string chosen = run_program({"--version"}).err;
  unsetenv("GOMP_SPINCOUNT");
  const std::string bounded = run_program({"--version"}).err;
  unsetenv("OMP_DISPLAY_ENV");
  CHECK_THAT(chosen, Contains("GOMP_SPINCOUNT = '77'") && !Contains("GOMP_SPINCOUNT = '10000'"));
  CHECK_THAT(bounded, Contains("GOMP_SPINCOUNT = '10000'"));
}

TEST_CASE("program: an argument that is also a command's name stays an argument", "[apps]") {
  const Finished unknown = run_program({"bench", "ops", "--nonsense"});
  CHECK(unknown.status == 2);
  CHECK_THAT(unknown.err, Contains("unknown flag --nonsense"));
}
