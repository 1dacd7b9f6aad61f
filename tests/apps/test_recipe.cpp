#include <algorithm>
#include <cmath>

#include "apps/classifier/average_precision.h"
#include "models/classifier.h"
#include "tests/apps/tiny_runs.h"

/// The recipe of training: accumulated gradients, the scaled learning rate, teachers, binary cross-entropy, images with
/// several classes, published settings.
using namespace vitrine;
using namespace vitrine::testing;
using vitrine::testing::Contains;

namespace {

using Words = std::vector<std::string>;

Words words(const TinyMnist& data, const std::string& out, const Words& more = {}) {
  Words all = {"train", "--data", "mnist:" + data.path, "--batch-size", "16", "--epochs", "1", "--out", out};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

nlohmann::json config_of(const std::string& out) { return nlohmann::json::parse(std::ifstream(out + "/config.json")); }

std::vector<double> tensor_of(const std::string& out, const std::string& name) {
  return data::read_safetensors(out + "/checkpoint.safetensors").at(name).to_vector();
}

/// Weights as a run of deit_micro_patch4_28 and seed 0 begins with.
nn::NamedTensors initial_weights(const std::string& model = "deit_micro_patch4_28") {
  Generator rng{.seed = 0};
  return models::make_classifier({.rng = &rng}, model)->state_dict();
}

/// Checks that b is a, up to `tolerance` of how far a is from `start` at most, and to the rounding of f32 weights.
void check_same_step(const std::vector<double>& start, const std::vector<double>& a, const std::vector<double>& b,
                     double tolerance) {
  REQUIRE(a.size() == b.size());
  double step = 0, difference = 0, largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    step = std::max(step, std::abs(a[i] - start[i]));
    difference = std::max(difference, std::abs(a[i] - b[i]));
    largest = std::max(largest, std::abs(a[i]));
  }
  CHECK(step > 0);
  CHECK(difference <= tolerance * step + 0x1p-23 * largest);
}

}  // namespace

TEST_CASE("train --accum: k passes make the step of one batch k times as large", "[apps]") {
  const ScratchFolder folder("accum");
  const TinyMnist data(folder, 16);
  // One step of plain gradient descent, so that weights show the gradient.
  const Words more = {"--opt",           "sgd", "--momentum",     "0",   "--lr",        "1",
                      "--warmup-epochs", "0",   "--mixup",        "0.8", "--mix-group", "4",
                      "--ema",           "0.5", "--weight-decay", "0",   "--clip-grad", "2"};
  const std::string whole = folder.file("whole"), parts = folder.file("parts");
  REQUIRE(run_program(words(data, whole, more)).status == 0);
  Words four = more;
  four.insert(four.end(), {"--batch-size", "4", "--accum", "4"});
  const Finished run = run_program(words(data, parts, four));
  INFO(run.err);
  REQUIRE(run.status == 0);
  CHECK_THAT(run.err, Contains("1 epochs of 1 steps of 16 images (4 passes of 4)"));
  CHECK(config_of(parts)["accum"] == 4);
  for (const auto& [name, t] : initial_weights()) {
    INFO(name);
    // f32: 2^-24 of a gradient's largest element for each of a few hundred additions in another order.
    check_same_step(t.to_vector(), tensor_of(whole, name), tensor_of(parts, name), 2e-5);
    check_same_step(t.to_vector(), tensor_of(whole, "ema." + name), tensor_of(parts, "ema." + name), 2e-5);
  }
  CHECK(double(metrics(whole)[0]["train_loss"]) == Approx(double(metrics(parts)[0]["train_loss"])).epsilon(1e-6));
  CHECK(metrics(whole)[0]["lr"] == metrics(parts)[0]["lr"]);

  const Finished large = run_program(words(data, folder.file("large"), {"--accum", "2"}));
  CHECK(large.status == 2);
  CHECK_THAT(large.err, Contains("--batch-size 16 times --accum 2 is larger than the 16 images"));
}

