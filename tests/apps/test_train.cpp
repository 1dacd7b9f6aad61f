#include <cmath>
#include <csignal>
#include <set>

#include "data/checkpoint/safetensors.h"
#include "data/image/image.h"
#include "models/classifier.h"
#include "ops/unary/unary.h"
#include "tests/apps/tiny_runs.h"
#include "tests/support/catch.h"

using namespace vitrine;
using namespace vitrine::testing;

TEST_CASE("train, eval and predict: a run leaves what the contract says", "[apps]") {
  const ScratchFolder folder("train");
  const TinyMnist data(folder);
  const std::string out = folder.file("run");
  const Finished run = run_program(train_words(
      data, out,
      {"--json", "--lr", "0.002", "--epochs", "15", "--pad-crop", "0", "--dropout", "0", "--drop-path", "0"}));
  INFO(run.err);
  REQUIRE(run.status == 0);
  const auto lines = metrics(out);
  REQUIRE(lines.size() == 15);
  for (const char* key :
       {"epoch", "train_loss", "test_loss", "test_acc1", "test_acc5", "lr", "images_per_s", "seconds"})
    CHECK(lines[14].contains(key));
  CHECK(run.json() == lines[14]);
  CHECK(lines[14]["epoch"] == 14);
  CHECK(double(lines[14]["train_loss"]) < double(lines[0]["train_loss"]));
  CHECK(double(lines[14]["test_acc1"]) > 50);  // of ten classes
  for (const char* name : {"checkpoint.safetensors", "best.safetensors", "config.json", "curves.svg"})
    CHECK(std::filesystem::exists(out + "/" + name));
  CHECK(nlohmann::json::parse(std::ifstream(out + "/config.json"))["batch_size"] == 16);

  const Finished eval =
      run_program({"eval", "--checkpoint", out + "/checkpoint.safetensors", "--data", "mnist:" + data.path, "--json"});
  REQUIRE(eval.status == 0);
  CHECK(eval.json()["top1"] == lines[14]["test_acc1"]);
  CHECK(eval.json()["loss"] == lines[14]["test_loss"]);
  CHECK(eval.json()["images"] == 40);

  data::Image image{.height = 28, .width = 28, .channels = 1, .pixels = {}};
  for (int pixel = 0; pixel < 28 * 28; ++pixel) image.pixels.push_back(uint8_t(stripes(7, 1000, pixel)));
  data::write_png(folder.file("seven.png"), image);
  const Finished predict =
      run_program({"predict", "--checkpoint", out + "/best.safetensors", folder.file("seven.png"), "--json"});
  REQUIRE(predict.status == 0);
  const auto top = predict.json()[0]["top"];
  REQUIRE(top.size() == 5);
  CHECK(top[0]["index"] == 7);
  CHECK(predict.json()[0]["file"] == folder.file("seven.png"));
  const Finished lost = run_program(
      {"predict", "--checkpoint", out + "/best.safetensors", folder.file("seven.png"), "--json"}, {.out = "/dev/full"});
  CHECK(lost.status == 1);
  CHECK(lost.is_one_error());
  double sum = 0;
  for (const auto& guess : top) sum += double(guess["probability"]);
  CHECK(sum <= 1 + 1e-6);
  CHECK(double(top[0]["probability"]) >= double(top[1]["probability"]));
}

