#include "apps/train/event_file.h"
#include "apps/train/toml.h"
#include "tests/apps/tiny_runs.h"
#include "tests/support/catch.h"

using namespace vitrine;
using namespace vitrine::testing;
using Catch::Matchers::ContainsSubstring;

/// What surrounds a training run: its files, its settings as a file, the estimate before it, and the error that ends
/// it.
namespace {

std::vector<std::string> words(const TinyMnist& data, const std::string& out, std::vector<std::string> more = {}) {
  std::vector<std::string> all = {"train", "--data", "mnist:" + data.path, "--out", out, "--epochs", "2"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::string text_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace

TEST_CASE("event files: known check sums, frames and fields", "[apps]") {
  CHECK(apps::crc32c("123456789") == 0xE3069283u);            // the check value of CRC-32C
  CHECK(apps::crc32c(std::string(32, '\0')) == 0x8A9136AAu);  // RFC 3720, B.4
  const std::string frame = apps::tfrecord("ab");
  REQUIRE(frame.size() == 8 + 4 + 2 + 4);
  CHECK(frame.substr(0, 8) == std::string("\2\0\0\0\0\0\0\0", 8));
  CHECK(frame.substr(12, 2) == "ab");
  // wall_time 1.0; step 3; summary { value { tag "x", simple_value 0.5 } }
  const std::string expected("\x09\0\0\0\0\0\0\xF0\x3F\x10\x03\x2A\x0A\x0A\x08\x0A\x01x\x15\0\0\0\x3F", 23);
  CHECK(apps::scalars_event(1.0, 3, {{"x", 0.5}}) == expected);
}

TEST_CASE("settings in TOML: what is read is what was written, and the rest is refused with its line", "[apps]") {
  const nlohmann::ordered_json settings{
      {"model", "a \"quoted\" # name"}, {"lr", 1e-3}, {"epochs", 3}, {"flip", true}, {"minmax", {0.1, 0.5}}};
  CHECK(apps::parse_toml(apps::toml_text(settings), "f") == settings);
  CHECK(apps::parse_toml("# c\na = 'b' # d\n\nn = 1_000\nl = [1,\n 2]\n", "f") ==
        nlohmann::ordered_json{{"a", "b"}, {"n", 1000}, {"l", {1, 2}}});
  const auto [text, line] = GENERATE(std::pair{"a = 1\na = 2\n", 2}, std::pair{"a = b\n", 1}, std::pair{"[t]\n", 1},
                                     std::pair{"a = \"b\n", 1}, std::pair{"a = 1 2\n", 1}, std::pair{"a = [1\n", 2},
                                     std::pair{"\n\n= 2\n", 3});
  INFO(text);
  CHECK_THROWS_WITH(apps::parse_toml(text, "f"), ContainsSubstring(format("f, line {}: ", line)));
}

TEST_CASE("train: its folder holds the reference's log, events, kept checkpoints and settings that repeat it",
          "[apps]") {
  const ScratchFolder folder("running");
  const TinyMnist data(folder);
  const std::string out = folder.file("run"), again = folder.file("again");
  const Finished run = run_program(words(data, out, {"--batch-size", "32", "--ema", "0.5", "--keep-last", "1"}));
  INFO(run.err);
  REQUIRE(run.status == 0);
  CHECK_THAT(run.err, ContainsSubstring("* Acc@1 "));

  std::ifstream log(out + "/log.txt");
  int64_t epoch = 0;
  for (std::string line; std::getline(log, line); ++epoch) {
    const auto document = nlohmann::json::parse(line);
    for (const char* key : {"train_lr", "train_loss", "test_loss", "test_acc1", "test_acc5", "test_acc1_ema"})
      CHECK(document.at(key).is_number());
    CHECK(document.at("epoch") == epoch);
    CHECK(document.at("n_parameters").is_number_integer());
    CHECK(document.at("test_loss") == metrics(out)[size_t(epoch)].at("test_loss"));
  }
  CHECK(epoch == 2);

  int events = 0;
  for (const auto& entry : std::filesystem::directory_iterator(out))
    if (entry.path().filename().string().starts_with("events.out.tfevents.")) {
      ++events;
      const std::string bytes = text_of(entry.path());
      for (size_t at = 0; at < bytes.size();) {
        REQUIRE(at + 12 <= bytes.size());
        const size_t length = uint8_t(bytes[at]) | size_t(uint8_t(bytes[at + 1])) << 8;
        REQUIRE(at + 16 + length <= bytes.size());
        CHECK(apps::tfrecord(bytes.substr(at + 12, length)) == bytes.substr(at, 16 + length));
        at += 16 + length;
      }
      CHECK_THAT(bytes, ContainsSubstring("brain.Event:2"));
      CHECK_THAT(bytes, ContainsSubstring("test_acc1"));
    }
  CHECK(events == 1);
  CHECK(std::filesystem::exists(out + "/best_ema.safetensors"));
  CHECK(std::filesystem::exists(out + "/checkpoint-1.safetensors"));
  CHECK_FALSE(std::filesystem::exists(out + "/checkpoint-0.safetensors"));

  const Finished repeat = run_program({"train", "--config", out + "/config.toml", "--out", again});
  INFO(repeat.err);
  REQUIRE(repeat.status == 0);
  check_same_run(out, again);
}

TEST_CASE("train: flags go before the file of settings, official names are known, and what is wrong is said",
          "[apps]") {
  const ScratchFolder folder("settings");
  const TinyMnist data(folder);
  const std::string out = folder.file("run");
  const std::string file = folder.write("s.toml", "epochs = 7\nbatch-size = 48\nsmoothing = 0.2\n");
  const Finished run = run_program(words(
      data, out,
      {"--config", file, "--epochs", "1", "--num_workers", "0", "--model-ema-decay", "0.5", "--sched", "cosine"}));
  INFO(run.err);
  REQUIRE(run.status == 0);
  const auto config = nlohmann::json::parse(text_of(out + "/config.json"));
  CHECK(config["epochs"] == 1);
  CHECK(config["batch_size"] == 48);
  CHECK(config["label_smoothing"] == 0.2);
  CHECK(config["ema"] == 0.5);

  const auto refuses = [&](std::vector<std::string> more, int status, const char* message) {
    const Finished bad = run_program(words(data, folder.file("bad"), std::move(more)));
    INFO(bad.err);
    CHECK(bad.status == status);
    CHECK_THAT(bad.err, ContainsSubstring(message));
    CHECK_FALSE(std::filesystem::exists(folder.file("bad")));
  };
  refuses({"--config", folder.write("u.toml", "epoch = 7\n")}, 2, "unknown setting 'epoch'");
  refuses({"--config", folder.write("v.toml", "warmup_epochs = 'many'\n")}, 2, "'warmup_epochs'");
  refuses({"--config", folder.write("w.toml", "flip = 3\n")}, 2, "'flip' must be true or false");
  refuses({"--config", folder.file("none.toml")}, 3, "cannot be read");
  refuses({"--sched", "step"}, 2, "--sched step");
  refuses({"--data-path", folder.file("x")}, 2, "--data and --data-path say the same");
}

TEST_CASE("train --dry-run: estimates and writes nothing", "[apps]") {
  const ScratchFolder folder("dry");
  const TinyMnist data(folder);
  const Finished run = run_program(words(data, folder.file("run"), {"--dry-run", "--json", "--batch-size", "48"}));
  INFO(run.err);
  REQUIRE(run.status == 0);
  for (const char* key : {"step_seconds", "images_per_s", "loader_images_per_s", "seconds_per_epoch", "total_seconds",
                          "step_peak_bytes", "process_peak_bytes", "checkpoint_bytes", "disk_bytes"}) {
    INFO(key);
    CHECK(run.json().at(key) > 0);
  }
  CHECK(run.json().at("steps_per_epoch") == 2);
  CHECK_FALSE(std::filesystem::exists(folder.file("run")));
}

TEST_CASE("train: the first tensor that is not finite is named, and the last good checkpoint stays", "[apps]") {
  const ScratchFolder folder("finite");
  const TinyMnist data(folder);
  const std::string out = folder.file("run");
  REQUIRE(run_program(words(data, out, {"--epochs", "1", "--batch-size", "48"})).status == 0);

  // Weights that hold an infinity, and weights whose products overflow.
  const auto broken = [&](const std::string& name, double value) {
    data::Safetensors file = data::read_safetensors(out + "/best.safetensors");
    for (auto& [key, t] : file.tensors)
      if (key == name) t = full(t.shape(), value, {.dtype = t.dtype()});
    data::write_safetensors(folder.file("start.safetensors"), file);
    const Finished run =
        run_program(words(data, folder.file("next"), {"--finetune", folder.file("start.safetensors")}));
    std::filesystem::remove_all(folder.file("next"));
    CHECK(run.status == 1);
    return run.err;
  };
  CHECK_THAT(broken("blocks.1.mlp.fc1.weight", INFINITY), ContainsSubstring("blocks.1.mlp.fc1.weight"));
  const std::string overflow = broken("blocks.1.mlp.fc1.weight", 1e38);
  CHECK_THAT(overflow, ContainsSubstring("blocks.1.mlp"));
  CHECK_THAT(overflow, ContainsSubstring("linear"));

  const Finished diverged = run_program(
      words(data, folder.file("huge"), {"--lr", "1e9", "--warmup-lr", "1e9", "--opt", "sgd", "--batch-size", "16"}));
  INFO(diverged.err);
  CHECK(diverged.status == 1);
  CHECK_THAT(diverged.err, ContainsSubstring("at epoch 0, step "));
  const data::Safetensors left = data::read_safetensors(folder.file("huge") + "/checkpoint.safetensors");
  for (const auto& [key, t] : left.tensors)
    for (const double x : t.to_vector()) REQUIRE(std::isfinite(x));
}