TEST_CASE("train --accum: a run killed again and again ends with the same bits, and NaN is noticed", "[apps]") {
  const ScratchFolder folder("accumresume");
  const TinyMnist data(folder, 100);
  const Words more = {"--batch-size", "4", "--accum", "3", "--epochs", "2", "--drop-path", "0.2", "--ema", "0.9"};
  REQUIRE(run_program(words(data, folder.file("whole"), more)).status == 0);
  const std::string out = folder.file("killed");
  Words resumed = words(data, out, more);
  resumed.insert(resumed.end(), {"--resume", "--save-every", "0"});
  int kills = 0, status = -1;
  for (int milliseconds = 80; milliseconds < 4000 && status != 0; milliseconds += milliseconds / 3) {
    status = run_and_signal(resumed, milliseconds, SIGKILL);
    kills += status == 128 + SIGKILL;
  }
  if (status != 0) status = run_program(resumed).status;
  REQUIRE(status == 0);
  CHECK(kills > 0);
  check_same_run(folder.file("whole"), out);

  Words high = more;
  high.insert(high.end(), {"--lr", "1e9", "--warmup-epochs", "0"});
  const Finished bad = run_program(words(data, folder.file("bad"), high));
  CHECK(bad.status == 1);
  CHECK_THAT(bad.err, Contains("the loss is not finite at epoch 0, step 1: blocks.0.attn"));
}

TEST_CASE("train: the learning rate for 512 images is scaled on request; settings of adamw", "[apps]") {
  const ScratchFolder folder("scaled");
  const TinyMnist data(folder, 64);
  const Words more = {"--accum", "2", "--lr", "0.008", "--warmup-epochs", "0", "--sched-on-epochs"};
  const auto run = [&](const std::string& out, Words all) {
    all.insert(all.begin(), more.begin(), more.end());
    const Finished finished = run_program(words(data, folder.file(out), all));
    INFO(finished.err);
    REQUIRE(finished.status == 0);
    return finished;
  };
  CHECK_THAT(run("plain", {"--unscale-lr"}).err,
             Contains("adamw at a learning rate of 0.008; no decay of 38 tensors with 6794 numbers, decay 0.05 of 18 "
                      "with 200320"));
  CHECK_THAT(run("scaled", {"--scale-lr"}).err, Contains("adamw at a learning rate of 0.0005 = 0.008 x 32 / 512; "));
  CHECK(metrics(folder.file("plain"))[0]["lr"] == 0.008);
  CHECK(metrics(folder.file("scaled"))[0]["lr"] == 0.0005);

  // One step: the averages show their decay, and a large eps makes it small.
  const TinyMnist fewer(folder, 32);  // in the place of the others
  run("a", {"--clip-grad", "1"});
  run("b", {"--clip-grad", "1", "--opt-betas", "0.5", "0.99", "--opt-eps", "1"});
  const auto a = data::read_safetensors(folder.file("a") + "/checkpoint.safetensors"),
             b = data::read_safetensors(folder.file("b") + "/checkpoint.safetensors");
  CHECK(a.at("optimizer.step").item() == 1);
  const auto largest = [](const Tensor& t) {
    double most = 0;
    for (const double x : t.to_vector()) most = std::max(most, std::abs(x));
    return most;
  };
  const std::string name = "blocks.0.mlp.fc1.weight";
  CHECK(largest(b.at("optimizer.exp_avg." + name)) == Approx(5 * largest(a.at("optimizer.exp_avg." + name))));
  CHECK(largest(b.at("optimizer.exp_avg_sq." + name)) == Approx(10 * largest(a.at("optimizer.exp_avg_sq." + name))));
  const std::vector<double> before = initial_weights()[0].second.to_vector();
  const auto moved = [&](const data::Safetensors& file) {
    const std::vector<double> after = file.at(initial_weights()[0].first).to_vector();
    double most = 0;
    for (size_t i = 0; i < after.size(); ++i) most = std::max(most, std::abs(after[i] - before[i]));
    return most;
  };
  CHECK(moved(a) == Approx(0.008).epsilon(0.02));
  CHECK(moved(b) < 0.004);
  for (const Words& wrong :
       {Words{"--opt-betas", "0.9"}, {"--opt-betas", "0.9", "1"}, {"--opt-eps", "-1"}, {"--accum", "0"}})
    CHECK(run_program(words(data, folder.file("wrong"), wrong)).status == 2);
}