TEST_CASE("train: an image folder, everything of the DeiT recipe on; killed, it ends with the same bits", "[apps]") {
  const ScratchFolder folder("recipe");
  const TinyFolder data(folder, 300);
  const auto words = [&](const std::string& out, std::vector<std::string> more) {
    std::vector<std::string> all = {"train",
                                    "--data",
                                    "imagefolder:" + data.path,
                                    "--out",
                                    out,
                                    "--epochs",
                                    "2",
                                    "--batch-size",
                                    "32",
                                    "--image-size",
                                    "36",
                                    "--flip",
                                    "--aa",
                                    "rand-m9-mstd0.5-inc1",
                                    "--reprob",
                                    "0.25",
                                    "--mixup",
                                    "0.8",
                                    "--cutmix",
                                    "1",
                                    "--mix-group",
                                    "16",
                                    "--repeated-aug",
                                    "--smoothing",
                                    "0.1",
                                    "--train-interpolation",
                                    "random",
                                    "--seed",
                                    "3"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const std::string whole = folder.file("whole"), out = folder.file("killed");
  const Finished run = run_program(words(whole, {"--json", "--workers", "0"}));
  INFO(run.err);
  REQUIRE(run.status == 0);
  CHECK(run.err.find("skipped: " + data.bad + ": is not a JPEG") != std::string::npos);
  CHECK(run.err.find("skipped: ") == run.err.rfind("skipped: "));  // once, not in each epoch
  CHECK(run.err.find("1 of its images could not be read and were skipped") != std::string::npos);
  CHECK(double(metrics(whole)[1]["test_acc1"]) >= 50);
  CHECK(metrics(whole)[1]["crop"] == 0.875);  // and beside every accuracy that is printed:
  CHECK(run.err.find(" % at crop 0.875  ") != std::string::npos);
  CHECK(run.err.find("% at crop 0.875\n") != std::string::npos);

  int kills = 0, status = -1;
  const std::vector<std::string> resumed = words(out, {"--resume", "--save-every", "0", "--workers", "2"});
  for (int milliseconds = 200; milliseconds < 6000 && status != 0; milliseconds += milliseconds / 2) {
    status = run_and_signal(resumed, milliseconds, SIGKILL);
    kills += status == 128 + SIGKILL;
  }
  if (status != 0) status = run_program(resumed).status;
  REQUIRE(status == 0);
  CHECK(kills > 0);
  CHECK_FALSE(has_temporaries(out));
  check_same_run(whole, out);

  const Finished eval = run_program({"eval", "--checkpoint", whole + "/checkpoint.safetensors", "--json"});
  REQUIRE(eval.status == 0);
  CHECK(eval.json()["top1"] == metrics(whole)[1]["test_acc1"]);
  CHECK(eval.json()["crop"] == 0.875);
  std::filesystem::rename(data.path + "/val/red", data.path + "/val/blue");
  std::filesystem::rename(data.path + "/train/red", data.path + "/train/blue");
  const Finished other = run_program({"eval", "--checkpoint", whole + "/checkpoint.safetensors"});
  CHECK(other.status == 2);
  CHECK(other.err.find("its classes are not those that the model was trained on") != std::string::npos);
  const Finished predict =
      run_program({"predict", "--checkpoint", whole + "/best.safetensors", data.path + "/val/blue/1.png", "--json"});
  REQUIRE(predict.status == 0);
  CHECK(predict.json()[0]["top"].size() == 2);
}

TEST_CASE("preview: a picture of a batch, the same each time", "[apps]") {
  const ScratchFolder folder("preview");
  const TinyFolder data(folder);
  const auto words = [&](const std::string& out, std::vector<std::string> more = {}) {
    std::vector<std::string> all = {"preview",
                                    "--data",
                                    "imagefolder:" + data.path,
                                    "--out",
                                    folder.file(out),
                                    "--image-size",
                                    "48",
                                    "--batch-size",
                                    "8",
                                    "--count",
                                    "6",
                                    "--mixup",
                                    "0.8",
                                    "--aa",
                                    "rand-m9-inc1",
                                    "--reprob",
                                    "1"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const Finished run = run_program(words("a.png", {"--json", "--rate"}));
  INFO(run.err);
  REQUIRE(run.status == 0);
  CHECK(run.json()["images"] == 6);
  CHECK(double(run.json()["images_per_s"]) > 0);
  CHECK(data::decode_image(folder.file("a.png")).width == 6 * (3 * 48 + 6) + 6);
  REQUIRE(run_program(words("b.png")).status == 0);
  CHECK(folder.read("a.png") == folder.read("b.png"));
  REQUIRE(run_program(words("c.png", {"--epoch", "1"})).status == 0);
  CHECK(folder.read("a.png") != folder.read("c.png"));
  // What a policy would replace or hide.
  std::set<std::string> pictures;
  for (const std::vector<std::string>& more :
       {std::vector<std::string>{}, {"--ThreeAugment"}, {"--src"}, {"--color-jitter", "0.3"}}) {
    std::vector<std::string> all = words("d.png", more);
    *std::find(all.begin(), all.end(), "rand-m9-inc1") = "none";
    REQUIRE(run_program(all).status == 0);
    pictures.insert(folder.read("d.png"));
  }
  CHECK(pictures.size() == 4);
  // The simple crop does not come from what an evaluation sees.
  REQUIRE(run_program(words("e.png", {"--src"})).status == 0);
  REQUIRE(run_program(words("f.png", {"--src", "--eval-crop-ratio", "0.5"})).status == 0);
  CHECK(folder.read("e.png") == folder.read("f.png"));
}

TEST_CASE("train: augmentation flags that do not fit are said once", "[apps]") {
  const ScratchFolder folder("augmenterrors");
  const TinyMnist data(folder);
  const auto fails = [&](std::vector<std::string> more, const std::string& part) {
    const Finished run = run_program(train_words(data, folder.file("run"), std::move(more)));
    INFO(run.err);
    CHECK(run.err.find(part) != std::string::npos);
    CHECK(run.status == 2);
  };
  fails({"--aa", "augmix-m5"}, "of timm's policies only rand-... is available");
  fails({"--aa", "rand-q1"}, "unknown section 'q1'");
  fails({"--remode", "noise"}, "erasing mode 'noise'; there are pixel, rand, const");
  fails({"--mixup-mode", "half"}, "mixing mode 'half'; there are batch, elem, pair");
  fails({"--train-interpolation", "nearest"}, "interpolation 'nearest'");
  fails({"--reprob", "1.5"}, "--reprob must be between 0 and 1, got 1.5");
  fails({"--cutmix-minmax", "0.5"}, "--cutmix-minmax takes two numbers, got 1");
  fails({"--scale", "0.5"}, "--scale takes two numbers, got 1");
  fails({"--ratio", "2", "1"}, "the ratio of crops is 2 to 1");
  fails({"--mixup", "1", "--batch-size", "15"}, "full batches of an even size, got 15");
  fails({"--repeated-aug"}, "rounded down to a multiple of 256");
}

TEST_CASE("train: --sched-on-epochs keeps one rate for an epoch, and the first for two", "[apps]") {
  const ScratchFolder folder("schedule");
  const TinyMnist data(folder, 32, 16);
  const std::vector<std::string> more = {"--epochs", "4", "--warmup-epochs", "2", "--lr", "1e-3", "--sched-on-epochs"};
  REQUIRE(run_program(train_words(data, folder.file("run"), more)).status == 0);
  std::ifstream in(folder.file("run/metrics.jsonl"));
  std::vector<double> rates;
  for (std::string line; std::getline(in, line);) rates.push_back(nlohmann::json::parse(line)["lr"]);
  REQUIRE(rates.size() == 4);
  CHECK(rates[0] == 1e-6);
  CHECK(rates[1] == 1e-6);
  CHECK(rates[2] == Catch::Approx(1e-6 + (1e-3 - 1e-6) / 2));
  CHECK(rates[3] == Catch::Approx(1e-5 + (1e-3 - 1e-5) / 2));  // the cosine at half of the run
}

TEST_CASE("train: what is wrong is said once, with the right status", "[apps]") {
  const ScratchFolder folder("trainerrors");
  const TinyMnist data(folder);
  const auto fails = [&](std::vector<std::string> words, const std::string& part) {
    const Finished run = run_program(words);
    INFO(run.err);
    CHECK(run.err.find(part) != std::string::npos);
    CHECK(run.out.empty());
    return run.status;
  };
  const std::string out = folder.file("run");
  CHECK(fails({"train"}, "--out") == 2);
  CHECK(fails(train_words(data, out, {"--model", "deit_micro_patch4"}),
              "unknown model 'deit_micro_patch4'; did you mean deit_micro_patch4_28") == 2);
  CHECK(fails(train_words(data, out, {"--leerning-rate", "1"}), "unknown flag --leerning-rate") == 2);
  CHECK(fails(train_words(data, out, {"--dropout", "1.5"}), "--dropout must be in [0, 1)") == 2);
  CHECK(fails(train_words(data, out, {"--opt", "adam"}), "--opt must be adamw or sgd") == 2);
  CHECK(fails(train_words(data, out, {"--pos-resize", "nearest"}), "--pos-resize must be bicubic or bicubic-aa") == 2);
  CHECK(fails(train_words(data, out, {"--ape", "rotary"}), "unknown absolute encoding 'rotary'") == 2);
  CHECK(fails(train_words(data, out, {"--batch-size", "1000"}), "--batch-size 1000 is larger than the 96 images") == 2);
  CHECK(fails(train_words(data, out, {"--num-classes", "7"}), "has 10 classes, but the model's head has 7") == 2);
  CHECK(fails(train_words(data, out, {"--image-size", "32"}), "images are 28 x 28, but the model takes 32 x 32") == 2);
  CHECK(fails(train_words(data, out, {"--data", "mnist:/no/such"}), "/no/such") == 3);
  CHECK(fails(train_words(data, out, {"--data", "coco:/no/such"}), "dataset coco is not available yet; there are") ==
        2);
  CHECK(fails(train_words(data, folder.write("file", "x") + "/run"), "cannot be made") == 1);
  CHECK(fails(train_words(data, out, {"--lr", "1e9", "--warmup-epochs", "0"}), "the loss is not finite") == 1);
  std::filesystem::remove_all(out);
  REQUIRE(run_program(train_words(data, out, {"--epochs", "1"})).status == 0);
  {  // Head weights so large that one step, whose own loss is finite, takes the others where products overflow.
    data::Safetensors steep{.tensors = data::read_safetensors(out + "/best.safetensors").tensors};
    for (auto& [name, t] : steep.tensors)
      if (name == "head.weight") t = ops::mul(t, 1e12);
    const std::string weights = folder.file("steep.safetensors");
    data::write_safetensors(weights, steep);
    CHECK(fails(train_words(data, folder.file("steep"),
                            {"--finetune", weights, "--lr", "1e9", "--opt", "sgd", "--warmup-epochs", "0", "--epochs",
                             "1", "--batch-size", "96", "--clip-grad", "0"}),
                "the test loss is not finite after epoch 0, though every weight is") == 1);
  }
  CHECK(fails(train_words(data, out), "holds a run already; add --resume") == 2);
  CHECK(fails(train_words(data, out, {"--resume", "--epochs", "1", "--lr", "0.5"}), "--lr 0.001, not 0.5") == 2);
  CHECK(fails(train_words(data, out, {"--resume", "--epochs", "1", "--model", "deit_tiny_patch4_32"}),
              "--model \"deit_micro_patch4_28\"") == 2);
  const std::string checkpoint = out + "/checkpoint.safetensors", bytes = folder.read("run/checkpoint.safetensors");
  folder.write("run/checkpoint.safetensors", bytes.substr(0, bytes.size() / 2));
  CHECK(fails({"train", "--resume", "--out", out}, "checkpoint.safetensors") == 3);
  CHECK(fails({"eval", "--checkpoint", checkpoint}, "checkpoint.safetensors") == 3);
  data::write_safetensors(checkpoint, {.tensors = {{"x", zeros({2})}}});
  CHECK(fails({"eval", "--checkpoint", checkpoint}, "is no checkpoint of this program") == 3);
  CHECK(fails({"predict", "--checkpoint", checkpoint, "a.png"}, "is no checkpoint of this program") == 3);
  CHECK(fails({"train", "--resume", "--out", out}, "has no metadata") == 3);
  CHECK(fails({"eval", "--checkpoint", out + "/none.safetensors"}, "none.safetensors: no such file") == 3);

  data::Safetensors other = data::read_safetensors(out + "/best.safetensors");
  other.tensors.erase(other.tensors.begin());
  data::write_safetensors(checkpoint, other);
  CHECK(fails({"eval", "--checkpoint", checkpoint}, "do not fit the model; 1 missing: cls_token") == 3);
  CHECK(fails({"predict", "--checkpoint", out + "/best.safetensors", folder.write("no.png", "PNG?")}, "no.png") == 3);
  CHECK(fails({"eval", "--checkpoint", out + "/best.safetensors", "--data", "shapes"}, "images are 32 x 32") == 2);
}

TEST_CASE("train: earlier relative positions and generators travel through a checkpoint", "[apps]") {
  const ScratchFolder folder("rivals");
  const TinyMnist data(folder, 32, 16);
  for (const std::string method : {"shaw", "transformer-xl", "huang", "sasa", "axial", "peg"}) {
    INFO(method);
    const std::string out = folder.file(method), flag = method == "peg" ? "--ape" : "--rpe";
    REQUIRE(run_program(train_words(data, out, {"--epochs", "1", flag, method})).status == 0);
    CHECK(nlohmann::json::parse(std::ifstream(out + "/config.json"))[flag.substr(2)] == method);
    const std::string checkpoint = out + "/checkpoint.safetensors";
    CHECK(run_program({"eval", "--checkpoint", checkpoint, "--json"}).json()["loss"] == metrics(out)[0]["test_loss"]);
    const std::string name = method == "peg"    ? "pos_block.2.proj.0.weight"
                             : method == "shaw" ? "blocks.0.attn.rpe_k.lookup_table_weight"
                                                : "blocks.0.attn.rpe.";
    const auto tensors = data::read_safetensors(checkpoint).tensors;
    CHECK(std::any_of(tensors.begin(), tensors.end(), [&](const auto& t) { return t.first.starts_with(name); }));
  }
  const Finished wrong = run_program(train_words(data, folder.file("wrong"), {"--rpe", "hunag"}));
  CHECK(wrong.status == 2);
  CHECK(wrong.is_one_error());
  CHECK(wrong.err.find("must be none, shaw, transformer-xl, huang, sasa, axial, or as rpe-") != std::string::npos);
}

TEST_CASE("train: starts from weights of another program, and says what of them it took", "[apps]") {
  const ScratchFolder folder("finetune");
  const TinyMnist data(folder);
  // Weights of 7 classes at 20 pixels, without a description, as another program would leave them.
  Generator rng{.seed = 2};
  const auto other =
      models::make_classifier({.rng = &rng}, "deit_micro_patch4_28", {.num_classes = 7, .image_size = 20});
  const std::string weights = folder.file("weights.safetensors"), out = folder.file("run");
  data::write_safetensors(weights, {.tensors = other->state_dict()});
  const std::vector<std::string> fine = {"--epochs", "1", "--rpe", "none", "--lr", "0", "--finetune", weights};
  const Finished run = run_program(train_words(data, out, [&] {
    std::vector<std::string> words = fine;
    words.push_back("--json");
    return words;
  }()));
  INFO(run.err);
  REQUIRE(run.status == 0);
  const auto report = run.json().at("finetune");
  CHECK(report["resized"][0]["name"] == "pos_embed");
  CHECK(report["resized"][0]["what"] == "1 + 5 x 5 to 1 + 7 x 7 positions");
  CHECK(report["initial"] == nlohmann::json({"head.weight", "head.bias"}));
  CHECK(report["loaded"].size() == other->state_dict().size() - 3);
  CHECK(run.err.find("weights.safetensors: 53 tensors loaded as they are; 1 resized: pos_embed") != std::string::npos);
  // A learning rate of 0: what was trained is what was loaded.
  const data::Safetensors trained = data::read_safetensors(out + "/checkpoint.safetensors");
  for (const auto& [name, t] : other->state_dict())
    if (name != "pos_embed" && !name.starts_with("head.")) CHECK(trained.at(name).to_vector() == t.to_vector());
  CHECK(run_program({"train", "--resume", "--out", out}).status == 0);  // without reading the weights again

  // Evaluation of weights alone: they say the number of classes, the command says the model.
  const std::vector<std::string> eval = {"eval", "--weights", weights};
  const auto with = [](std::vector<std::string> words, const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
    return run_program(words);
  };
  const std::vector<std::string> named = {"--model", "deit_micro_patch4_28"};
  CHECK(with(eval, {}).err.find("weights alone need --model NAME") != std::string::npos);
  CHECK(with(eval, {}).status == 3);
  CHECK(with(eval, named).err.find("weights alone need --data") != std::string::npos);
  CHECK(with(eval, named).status == 2);
  CHECK(with(eval, {"--data", "shapes", "--model", "deit_tiny_patch4_32"}).err.find("do not fit the model; ") !=
        std::string::npos);
  CHECK(with({"predict", "--checkpoint", out + "/best.safetensors", "a.png"}, named).err.find("states its own model") !=
        std::string::npos);
  // Weights alone are judged on the data's own mean and deviation: the numbers of the run that they come from.
  data::write_safetensors(weights, {.tensors = trained.tensors});
  const Finished again =
      with(eval, {"--data", "mnist:" + data.path, "--model", "deit_micro_patch4_28", "--rpe", "none", "--json"});
  INFO(again.err);
  REQUIRE(again.status == 0);
  CHECK(again.json()["loss"] == metrics(out)[0]["test_loss"]);
  CHECK(again.json()["crop"] == 1.0);
  data::write_safetensors(weights, {.tensors = other->state_dict()});
  std::vector<std::string> ten = eval;
  ten.insert(ten.end(), {"--data", "mnist:" + data.path, "--model", "deit_micro_patch4_28"});
  CHECK(with(ten, {}).err.find("10 classes, but the model's head has 7") != std::string::npos);
  data::write_safetensors(weights,
                          {.tensors = models::make_classifier({.rng = &rng}, "deit_micro_patch4_28")->state_dict()});
  const Finished judged = with(ten, {"--json"});
  INFO(judged.err);
  REQUIRE(judged.status == 0);
  CHECK(judged.json().at("images") == 40);
  CHECK(judged.json().at("weights").at("initial").empty());
}
