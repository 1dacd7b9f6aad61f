#include "tests/apps/tiny_runs.h"

using namespace vitrine;
using namespace vitrine::testing;

// Runs of `train` on the emulated device with --cuda-graph: what a GPU does by itself.

namespace {

/// Steps of two images, of which those from the fourth on are replays.
std::vector<std::string> words(const TinyMnist& data, const std::string& out, int epochs,
                               std::vector<std::string> more = {}) {
  std::vector<std::string> all = {"train", "--data", "mnist:" + data.path, "--out", out, "--device", "emulated"};
  all.insert(all.end(), {"--epochs", std::to_string(epochs), "--batch-size", "2", "--drop-path", "0.2", "--dropout",
                         "0.1", "--ema", "0.9", "--clip-grad", "1", "--seed", "7", "--precision", "bf16"});
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace

TEST_CASE("train: captured steps, killed and resumed, end with the bits of steps that are not", "[apps][plain]") {
  const ScratchFolder folder("graph");
  const TinyMnist data(folder, 12, 4);
  const Finished eager = run_program(words(data, folder.file("eager"), 2));
  INFO(eager.err);
  REQUIRE(eager.status == 0);
  CHECK(eager.err.find("the step is captured") == std::string::npos);
  const Finished captured = run_program(words(data, folder.file("captured"), 2, {"--cuda-graph", "on"}));
  INFO(captured.err);
  REQUIRE(captured.status == 0);
  CHECK(captured.err.find("the step is captured as a graph, which keeps ") != std::string::npos);
  check_same_run(folder.file("eager"), folder.file("captured"));

  const std::string out = folder.file("killed");
  const auto resumed = words(data, out, 2, {"--cuda-graph", "on", "--resume", "--save-every", "0"});
  int kills = 0, status = -1;
  for (int milliseconds = 500; milliseconds < 20000 && status != 0; milliseconds += milliseconds / 2) {
    status = run_and_signal(resumed, milliseconds, SIGKILL);
    kills += status == 128 + SIGKILL;
  }
  if (status != 0) status = run_program(resumed).status;
  REQUIRE(status == 0);
  CHECK(kills > 0);
  check_same_run(folder.file("eager"), out);
}

TEST_CASE("train: a captured step that meets NaN ends the run with its cause", "[apps]") {
  const ScratchFolder folder("graphnan");
  const TinyMnist data(folder, 6, 2);
  // Two epochs of three steps at rate 0, of which the fourth is captured; then steps that go too far within an epoch.
  const auto run = [&](const std::string& out, std::vector<std::string> more) {
    more.insert(more.end(), {"--sched-on-epochs", "--warmup-lr", "0", "--warmup-epochs", "1", "--lr", "1e9"});
    const Finished done = run_program(words(data, folder.file(out), 3, more));
    CHECK(done.status == 1);
    return done.err;
  };
  const std::string eager = run("eager", {}), captured = run("captured", {"--cuda-graph", "on"});
  const auto cause = [](const std::string& text) {
    const size_t at = text.find("is not finite at epoch ");
    REQUIRE(at != std::string::npos);
    return text.substr(at, text.find(". ", at) - at);
  };
  INFO(captured);
  CHECK(cause(eager) == cause(captured));
  CHECK(cause(captured).find("at epoch 2, step ") != std::string::npos);
  CHECK(captured.find("the step is captured as a graph") < captured.find("is not finite"));
}

TEST_CASE("train: --cuda-graph on a device that records nothing", "[apps]") {
  const ScratchFolder folder("graphcpu");
  const TinyMnist data(folder, 16, 8);
  const auto run = [&](const std::string& mode) {
    return run_program({"train", "--data", "mnist:" + data.path, "--out", folder.file(mode), "--device", "cpu",
                        "--epochs", "1", "--batch-size", "8", "--cuda-graph", mode});
  };
  const Finished on = run("on"), automatic = run("auto");
  CHECK(on.status == 0);
  const std::string told =
      "the step is not captured as a graph: cpu: its work is done at once and cannot be captured\n";
  CHECK(on.err.find(told) != std::string::npos);
  CHECK(on.err.find(told) == on.err.rfind(told));
  CHECK(automatic.status == 0);
  CHECK(automatic.err.find("captured") == std::string::npos);
  CHECK(run("maybe").status == 2);
}