TEST_CASE("train --no-decay-rpe: the tables do not decay, nor in a run that goes on", "[apps]") {
  const ScratchFolder folder("decayrpe");
  const TinyMnist data(folder, 32);
  const std::string rpe = "rpe-1.9-product-ctx-1-k", table = "blocks.0.attn.rpe_k.lookup_table_weight";
  const Words more = {"--rpe", rpe, "--epochs", "2", "--lr", "0.01", "--weight-decay", "0.5", "--keep-last", "2"};
  Words kept = more;
  kept.push_back("--no-decay-rpe");
  const Finished decayed = run_program(words(data, folder.file("decayed"), more)),
                 run = run_program(words(data, folder.file("kept"), kept));
  REQUIRE(decayed.status == 0);
  REQUIRE(run.status == 0);
  // 4 blocks with 32 x 50 numbers each.
  CHECK_THAT(decayed.err, Contains("no decay of 38 tensors with 6794 numbers, decay 0.5 of 22 with 206720"));
  CHECK_THAT(run.err, Contains("no decay of 42 tensors with 13194 numbers, decay 0.5 of 18 with 200320"));
  CHECK(config_of(folder.file("decayed"))["decay_rpe"] == true);
  CHECK(config_of(folder.file("kept"))["decay_rpe"] == false);
  CHECK(tensor_of(folder.file("kept"), table) != tensor_of(folder.file("decayed"), table));

  const std::string first = folder.file("kept") + "/checkpoint-0.safetensors", on = folder.file("on");
  REQUIRE(run_program({"train", "--resume", first, "--out", on}).status == 0);
  for (const auto& [name, t] : data::read_safetensors(folder.file("kept") + "/checkpoint.safetensors").tensors) {
    INFO(name);
    CHECK(tensor_of(on, name) == t.to_vector());
  }
}

TEST_CASE("train: without stochastic depth and dropout, as in evaluation", "[apps]") {
  const ScratchFolder folder("trainmode");
  const TinyMnist data(folder, 32);
  REQUIRE(run_program(words(data, folder.file("a"))).status == 0);
  REQUIRE(
      run_program(words(data, folder.file("b"), {"--no-train-mode", "--drop-path", "0.5", "--drop", "0.5"})).status ==
      0);
  CHECK(tensor_of(folder.file("a"), "head.weight") == tensor_of(folder.file("b"), "head.weight"));
  REQUIRE(run_program(words(data, folder.file("c"), {"--drop-path", "0.5", "--drop", "0.5"})).status == 0);
  CHECK(tensor_of(folder.file("a"), "head.weight") != tensor_of(folder.file("c"), "head.weight"));
}

