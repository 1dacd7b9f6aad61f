#include "tests/apps/tiny_runs.h"

/// Checkpoints whose tensors are sound and whose descriptions are not: as a program with an error might write them, or
/// someone who wishes no good.
using namespace vitrine;
using namespace vitrine::testing;
using nlohmann::json;

namespace {

constexpr const char *kSpec = "vitrine.classifier", *kTraining = "vitrine.training";

/// A run of two epochs of two steps, as it was after the first.
struct HalfRun {
  explicit HalfRun(const ScratchFolder& folder) : data(folder, 32, 16), out(folder.file("run")) {
    const Finished run = run_program({"train", "--data", "mnist:" + data.path, "--out", out, "--epochs", "2",
                                      "--batch-size", "16", "--keep-last", "2", "--mixup", "0.1"});
    INFO(run.err);
    REQUIRE(run.status == 0);
    sound = data::read_safetensors(out + "/checkpoint-0.safetensors");
  }
  /// Writes the checkpoint with `text` for the metadata `key`.
  void write(const std::string& key, const std::string& text) const {
    data::Safetensors content = sound;
    for (auto& [name, value] : content.metadata)
      if (name == key) value = text;
    data::write_safetensors(file, content);
  }
  /// The same with `patch` merged into that metadata.
  void patch(const std::string& key, const std::string& patch) const {
    for (const auto& [name, value] : sound.metadata) {
      if (name != key) continue;
      json document = json::parse(value);
      document.merge_patch(json::parse(patch));
      write(key, document.dump());
    }
  }
  /// The program on what was written must end with one error that names the file and says `part`, and change nothing.
  void fails(const std::vector<std::string>& words, const std::string& named, const std::string& part) const {
    const auto bytes = [this] {
      std::ifstream in(file, std::ios::binary);
      return std::string{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    };
    const std::string before = bytes();
    const Finished run = run_program(words);
    INFO(run.err);
    CHECK(run.status == 3);
    CHECK(run.is_one_error());
    CHECK(run.err.starts_with("vitrine: " + named + ": "));
    CHECK(run.err.find(part) != std::string::npos);
    CHECK(bytes() == before);
  }
  std::vector<std::string> eval() const { return {"eval", "--checkpoint", file}; }
  std::vector<std::string> resume() const { return {"train", "--resume", "--out", out}; }

  TinyMnist data;
  std::string out, file = out + "/checkpoint.safetensors";
  data::Safetensors sound;
};

struct Case {
  const char *patch, *says;
};

}  // namespace

TEST_CASE("hostile checkpoint: a description of no model is one error that names the file", "[apps]") {
  const ScratchFolder folder("hostilemodel");
  const HalfRun run(folder);
  const Case cases[] = {
      {R"({"format": 2})", "format 2 of a newer program; this one reads 1"},
      {R"({"format": null})", "malformed description of the model: "},
      {R"({"model": 5})", "malformed description of the model: "},
      {R"({"model": "deit\nmicro"})", R"(unknown model 'deit\nmicro')"},
      {R"({"num_classes": 10.5})", "\"num_classes\" must be a whole number from -9223372036854775808"},
      {R"({"num_classes": 1e30})", "\"num_classes\" must be a whole number"},
      {R"({"image_size": 18446744073709551615})", "\"image_size\" must be a whole number"},
      {R"({"image_size": 4096})", "image size 4096 with preprocessing to 28 x 28"},
      {R"({"data_seed": -1})", "\"data_seed\" must be a whole number from 0 to 18446744073709551615, got -1"},
      {R"({"data_seed": 1e30})", "\"data_seed\" must be a whole number"},
      {R"({"data": "no\nsuch"})", R"(unknown dataset 'no\nsuch')"},
      {R"({"data": "coco:/x"})", "dataset coco is not available yet"},
      {R"({"rpe": "rpe-8000-product-ctx-1-k"})", "do not fit the model; "},
      {R"({"rpe": "rpe-8000"})", "rpe 'rpe-8000'"},
      {R"({"ape": "rotary"})", "unknown absolute encoding 'rotary'"},
      {R"({"model": "deit_tiny_patch4_32"})", "do not fit the model; "},
      {R"({"labels": []})", "10 classes with 0 labels"},
      {R"({"labels": [[]]})", "malformed description of the model: "},
      {R"({"preprocessing": {"crop": 1e-300}})", "a crop of 1e-300; it must be in [0.1, 1]"},
      {R"({"preprocessing": {"height": 28.5}})", "\"height\" must be a whole number"},
      {R"({"preprocessing": {"std": [0, 1, 1]}})", "std must be positive"},
      {R"({"preprocessing": 5})", "malformed description of the model: "},
  };
  for (const auto& [patch, says] : cases) {
    INFO(patch);
    run.patch(kSpec, patch);
    run.fails(run.eval(), run.file, says);
  }
  run.write(kSpec, "[]");
  run.fails(run.eval(), run.file, "the metadata 'vitrine.classifier' is not a JSON object");
  run.patch(kSpec, "{}");
  CHECK(run_program(run.eval()).status == 0);
}

TEST_CASE("hostile checkpoint: a run that cannot go on is one error that names the file", "[apps]") {
  const ScratchFolder folder("hostilerun");
  const HalfRun run(folder);
  const Case cases[] = {
      {R"({"config": 5})", "malformed training configuration: it is no object"},
      {R"({"config": null})", "malformed training configuration: it is no object"},
      {R"({"config": {"lr": "fast"}})", "malformed training configuration: "},
      {R"({"config": {"lr": -1}})", "malformed training configuration: --lr must be at least 0, got -1"},
      {R"({"config": {"precision": "f13"}})", "malformed training configuration: --precision must be f32 or bf16"},
      {R"({"config": {"epochs": 2.5}})", "malformed training configuration: \"epochs\" must be a whole number"},
      {R"({"config": {"batch_size": 1e30}})", "\"batch_size\" must be a whole number"},
      {R"({"config": {"seed": -1}})", "\"seed\" must be a whole number from 0 to 18446744073709551615, got -1"},
      {R"({"config": {"model": "deit\nmicro"}})", R"(unknown model 'deit\nmicro')"},
      {R"({"config": {"rpe": "rpe-3000-product-ctx-1-k"}})", "do not fit the model; "},
      {R"({"config": {"data": "no\nsuch"}})", R"(unknown dataset 'no\nsuch')"},
      {R"({"config": {"aa": "rand-q1"}})", "unknown section 'q1'"},
      {R"({"config": {"mix_group": 3}})", "a group of 3 images; it must be even"},
      {R"({"config": {"batch_size": 4096}})", "--batch-size 4096 is larger than the 32 images"},
      {R"({"epoch": "x"})", "malformed state of training: \"epoch\" must be a whole number"},
      {R"({"epoch": 1e30})", "malformed state of training: \"epoch\" must be a whole number"},
      {R"({"epoch": null})", "malformed state of training: "},
      {R"({"epoch": 3})", "epoch 3, step 0 is outside the run of 2 epochs of 2 steps"},
      {R"({"step": -1})", "epoch 1, step -1 is outside the run"},
      {R"({"step": 3})", "epoch 1, step 3 is outside the run"},
      {R"({"step": 1, "steps": "x"})", "malformed state of training: \"steps\" must be a whole number"},
      {R"({"step": 1, "steps": 9})", "lies inside an epoch of 9 steps, which cannot go on with 2"},
      {R"({"loss_sum": "x"})", "malformed state of training: "},
      {R"({"generator_seed": -1})", "\"generator_seed\" must be a whole number from 0"},
      {R"({"generator_offset": 0.5})", "\"generator_offset\" must be a whole number from 0"},
  };
  for (const auto& [patch, says] : cases) {
    INFO(patch);
    run.patch(kTraining, patch);
    run.fails(run.resume(), run.file, says);
  }
  run.write(kTraining, "{");
  run.fails(run.resume(), run.file, "the metadata 'vitrine.training' is not a JSON object");

  run.patch(kTraining, "{}");
  const std::string log = run.out + "/metrics.jsonl", lines = folder.read("run/metrics.jsonl");
  folder.write("run/metrics.jsonl", "{\"epoch\": 0}\nno line\n");
  run.fails(run.resume(), log, "line 2 is no line of metrics");
  folder.write("run/metrics.jsonl", "{\"epoch\": \"0\"}\n");
  run.fails(run.resume(), log, "line 1 is no line of metrics");
  folder.write("run/metrics.jsonl", "");
  run.fails(run.resume(), log, "has 0 of the 1 lines that the checkpoint belongs to");
  folder.write("run/metrics.jsonl", lines);
  CHECK(run_program(run.resume()).status == 0);
}
