#include <pty.h>

#include <regex>

#include "apps/classifier/progress.h"
#include "tests/apps/tiny_runs.h"

using namespace vitrine;
using namespace vitrine::testing;

namespace {

/// What the program shows on a terminal of its own, its output and errors in one.
std::string on_terminal(std::vector<std::string> arguments, int* status) {
  arguments.insert(arguments.begin(), program());
  std::vector<char*> argv;
  for (std::string& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  int terminal = -1;
  const pid_t pid = forkpty(&terminal, nullptr, nullptr, nullptr);
  if (pid == 0) {
    execv(argv[0], argv.data());
    _exit(127);
  }
  std::string shown;
  char part[4096];
  for (ssize_t n = 0; (n = read(terminal, part, sizeof part)) > 0;) shown.append(part, size_t(n));  // EIO at its end
  close(terminal);
  waitpid(pid, status, 0);
  return shown;
}

}  // namespace

TEST_CASE("progress: durations in the unit that fits", "[unit]") {
  for (const auto& [seconds, text] : std::vector<std::pair<double, std::string>>{{0, "0 s"},
                                                                                 {3.4, "3 s"},
                                                                                 {59.4, "59 s"},
                                                                                 {59.6, "1 min 00 s"},
                                                                                 {245, "4 min 05 s"},
                                                                                 {3599, "59 min 59 s"},
                                                                                 {3600, "1 h 00 min"},
                                                                                 {4859, "1 h 20 min"},
                                                                                 {90000, "25 h 00 min"}})
    CHECK(apps::duration_text(seconds) == text);
}

TEST_CASE("progress: a line says what is done, the rate and the time left", "[unit]") {
  using apps::progress_text;
  apps::ProgressLine line{.title = "epoch 1/6", .unit = "images", .done = 500, .total = 2000, .rate = 12.5};
  CHECK(progress_text(line, false) == "epoch 1/6  500/2000 images  12.5 images/s  2 min 00 s left");
  line.note = "loss 0.321";
  CHECK(progress_text(line, true) ==
        "epoch 1/6  [######..................]  500/2000 images  12.5 images/s  2 min 00 s left  loss 0.321");
  line = {.title = "eval", .unit = "images", .done = 0, .total = 7};
  CHECK(progress_text(line, true) == "eval  [........................]  0/7 images  0.00 images/s  ? left");
  line.done = 7, line.rate = 1234;
  CHECK(progress_text(line, true) == "eval  [########################]  7/7 images  1234 images/s  0 s left");
  line.done = line.total = 0;
  CHECK(progress_text(line, true) == "eval  [########################]  0/0 images  1234 images/s  0 s left");
}

TEST_CASE("progress: the rate counts what was done since the start alone", "[unit]") {
  apps::Progress progress("eval", "images", 1000, 900);
  usleep(20'000);
  progress.update(902);
  CHECK(progress.rate() <= 100);  // 2 images in at least 20 ms
  CHECK(progress.rate() > 0);
}

TEST_CASE("progress: on a terminal a bar is redrawn in its line and cleared at the end", "[apps][plain]") {
  const ScratchFolder folder("terminal");
  const TinyMnist data(folder, 16, 4000);
  const std::string out = folder.file("run");
  const Finished made = run_program({"train", "--data", "mnist:" + data.path, "--model", "deit_micro_patch4_28",
                                     "--out", out, "--epochs", "1", "--batch-size", "16"});
  INFO(made.err);
  REQUIRE(made.status == 0);
  CHECK(made.err.find('\r') == std::string::npos);  // no terminal: plain lines
  int status = -1;
  const std::string shown =
      on_terminal({"eval", "--checkpoint", out + "/checkpoint.safetensors", "--threads", "1"}, &status);
  INFO(shown);
  CHECK(status == 0);
  const std::regex bar(R"(\r\x1b\[Keval  \[(#*)(\.*)\]  (\d+)/4000 images  [\d.]+ images/s  (\d+) s left)");
  int bars = 0, before = 0;
  for (std::sregex_iterator at(shown.begin(), shown.end(), bar), end; at != end; ++at, ++bars) {
    const int done = std::stoi((*at)[3]);
    CHECK((*at)[1].length() + (*at)[2].length() == 24);
    CHECK((*at)[1].length() == done * 24 / 4000);
    CHECK(done > before);
    before = done;
  }
  CHECK(bars >= 1);
  const size_t last = shown.rfind("\r\x1b[K");
  REQUIRE(last != std::string::npos);
  CHECK(shown.find("left", last) == std::string::npos);  // cleared: what follows is the result
  CHECK(shown.find("top-1 ", last) != std::string::npos);
}