TEST_CASE("train: the second head learns from a teacher, who is a checkpoint or weights", "[apps]") {
  const ScratchFolder folder("teacher");
  const TinyMnist data(folder, 96);
  const std::string teacher = folder.file("teacher");
  REQUIRE(run_program(words(data, teacher, {"--drop", "0.5"})).status == 0);
  const std::string checkpoint = teacher + "/checkpoint.safetensors", weights = folder.file("weights.safetensors");
  nn::NamedTensors alone;
  for (const auto& [name, t] : data::read_safetensors(checkpoint).tensors)
    if (!name.starts_with("optimizer.")) alone.emplace_back(name, t);
  data::write_safetensors(weights, {.tensors = alone});
  const std::string student = "deit_micro_distilled_patch4_28";
  const auto run = [&](const std::string& out, Words more) {
    more.insert(more.begin(), {"--model", student, "--weight-decay", "0"});
    return run_program(words(data, folder.file(out), more));
  };
  const auto done = [&](const std::string& out, Words more) {
    const Finished finished = run(out, std::move(more));
    INFO(finished.err);
    REQUIRE(finished.status == 0);
    return folder.file(out);
  };
  const Words hard = {"--distillation-type", "hard", "--teacher-path", checkpoint, "--epochs", "2"};
  const std::string a = done("hard", [&] {
    Words more = hard;
    more.insert(more.end(), {"--keep-last", "2", "--mixup", "0.8", "--drop-path", "0.1"});
    return more;
  }());
  CHECK(config_of(a)["distillation_type"] == "hard");

  // The settings of a run repeat it, and from its middle it goes on with the same bits.
  const std::string b = folder.file("again");
  REQUIRE(run_program({"train", "--config", a + "/config.toml", "--out", b, "--keep-last", "2"}).status == 0);
  check_same_run(a, b);
  REQUIRE(run_program({"train", "--resume", b + "/checkpoint-0.safetensors"}).status == 0);
  check_same_run(a, b);

  // A teacher has its say in the second head alone, in evaluation mode whatever dropout it was trained with.
  const nn::NamedTensors start = initial_weights(student);
  const auto moved = [&](const std::string& out, const std::string& name) {
    for (const auto& [key, t] : start)
      if (key == name) return tensor_of(out, name) != t.to_vector();
    throw Error("no weight " + name);
  };
  const auto soft = [&](const char* alpha, Words more) {
    more.insert(more.end(), {"--distillation-type", "soft", "--distillation-tau", "3", "--distillation-alpha", alpha});
    return more;
  };
  const std::string all = done("all", soft("1", {"--teacher-path", checkpoint}));
  CHECK_FALSE(moved(all, "head.weight"));
  CHECK(moved(all, "head_dist.weight"));
  const std::string none = done("none", soft("0", {"--teacher-path", checkpoint}));
  CHECK(moved(none, "head.weight"));
  CHECK_FALSE(moved(none, "head_dist.weight"));
  const std::string from_weights =
      done("weights", soft("1", {"--teacher-path", weights, "--teacher-model", "deit_micro_patch4_28"}));
  CHECK(metrics(all)[0]["train_loss"] == metrics(from_weights)[0]["train_loss"]);
  CHECK(tensor_of(all, "head_dist.weight") == tensor_of(from_weights, "head_dist.weight"));
  const std::string batch = done("batch", soft("1", {"--teacher-path", checkpoint, "--distillation-norm", "batch"}));
  CHECK(double(metrics(batch)[0]["train_loss"]) > 5 * double(metrics(all)[0]["train_loss"]));  // 10 classes
  const std::string alone_run = done("alone", {});
  CHECK(moved(alone_run, "head.weight"));  // without a teacher both heads learn the targets
  CHECK(moved(alone_run, "head_dist.weight"));

  const auto fails = [&](const Words& more, const std::string& part) {
    const Finished finished = run("fails", more);
    INFO(finished.err);
    CHECK(finished.status == 2);
    CHECK_THAT(finished.err, Contains(part));
    CHECK_FALSE(std::filesystem::exists(folder.file("fails")));
  };
  fails({"--distillation-type", "hard"}, "--distillation-type hard needs --teacher-path FILE");
  fails({"--distillation-type", "firm"}, "--distillation-type must be none, soft or hard, got 'firm'");
  fails({"--distillation-type", "hard", "--teacher-path", weights}, "holds weights alone; give --teacher-model NAME");
  fails({"--distillation-type", "hard", "--teacher-path", checkpoint, "--teacher-model", "deit_tiny_patch4_32"},
        "is a checkpoint of deit_micro_patch4_28, not of --teacher-model deit_tiny_patch4_32");
  fails({"--distillation-type", "hard", "--teacher-path", checkpoint, "--num-classes", "12"},
        "the teacher has 10 classes at 28 x 28 pixels, the student 12 at 28 x 28");
  fails({"--model", "deit_micro_patch4_28", "--distillation-type", "hard", "--teacher-path", checkpoint},
        "needs a model with a distillation token, as deit_tiny_distilled_patch16_224; deit_micro_patch4_28 has none");
  CHECK(run("fails", {"--distillation-type", "hard", "--teacher-path", folder.file("nowhere")}).status == 3);
}

TEST_CASE("train --bce-loss: learns, with mixed images too", "[apps]") {
  const ScratchFolder folder("bce");
  const TinyMnist data(folder);
  const Finished run =
      run_program(words(data, folder.file("run"), {"--bce-loss", "--cutmix", "1", "--epochs", "12", "--lr", "0.003"}));
  INFO(run.err);
  REQUIRE(run.status == 0);
  CHECK(config_of(folder.file("run"))["bce_loss"] == true);
  const auto lines = metrics(folder.file("run"));
  CHECK(double(lines[0]["train_loss"]) < 1);  // ln 2 of each class to begin with; cross-entropy begins at ln 10
  CHECK(double(lines[11]["train_loss"]) < double(lines[1]["train_loss"]));
  CHECK(double(lines[11]["test_acc1"]) > 30);

  // Weights that stay as they were drawn: the loss tells the targets.
  const auto first_loss = [&](const std::string& smoothing) {
    const std::string out = folder.file("smoothing" + smoothing);
    REQUIRE(run_program(words(data, out, {"--bce-loss", "--lr", "0", "--smoothing", smoothing})).status == 0);
    return double(metrics(out)[0]["train_loss"]);
  };
  CHECK(first_loss("0") != first_loss("1"));
}

