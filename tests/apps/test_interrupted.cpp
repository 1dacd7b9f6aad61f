#include <sys/resource.h>

#include <chrono>

#include "tests/apps/tiny_runs.h"

/// Training that is killed, stopped, or runs out of disk: what is there stays, and the run goes on to the same bits.
using namespace vitrine;
using namespace vitrine::testing;

TEST_CASE("train: a run killed again and again ends with the same bits", "[apps]") {
  const ScratchFolder folder("resume");
  const TinyMnist data(folder);
  REQUIRE(run_program(train_words(data, folder.file("whole"))).status == 0);
  const std::string out = folder.file("killed");
  const std::vector<std::string> words = train_words(data, out, {"--resume", "--save-every", "0"});
  int kills = 0, status = -1;
  for (int milliseconds = 60; milliseconds < 4000 && status != 0; milliseconds += milliseconds / 3) {
    status = run_and_signal(words, milliseconds, SIGKILL);
    kills += status == 128 + SIGKILL;
  }
  const std::string left = out + "/checkpoint.safetensors.", ours = left + std::to_string(getpid()) + ".tmp";
  for (const std::string& file : {left + std::to_string(ended_process()) + ".tmp", ours}) std::ofstream(file) << "part";
  if (const Finished last = run_program(words); status != 0) status = last.status;
  REQUIRE(status == 0);
  CHECK(kills > 0);
  CHECK(std::filesystem::remove(ours));  // of a process that lives
  CHECK_FALSE(has_temporaries(out));
  check_same_run(folder.file("whole"), out);
}

TEST_CASE("train: Ctrl-C leaves a checkpoint to go on from", "[apps]") {
  const ScratchFolder folder("interrupt");
  const TinyMnist data(folder, 16 * 50);
  const std::string out = folder.file("run"), whole = folder.file("whole");
  const pid_t pid = start_file(program(), train_words(data, out, {"--epochs", "1"}), "/dev/null", "/dev/null");
  await([&] { return std::filesystem::exists(out + "/checkpoint.safetensors"); });
  usleep(50'000);
  kill(pid, SIGINT);
  CHECK(wait_program(pid) == 130);
  const nlohmann::json state = training_state(out + "/checkpoint.safetensors");
  CHECK(state["epoch"] == 0);
  CHECK(state["step"] > 0);
  CHECK(state["step"] < 50);
  CHECK(std::filesystem::exists(out + "/config.json"));
  CHECK_FALSE(has_temporaries(out));
  REQUIRE(run_program({"train", "--resume", "--out", out}).status == 0);
  REQUIRE(run_program(train_words(data, whole, {"--epochs", "1"})).status == 0);
  check_same_run(whole, out);
}

TEST_CASE("train: Ctrl-C during the test ends it, and the run goes on with that test", "[apps]") {
  const ScratchFolder folder("interrupttest");
  const TinyMnist data(folder, 16, 2000);
  const std::string out = folder.file("run"), whole = folder.file("whole"), file = out + "/checkpoint.safetensors";
  const std::vector<std::string> more = {"--epochs", "1"};
  const pid_t pid = start_file(program(), train_words(data, out, more), "/dev/null", "/dev/null");
  await([&] { return std::filesystem::exists(file); });
  usleep(50'000);  // in the only step, or in the test
  const auto now = std::chrono::steady_clock::now;
  const auto asked = now();
  kill(pid, SIGINT);
  CHECK(wait_program(pid) == 130);
  const auto to_stop = now() - asked;
  CHECK(training_state(file)["epoch"] == 0);
  CHECK(training_state(file)["step"] == 1);
  CHECK(metrics(out).empty());
  const auto resumed = now();
  REQUIRE(run_program({"train", "--resume", "--out", out}).status == 0);
  CHECK(to_stop < (now() - resumed) / 4);  // one batch of test images, not all of them
  REQUIRE(run_program(train_words(data, whole, more)).status == 0);
  check_same_run(whole, out);
}

TEST_CASE("train: a second Ctrl-C ends at once", "[apps]") {
  const ScratchFolder folder("interrupttwice");
  const TinyMnist data(folder, 4096);
  const std::string out = folder.file("run"), file = out + "/checkpoint.safetensors";
  const pid_t pid = start_file(program(), train_words(data, out, {"--batch-size", "4096"}), "/dev/null", "/dev/null");
  await([&] { return std::filesystem::exists(file); });
  usleep(100'000);  // in the first step, which takes seconds
  kill(pid, SIGINT);
  usleep(100'000);
  kill(pid, SIGINT);
  CHECK(wait_program(pid) == 130);
  CHECK(training_state(file)["step"] == 0);  // one alone would have waited for the step
  CHECK(training_state(file)["epoch"] == 0);
}

TEST_CASE("train: a full disk loses nothing that was there", "[apps]") {
  const ScratchFolder folder("diskfull");
  const TinyMnist data(folder);
  const std::string out = folder.file("run"), whole = folder.file("whole");
  REQUIRE(run_program(train_words(data, whole, {"--keep-last", "2"})).status == 0);
  std::filesystem::copy(whole, out);
  std::filesystem::rename(out + "/checkpoint-0.safetensors", out + "/checkpoint.safetensors");  // as after one epoch
  const auto contents = [&] {
    std::vector<std::string> bytes;
    for (const char* name : {"checkpoint.safetensors", "best.safetensors", "metrics.jsonl"})
      bytes.push_back(folder.read(std::string("run/") + name));
    return bytes;
  };
  const auto fails = [&](const std::string& save_every) {
    // A limit on the size of files stands for the disk.
    const Finished run = run_program({"train", "--resume", "--out", out, "--save-every", save_every}, {.in_child = [] {
                                       const rlimit small{1 << 16, 1 << 16};
                                       setrlimit(RLIMIT_FSIZE, &small);
                                       std::signal(SIGXFSZ, SIG_IGN);
                                     }});
    INFO(run.err);
    CHECK(run.status == 1);
    CHECK(run.ends_in_one_error());
    CHECK(run.err.find("cannot write " + out + "/") != std::string::npos);
    CHECK_FALSE(has_temporaries(out));
  };
  const std::vector<std::string> before = contents();
  fails("0");  // within an epoch
  CHECK(contents() == before);
  fails("1000");  // at its end, when metrics.jsonl has its line
  CHECK(contents()[0] == before[0]);
  REQUIRE(run_program({"train", "--resume", "--out", out}).status == 0);
  check_same_run(whole, out);
}
