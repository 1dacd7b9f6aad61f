#include <algorithm>
#include <cmath>

#include "apps/train/event_file.h"
#include "apps/train/finite_guard.h"
#include "apps/train/toml.h"
#include "models/classifier.h"
#include "ops/binary/operators.h"
#include "ops/reduce/reduce.h"
#include "ops/unary/unary.h"
#include "tests/apps/tiny_runs.h"
#include "tests/support/catch.h"

/// What surrounds the training of a classifier: settings from files and under official names, logs, checkpoints that
/// stay, the dry run, the guard against NaN.
using namespace vitrine;
using namespace vitrine::testing;
using vitrine::testing::Contains;

namespace {

std::vector<std::string> words(const TinyMnist& data, const std::string& out, std::vector<std::string> more = {}) {
  std::vector<std::string> all = {"train", "--data", "mnist:" + data.path, "--batch-size", "16", "--epochs", "2",
                                  "--out", out};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::string bytes_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::vector<nlohmann::json> lines_of(const std::string& file) {
  std::vector<nlohmann::json> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

/// The event files of a folder, in the order of their names.
std::vector<std::string> event_files(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().filename().string().starts_with("events.out.tfevents.")) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

/// The records of an event file; each must be framed by its length and checksums.
std::vector<std::string> records_of(const std::string& file) {
  std::vector<std::string> records;
  const std::string bytes = bytes_of(file);
  for (size_t at = 0; at < bytes.size();) {
    const size_t length = uint8_t(bytes.at(at)) + 256 * size_t(uint8_t(bytes.at(at + 1)));
    records.push_back(bytes.substr(at + 12, length));
    REQUIRE(bytes.substr(at, length + 16) == apps::tfrecord(records.back()));
    at += length + 16;
  }
  return records;
}

}  // namespace

TEST_CASE("event files: the bytes that TensorBoard's own writer makes", "[unit]") {
  CHECK(apps::crc32c("123456789") == 0xE3069283u);  // the check value of CRC-32C
  CHECK(apps::crc32c("") == 0);
  const std::string made = apps::tfrecord(apps::version_event(1700000000.25)) +
                           apps::tfrecord(apps::start_event(1700000000.5, 3)) +
                           apps::tfrecord(apps::scalars_event(1700000001.0, 300, {{"train_loss", 2.25}, {"lr", 1e-3}}));
  CHECK(made == bytes_of(VITRINE_SOURCE_DIR "/tests/fixtures/tensorboard/scalars.tfevents"));
}

TEST_CASE("event files: each process has its own, later by name", "[unit]") {
  const ScratchFolder folder("events");
  folder.write("events.out.tfevents.4000000000.other", "torn");  // by a clock that is ahead
  apps::EventFile first(folder.file("")), second(folder.file(""));
  first.add(0, {{"x", 1}});
  second.add(1, {{"x", 2}});
  first.add(1, {{"x", 3}});
  CHECK(folder.list() == std::vector<std::string>{"events.out.tfevents.4000000000.other",
                                                  "events.out.tfevents.4000000001.vitrine",
                                                  "events.out.tfevents.4000000002.vitrine"});
  CHECK(folder.read("events.out.tfevents.4000000000.other") == "torn");
  CHECK(records_of(folder.file("events.out.tfevents.4000000001.vitrine")).size() == 4);  // version, start, two steps
  CHECK(records_of(folder.file("events.out.tfevents.4000000002.vitrine")).size() == 3);
}

TEST_CASE("toml: settings are read exactly, and anything else is an error with its line", "[unit]") {
  using nlohmann::ordered_json;
  const ordered_json read = apps::parse_toml(
      "# settings\nlr = 1e-3 # rate\n\"epochs\"=1_000\r\n\ndata = \"mnist:/a b#c, \\\"d\\\" \\u00e9\"\n"
      "path = 'C:\\dir'\nflip = true\ncutmix_minmax = [0.25,\n  0.75, # largest\n]\nempty = []\nx = +5",
      "f");
  using nlohmann::json;  // the order of settings says nothing
  CHECK(json(read) == json::parse(R"({"lr": 1e-3, "epochs": 1000, "data": "mnist:/a b#c, \"d\" \u00e9",
                                      "path": "C:\\dir", "flip": true, "cutmix_minmax": [0.25, 0.75], "empty": [],
                                      "x": 5})"));
  CHECK(json(apps::parse_toml(apps::toml_text(read), "f")) == json(read));
  CHECK(apps::parse_toml("", "f").empty());
  const auto fails = [](const std::string& text, int line, const std::string& message) {
    INFO(text);
    CHECK_THROWS_WITH(apps::parse_toml(text, "f"), Contains(format("f, line {}: ", line)) && Contains(message));
  };
  const std::string kind = "'a' is no text, finite number, boolean or array of them";
  fails("b = 1\n\n[a]\nlr = 1", 3, kind);
  fails("a.b = 1", 1, kind);
  fails("a = nan", 1, kind);
  fails("a = [1, [1]]", 1, kind);
  fails("a = 1979-05-27", 1, kind);
  for (const char* text : {"a 1", "= 1", "a = 1 2", "a = adamw", "a = \"x\ny\"", "a = \"\\q\"", "a = [1 2]"})
    fails(text, 1, "");
  fails("a = 1\na = 2", 2, "a");
  fails("\n\na =\nb = 1", 3, "");
}

TEST_CASE("finite guard: the first tensor that is not finite, and where it arose", "[unit]") {
  Generator rng{.seed = 1};
  const auto model = models::make_classifier({.rng = &rng}, "deit_micro_patch4_28");
  data::Batch batch{.images = random_normal({2, 3, 28, 28}, rng),
                    .targets = from_vector({4, 7}, {2}, {.dtype = Dtype::i64}),
                    .soft_targets = {}};
  const auto found = [&] {
    return apps::first_non_finite(model->state_dict(), {&batch, 1}, [&] {
      model->zero_grad();
      ops::sum(model->logits(batch.images)).backward();
    });
  };
  const auto parameter = [&](const std::string& wanted) {
    for (const auto& [name, t] : model->state_dict())
      if (name == wanted) return t;
    throw Error("no parameter " + wanted);
  };
  const auto with = [&](const Tensor& t, double value) {  // its last element is `value` while the guard looks
    Tensor last = t.detach().view({-1}).narrow(0, t.numel() - 1, 1);
    const double before = last.item();
    last.fill_(value);
    const std::string text = found();
    last.fill_(before);
    return text;
  };
  CHECK_THAT(found(), Contains("no tensor holds NaN or an infinity"));
  CHECK(with(parameter("blocks.1.mlp.fc1.weight"), INFINITY) ==
        "before the step blocks.1.mlp.fc1.weight [256, 64] f32 cpu holds inf");
  CHECK(with(batch.images, NAN) == "image 1 of the batch, of class 7, holds nan");
  // Of a step in several passes, images are counted through.
  data::Batch parts[] = {batch, batch};
  parts[1].images = batch.images.clone();
  parts[1].images.select(0, 1).fill_(NAN);
  CHECK(apps::first_non_finite(model->state_dict(), parts, [] {}) == "image 3 of the batch, of class 7, holds nan");
  // 1e30 times 1e30: named where it is computed, with its module once.
  parameter("blocks.1.mlp.fc1.bias").detach().fill_(1e30);
  parameter("blocks.1.mlp.fc2.weight").detach().fill_(1e30);
  CHECK(found() == "blocks.1.mlp.fc2: linear: forward produced inf in [2, 50, 64] f32 cpu");
}

TEST_CASE("finite guard: gradients alone", "[unit]") {
  const data::Batch batch{.images = zeros({1, 1}), .targets = zeros({1}, {.dtype = Dtype::i64}), .soft_targets = {}};
  const auto found = [&](Tensor (*loss)(const Tensor&)) {
    Tensor w = zeros({3});
    w.set_requires_grad();
    return apps::first_non_finite({{"w", w}}, {&batch, 1}, [&] { ops::sum(loss(w)).backward(); });
  };
  CHECK_THAT(found([](const Tensor& w) { return ops::sqrt(w); }), Contains("sqrt: backward produced inf"));
  CHECK(found([](const Tensor& w) { return w * full({3}, 3e38) + w * full({3}, 3e38); }) ==
        "the gradient of w sums to inf");
  CHECK_NOTHROW(apps::check_finite_weights("run", {{"a", ones({2})}, {"b", full({2}, 1e30)}}));  // the norm overflows
  CHECK_THROWS_WITH(apps::check_finite_weights("run", {{"a", ones({2})}, {"b", full({2}, NAN)}}),
                    "run: b [2] f32 cpu holds nan");
}

TEST_CASE("train: config.toml of a run repeats it; what is kept and logged", "[apps]") {
  const ScratchFolder folder("running");
  const TinyMnist data(folder);
  const std::string a = folder.file("a"), b = folder.file("b");
  const Finished run = run_program(words(data, a,
                                         {"--ema", "0.5", "--epochs", "3", "--keep-last", "2", "--cutmix-minmax", "0.2",
                                          "0.7", "--lr", "0.0021", "--drop", "0.1", "--flip", "--json"}));
  INFO(run.err);
  REQUIRE(run.status == 0);
  for (const char* kept : {"/checkpoint-1.safetensors", "/checkpoint-2.safetensors", "/best_ema.safetensors"})
    CHECK(std::filesystem::exists(a + kept));
  CHECK_FALSE(std::filesystem::exists(a + "/checkpoint-0.safetensors"));
  CHECK(bytes_of(a + "/checkpoint-2.safetensors") == bytes_of(a + "/checkpoint.safetensors"));

  // The reference's log, in its own names; a line of ours beside it for the averaged weights.
  const auto log = lines_of(a + "/log.txt"), ours = metrics(a);
  REQUIRE(log.size() == 3);
  for (size_t i = 0; i < log.size(); ++i) {
    CHECK(log[i]["train_lr"] == ours[i]["lr"]);
    for (const char* key : {"train_loss", "test_loss", "test_acc1", "test_acc5", "epoch", "test_acc1_ema"})
      CHECK(log[i].at(key) == ours[i].at(key));
    CHECK(log[i]["n_parameters"] == 207114);
    CHECK(log[i]["n_parameters"].is_number_integer());
  }
  CHECK(run.err.find("* Acc@1 ") != std::string::npos);
  CHECK(run.err.find("Max accuracy: ") != std::string::npos);
  CHECK(double(ours[0].at("loader_images_per_s")) > 0);
  CHECK(double(ours[0].at("waiting_for_loader")) <= 1);

  // The averaged weights were evaluated: the same as by eval, and they left the weights as they were.
  const auto loss = [&](const std::string& file, std::vector<std::string> more) {
    more.insert(more.begin(), {"eval", "--checkpoint", file, "--json"});
    return run_program(more).json().at("loss");
  };
  CHECK(loss(a + "/checkpoint.safetensors", {"--ema"}) == ours[2]["test_loss_ema"]);
  CHECK(loss(a + "/checkpoint.safetensors", {}) == ours[2]["test_loss"]);
  CHECK(ours[2]["test_loss"] != ours[2]["test_loss_ema"]);
  size_t best = 0;
  for (size_t i = 0; i < 3; ++i)
    if (ours[i]["test_acc1_ema"] > ours[best]["test_acc1_ema"]) best = i;
  CHECK(loss(a + "/best_ema.safetensors", {}) == ours[best]["test_loss_ema"]);

  REQUIRE(run_program({"train", "--config", a + "/config.toml", "--out", b, "--keep-last", "3"}).status == 0);
  check_same_run(a, b);
  CHECK(bytes_of(a + "/config.toml") == bytes_of(b + "/config.toml"));

  // Back to an earlier epoch, and on again: nothing is double, and TensorBoard gets a file that begins there.
  REQUIRE(run_program({"train", "--resume", b + "/checkpoint-0.safetensors"}).status == 0);
  check_same_run(a, b);
  const std::vector<std::string> events = event_files(b);
  REQUIRE(events.size() == 2);
  CHECK(records_of(events[0]).size() == 2 + 3);  // version, start, three epochs
  CHECK(records_of(events[1]).size() == 2 + 2);
  CHECK(records_of(events[1])[1].substr(9) == apps::start_event(0, 1).substr(9));  // behind the time

  // In another folder with another rate.
  const std::string c = folder.file("c"), from = a + "/checkpoint-1.safetensors";
  REQUIRE(run_program({"train", "--resume", from, "--lr", "0.001", "--out", c}).status == 0);
  CHECK(metrics(c).size() == 3);
  CHECK(metrics(c)[1] == ours[1]);
  CHECK(metrics(c)[2]["train_loss"] != ours[2]["train_loss"]);
  CHECK(std::filesystem::exists(c + "/best.safetensors"));
  const Finished other = run_program({"train", "--resume", from, "--out", b});
  CHECK(other.status == 2);
  CHECK(other.err.find("holds a run already") != std::string::npos);
}

TEST_CASE("train: settings from a file, and what is wrong with them", "[apps]") {
  const ScratchFolder folder("settings");
  const TinyMnist data(folder);
  const auto fails = [&](const std::string& text, const std::string& part, int status = 2) {
    const std::string file = folder.write("settings", text);
    const Finished run = run_program(words(data, folder.file("none"), {"--config", file}));
    INFO(run.err);
    CHECK(run.status == status);
    CHECK(run.is_one_error());
    CHECK(run.err.find(file) != std::string::npos);
    CHECK(run.err.find(part) != std::string::npos);
  };
  fails("wieght_decay = 0.1", "unknown setting 'wieght_decay'; did you mean weight-decay");
  fails("{\"wieght_decay\": 0.1}", "unknown setting 'wieght_decay'; did you mean weight-decay");
  fails("lr = true", "'lr' takes no true");
  fails("lr = \"high\"", "'lr': ");
  fails("flip = 1", "'flip' must be true or false, got 1");
  fails("smoothing = 0.1\nlabel_smoothing = 0.1", "'smoothing' and another of its keys set the same");
  fails("resume = true", "'resume' belongs on the command line");
  fails("workers = 100", "'workers': ");
  fails("lr = 1e-3\n[more]", ", line 2: 'more' is no text", 3);
  fails("{\"lr\": ", "is not a JSON object", 3);
  CHECK(run_program(words(data, folder.file("none"), {"--config", folder.file("nowhere")})).status == 3);
  CHECK_FALSE(std::filesystem::exists(folder.file("none")));

  // The command line goes before the file, also where it says a thing in another way.
  const std::string file = folder.write(
      "good.toml",
      "lr = 0.5\nema = 0.9\ndata = \"mnist:/nowhere\"\nno-flip = true\nsmoothing = 0.25\nmomentum = 0.8\n");
  const std::string out = folder.file("run");
  const Finished run = run_program(words(data, out, {"--config", file, "--lr", "0.001", "--no-model-ema"}));
  INFO(run.err);
  REQUIRE(run.status == 0);
  const auto config = nlohmann::json::parse(bytes_of(out + "/config.json"));
  CHECK(config["lr"] == 0.001);
  CHECK(config["ema"] == 0);
  CHECK(config["data"] == "mnist:" + data.path);
  CHECK(config["label_smoothing"] == 0.25);
  CHECK(config["momentum"] == 0.8);
  CHECK(config["flip"] == false);

  const std::string other = folder.write("other.toml", "no-model-ema = true\ndata-path = \"/nowhere\"");
  const Finished second =
      run_program(words(data, folder.file("second"), {"--config", other, "--ema", "0.5", "--epochs", "1"}));
  INFO(second.err);
  REQUIRE(second.status == 0);
  CHECK(nlohmann::json::parse(bytes_of(folder.file("second") + "/config.json"))["ema"] == 0.5);
}

TEST_CASE("train: the flags of the reference's program", "[apps]") {
  const ScratchFolder folder("official");
  const TinyFolder data(folder);
  const std::string out = folder.file("run");
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"train", "--data-path", data.path, "--input-size", "32", "--model",
                               "deit_tiny_patch4_32", "--batch-size", "8", "--epochs", "1", "--output_dir", out});
    return run_program(more);
  };
  const auto fails = [&](std::vector<std::string> more, const std::string& part) {
    const Finished run = with(std::move(more));
    INFO(run.err);
    CHECK(run.status == 2);
    CHECK(run.is_one_error());
    CHECK(run.err.find(part) != std::string::npos);
  };
  fails({"--sched", "step"}, "--sched step: cosine is the only schedule");
  fails({"--data", "shapes"}, "--data and --data-path say the same");
  fails({"--data-set", "INAT"}, "--data-set INAT: its lists of annotations are not read");
  fails({"--data-set", "COCO"}, "--data-set must be IMNET");
  fails({"--ThreeAugment", "--aa", "rand-m9"}, "3-Augment takes the place of a policy");
  fails({"--src", "--pad-crop", "4"}, "one of resized_crop, simple_crop and pad_crop, not several");
  fails({"--drop-block", "0.1"}, "--drop-block 0.1: is not offered");
  fails({"--eval"}, "--eval needs --resume FILE");
  const Finished cifar = with({"--data-set", "CIFAR"});  // CIFAR-100, as there
  CHECK(cifar.status == 3);
  CHECK(cifar.err.find(data.path + "/train.bin: no such file") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(out));

  const Finished run = with({"--drop",
                             "0.1",
                             "--sched",
                             "cosine",
                             "--model-ema",
                             "--smoothing",
                             "0.2",
                             "--num_workers",
                             "2",
                             "--pin-mem",
                             "--world_size",
                             "4",
                             "--cooldown-epochs",
                             "10",
                             "--start_epoch",
                             "0",
                             "--decay-rate",
                             "0.1",
                             "--drop-block",
                             "0.0",
                             "--ThreeAugment",
                             "--src",
                             "--color-jitter",
                             "0.3"});
  INFO(run.err);
  REQUIRE(run.status == 0);
  const auto config = nlohmann::json::parse(bytes_of(out + "/config.json"));
  CHECK(config["data"] == "imagefolder:" + data.path);
  CHECK(config["image_size"] == 32);
  CHECK(config["dropout"] == 0.1);
  CHECK(config["ema"] == 0.99996);
  CHECK(config["label_smoothing"] == 0.2);
  CHECK((config["three_augment"] == true && config["simple_crop"] == true));
  CHECK(run.err.find("--world_size is passed over: one process trains") != std::string::npos);
  CHECK(run.err.find("--pin-mem is passed over") != std::string::npos);
  CHECK(run.err.find("--sched is passed over") == std::string::npos);

  const Finished eval = run_program({"train", "--eval", "--resume", out + "/checkpoint.safetensors", "--json"});
  REQUIRE(eval.status == 0);
  CHECK(eval.json()["top1"] == metrics(out)[0]["test_acc1"]);
}