TEST_CASE("mean average precision: by hand", "[unit]") {
  using apps::mean_average_precision;
  // Ranks 1 and 3 of four: (1 / 1 + 2 / 3) / 2.
  CHECK(mean_average_precision({4, 3, 2, 1}, {true, false, true, false}, 1) == Approx(100 * (1 + 2. / 3) / 2));
  CHECK(mean_average_precision({1, 2, 3, 4}, {true, false, true, false}, 1) == Approx(100 * (1. / 2 + 2. / 4) / 2));
  // Equal scores are one step: all four at once, half of them right.
  CHECK(mean_average_precision({1, 1, 1, 1}, {true, false, true, false}, 1) == Approx(50));
  // Two classes side by side, and a third that no image has.
  CHECK(mean_average_precision({2, 1, 9, 1, 2, 8}, {true, true, false, false, false, false}, 3) ==
        Approx((100 + 50) / 2.));
  CHECK(std::isnan(mean_average_precision({1, 2}, {false, false}, 1)));
  CHECK(std::isnan(mean_average_precision({}, {}, 2)));
}

namespace {

/// 40 and 12 pictures whose upper half is red, whose lower half is green, both or neither.
std::string halves(const ScratchFolder& folder) {
  const std::string path = folder.file("halves");
  std::filesystem::create_directories(path);
  for (const auto& [split, count] : {std::pair{"train", 40}, {"val", 12}}) {
    std::ofstream list(path + "/" + split + ".csv");
    for (int i = 0; i < count; ++i) {
      const std::string name = std::string(split) + std::to_string(i) + ".png";
      data::Image image{.height = 30, .width = 34, .channels = 3, .pixels = {}};
      for (int64_t p = 0; p < 30 * 34; ++p)
        for (const bool on : {i % 2 == 1 && p < 15 * 34, i / 2 % 2 == 1 && p >= 15 * 34, false})
          image.pixels.push_back(uint8_t((on ? 190 : 10) + (p * 7 + i * 31) % 50));
      data::write_png(path + "/" + name, image);
      list << name << (i % 2 == 1 ? ",red" : "") << (i / 2 % 2 == 1 ? ",green" : "") << "\n";
    }
  }
  return "multilabel:" + path;
}

}  // namespace

TEST_CASE("train: images with several classes, judged by mean average precision", "[apps]") {
  const ScratchFolder folder("several");
  const std::string data = halves(folder), out = folder.file("run");
  Words words = {"train",
                 "--data",
                 data,
                 "--model",
                 "deit_micro_patch4_28",
                 "--image-size",
                 "28",
                 "--batch-size",
                 "8",
                 "--epochs",
                 "15",
                 "--lr",
                 "0.003",
                 "--out",
                 out,
                 "--mixup",
                 "0.2",
                 "--mixup-prob",
                 "0.25",
                 "--smoothing",
                 "0"};
  const Finished plain = run_program(words);
  CHECK(plain.status == 2);
  CHECK_THAT(plain.err, Contains("may have several classes; that needs --bce-loss"));
  words.push_back("--bce-loss");
  const Finished run = run_program(words);
  INFO(run.err);
  REQUIRE(run.status == 0);
  const auto lines = metrics(out);
  CHECK(double(lines[14]["test_map"]) > 95);
  CHECK_THAT(run.err, Contains(" mAP "));
  const std::string checkpoint = out + "/checkpoint.safetensors";
  const Finished eval = run_program({"eval", "--checkpoint", checkpoint, "--json"});
  REQUIRE(eval.status == 0);
  CHECK(eval.json()["map"] == lines[14]["test_map"]);
  CHECK(eval.json()["top1"] == lines[14]["test_acc1"]);
  CHECK(double(eval.json()["top1"]) <= 75);  // a quarter of the images has no class
  CHECK_THAT(run_program({"eval", "--checkpoint", checkpoint}).out, Contains("mAP "));
  double best = 0;
  for (const auto& line : lines) best = std::max(best, double(line["test_map"]));
  CHECK(double(lines[0]["test_map"]) < best);
  CHECK(run_program({"eval", "--checkpoint", out + "/best.safetensors", "--json"}).json()["map"] == best);
  // Answers about each class: both for an image that has both, neither for one without.
  const std::string path = folder.file("halves");
  const auto answers =
      run_program({"predict", "--checkpoint", checkpoint, path + "/val3.png", path + "/val0.png", "--json"}).json();
  for (const auto& guess : answers[0]["top"]) CHECK(double(guess["probability"]) > 0.5);
  for (const auto& guess : answers[1]["top"]) CHECK(double(guess["probability"]) < 0.5);
  CHECK(run_program({"preview", "--data", data, "--image-size", "28", "--batch-size", "8", "--mixup", "1", "--out",
                     folder.file("preview.png"), "--bce-loss"})
            .status == 0);
}

TEST_CASE("train --recipe: fine-tuning at another size and transfer to other data", "[apps]") {
  const ScratchFolder folder("recipes");
  const TinyMnist data(folder, 32);
  const std::string first = folder.file("first"), weights = first + "/checkpoint.safetensors";
  REQUIRE(run_program(words(data, first)).status == 0);
  const auto run = [&](const std::string& out, Words more) {
    more.insert(more.begin(), {"train", "--out", folder.file(out), "--model", "deit_micro_patch4_28", "--finetune",
                               weights, "--epochs", "1", "--batch-size", "16", "--no-repeated-aug"});
    const Finished finished = run_program(more);
    INFO(finished.err);
    REQUIRE(finished.status == 0);
    return finished;
  };
  // Larger: the positions are resized, the head stays.
  const Finished larger =
      run("larger", {"--recipe", "deit-384", "--data", "resized:mnist:" + data.path, "--image-size", "36"});
  CHECK_THAT(larger.err, Contains("1 resized: pos_embed (1 + 7 x 7 to 1 + 9 x 9 positions)"));
  const auto config = config_of(folder.file("larger"));
  CHECK(config["image_size"] == 36);
  CHECK(config["epochs"] == 1);
  CHECK(config["weight_decay"] == 1e-8);
  CHECK(config["train_mode"] == false);
  CHECK(run_program({"eval", "--checkpoint", folder.file("larger") + "/checkpoint.safetensors", "--json"})
            .json()["top1"] == metrics(folder.file("larger"))[0]["test_acc1"]);
  // Other classes: the head is drawn anew. A recipe in a file of settings counts too.
  const TinyFolder pictures(folder);
  const std::string file = folder.write("settings.toml", "recipe = \"transfer\"\nmixup = 0.1\n");
  const Finished other = run("other", {"--config", file, "--data", "imagefolder:" + pictures.path});
  CHECK_THAT(other.err, Contains("head.weight (is [10, 64], the model's is [2, 64])"));
  CHECK_THAT(other.err, Contains("sgd at a learning rate of 0.01; "));
  CHECK(config_of(folder.file("other"))["mixup"] == 0.1);
  CHECK(config_of(folder.file("other"))["cutmix"] == 1);
  // The others, as their settings arrive; flags go before them.
  const auto settings = [&](const std::string& recipe, const Words& more, const char* rate) {
    Words all = {"--recipe", recipe, "--data", "mnist:" + data.path};
    all.insert(all.end(), more.begin(), more.end());
    CHECK_THAT(run(recipe, all).err, Contains(rate));
    return config_of(folder.file(recipe));
  };
  const auto deit =
      settings("deit", {"--weight-decay", "0.1"}, "adamw at a learning rate of 1.5625e-05 = 0.0005 x 16 / 512; ");
  CHECK(deit["weight_decay"] == 0.1);
  CHECK(deit["aa"] == "rand-m9-mstd0.5-inc1");
  CHECK(deit["sched_on_epochs"] == true);
  CHECK(deit["ema"] == 0.99996);
  CHECK(deit["reprob"] == 0.25);
  CHECK(settings("transfer-adamw", {"--no-model-ema"}, " = 7.5e-06 x 16 / 512; ")["ema"] == 0);
  CHECK(settings("transfer-inat", {}, " = 5e-05 x 16 / 512; ")["reprob"] == 0.1);
  const auto distilled = settings(
      "deit-distilled", {"--model", "deit_micro_distilled_patch4_28", "--teacher-path", weights}, " x 16 / 512; ");
  CHECK(distilled["distillation_type"] == "hard");
  CHECK(distilled["mixup"] == 0.8);
  const Finished whole = run_program({"train", "--recipe", "deit", "--data", "mnist:" + data.path, "--dry-run"});
  CHECK_THAT(whole.err, Contains("--batch-size 1024 is larger than the 32 images"));

  const Finished wrong = run_program(words(data, folder.file("wrong"), {"--recipe", "diet"}));
  CHECK(wrong.status == 2);
  CHECK_THAT(wrong.err, Contains("unknown recipe 'diet'; there are deit, "));
  CHECK(wrong.is_one_error());
  CHECK_THAT(run_program({"train", "--help"}).out, Contains("--recipe"));
}