TEST_CASE("train --dry-run: says what a run would take, and writes nothing", "[apps]") {
  const ScratchFolder folder("dry");
  const TinyMnist data(folder, 32, 20);
  const std::string out = folder.file("run");
  const Finished run = run_program(words(data, out, {"--dry-run", "--json", "--ema", "0.9", "--keep-last", "3"}));
  INFO(run.err);
  REQUIRE(run.status == 0);
  CHECK_FALSE(std::filesystem::exists(out));
  const auto found = run.json();
  for (const char* key : {"step_seconds", "images_per_s", "loader_images_per_s", "train_seconds_per_epoch",
                          "test_seconds_per_epoch", "step_peak_bytes", "process_peak_bytes"})
    CHECK(double(found.at(key)) > 0);
  CHECK(found.at("parameters") == 207114);
  CHECK(found.at("effective_batch") == 16);
  CHECK(found.at("learning_rate") == 1e-3);
  const auto groups = found.at("parameter_groups");
  REQUIRE(groups.size() == 2);
  CHECK(groups[0].at("weight_decay") == 0);
  CHECK(groups[1].at("weight_decay") == 0.05);
  CHECK(groups[1].at("tensors") == 4 * 4 + 2);  // four matrices a block, the patch embedding, the head
  CHECK(groups[1].at("parameters") == 4 * (3 + 1 + 4 + 4) * 64 * 64 + 3 * 4 * 4 * 64 + 64 * 10);
  CHECK(int(groups[0].at("parameters")) + int(groups[1].at("parameters")) == 207114);
  CHECK(found.at("epochs") == 2);
  CHECK(found.at("steps_per_epoch") == 2);
  CHECK(double(found.at("waiting_for_loader")) <= 1);
  CHECK(found.at("loader_is_bottleneck").is_boolean());
  CHECK(double(found.at("total_seconds")) == Approx(2 * double(found.at("seconds_per_epoch"))));
  CHECK(found.at("checkpoint_bytes") == 4 * 4 * 207114 + 8);  // weights, two moments, the average; steps taken
  CHECK(found.at("disk_bytes") == 5 * int64_t(found.at("checkpoint_bytes")) + 2 * 4 * 207114);
  const Finished text = run_program({"train", "--data", "mnist:" + data.path, "--batch-size", "16", "--dry-run"});
  CHECK(text.status == 0);
  CHECK(text.out.find("the bottleneck") != std::string::npos);
}

TEST_CASE("train: a run that meets NaN ends with its cause, and its checkpoint stays", "[apps]") {
  const ScratchFolder folder("nan");
  const TinyMnist data(folder);
  const std::string out = folder.file("run");
  const Finished run = run_program(words(data, out, {"--lr", "1e9", "--warmup-epochs", "0"}));
  INFO(run.err);
  CHECK(run.status == 1);
  CHECK(run.err.find("the loss is not finite at epoch 0, step 1: blocks.0.attn: attention: forward produced nan") !=
        std::string::npos);
  for (const auto& [name, t] : data::read_safetensors(out + "/checkpoint.safetensors").tensors) {
    const std::vector<double> x = t.to_vector();
    INFO(name);
    CHECK(std::all_of(x.begin(), x.end(), [](double v) { return std::isfinite(v); }));
  }

  // A weight of the checkpoint is bad already.
  const std::string good = folder.file("good");
  REQUIRE(run_program(words(data, good, {"--keep-last", "2"})).status == 0);
  const std::string file = good + "/checkpoint-0.safetensors";
  data::Safetensors content = data::read_safetensors(file);
  for (auto& [name, t] : content.tensors)
    if (name == "blocks.1.norm2.bias") t.narrow(0, 3, 1).fill_(INFINITY);
  data::write_safetensors(file, content);
  const std::string before = bytes_of(good + "/checkpoint.safetensors");
  const Finished bad = run_program({"train", "--resume", file});
  CHECK(bad.status == 1);
  CHECK(bad.err.find("checkpoint.safetensors stays as it was; now: blocks.1.norm2.bias [64] f32 cpu holds inf") !=
        std::string::npos);
  CHECK(bytes_of(good + "/checkpoint.safetensors") == before);
}
