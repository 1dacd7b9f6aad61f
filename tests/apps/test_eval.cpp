#include <chrono>

#include "apps/classifier/spec.h"
#include "core/autograd.h"
#include "tests/apps/tiny_runs.h"

using namespace vitrine;
using namespace vitrine::testing;
using vitrine::testing::Contains;

namespace {

/// A checkpoint of a model for MNIST as it is drawn, with its biases drawn too.
std::string make_checkpoint(const ScratchFolder& folder, const std::string& model_name) {
  apps::ClassifierSpec spec;
  spec.model = model_name, spec.data = "mnist:" + folder.file("mnist");
  spec.options.num_classes = 10, spec.options.image_size = 28;
  spec.preprocessing = {.height = 28, .width = 28, .grey = true, .mean = {0.5, 0.5, 0.5}, .std = {0.25, 0.25, 0.25}};
  for (int c = 0; c < 10; ++c) spec.labels.push_back(std::to_string(c));
  Generator rng{.seed = 5};
  const auto model = spec.make(Device::cpu(), rng);
  const NoGrad no_grad;
  for (const auto& [name, t] : model->parameters())
    if (name.starts_with("head")) Tensor(t).copy_(random_normal(t.shape(), rng, 0, 1));
  const std::string file = folder.file(model_name + ".safetensors");
  data::write_safetensors(file, {.tensors = model->state_dict(), .metadata = {{apps::kSpecKey, spec.json().dump()}}});
  return file;
}

/// The test images as files, by `samples`, whose names begin with their numbers: that of image i shows class i mod 10.
std::vector<std::string> files_of(const TinyMnist& data, const ScratchFolder& folder) {
  const std::string out = folder.file("images");
  REQUIRE(run_program({"samples", "--data", "mnist:" + data.path, "--out", out, "--all"}).status == 0);
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(out)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

/// How many percent of the images have their class among the first `k` of `predict`.
double rate_by_predict(const std::string& checkpoint, const std::vector<std::string>& files, size_t k,
                       const std::vector<std::string>& more = {}) {
  std::vector<std::string> words = {"predict", "--checkpoint", checkpoint, "--json"};
  words.insert(words.end(), more.begin(), more.end());
  words.insert(words.end(), files.begin(), files.end());
  const nlohmann::json list = run_program(words).json();
  REQUIRE(list.size() == files.size());
  double hits = 0;
  for (size_t i = 0; i < list.size(); ++i)
    for (size_t r = 0; r < k; ++r) hits += list[i]["top"][r]["index"] == i % 10;
  return 100 * hits / double(files.size());
}

}  // namespace

TEST_CASE("eval: accuracies are those of predict, image by image; the rate is of the time it took", "[apps]") {
  const ScratchFolder folder("eval");
  const TinyMnist data(folder);
  const std::vector<std::string> files = files_of(data, folder);
  REQUIRE(files.size() == 40);
  const std::string checkpoint = make_checkpoint(folder, "deit_micro_patch4_28");
  const auto start = std::chrono::steady_clock::now();
  const Finished run = run_program({"eval", "--checkpoint", checkpoint, "--json"});
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  INFO(run.err);
  REQUIRE(run.status == 0);
  const nlohmann::json found = run.json();
  CHECK(found["images"] == 40);
  CHECK(found["top1"] == rate_by_predict(checkpoint, files, 1));
  CHECK(found["top5"] == rate_by_predict(checkpoint, files, 5));
  CHECK((found["top5"] > found["top1"] && found["top5"] < 100));  // so neither says the same as another
  CHECK(40 / double(found["images_per_s"]) > 0);
  CHECK(40 / double(found["images_per_s"]) < seconds.count());
}

TEST_CASE("eval: the heads of a distilled model, joined by logits or by softmax", "[apps]") {
  const ScratchFolder folder("heads");
  const TinyMnist data(folder);
  const std::vector<std::string> files = files_of(data, folder), softmax = {"--head-fusion", "softmax"};
  const std::string checkpoint = make_checkpoint(folder, "deit_micro_distilled_patch4_28");
  const auto eval = [&](const std::string& file, const std::vector<std::string>& more) {
    std::vector<std::string> words = {"eval", "--checkpoint", file, "--json"};
    words.insert(words.end(), more.begin(), more.end());
    return run_program(words);
  };
  const nlohmann::json usual = eval(checkpoint, {}).json(), joined = eval(checkpoint, softmax).json();
  CHECK(usual["loss"] == eval(checkpoint, {"--head-fusion", "logits"}).json()["loss"]);
  CHECK(usual["loss"] != joined["loss"]);
  CHECK(usual["top5"] == rate_by_predict(checkpoint, files, 5));
  CHECK(joined["top5"] == rate_by_predict(checkpoint, files, 5, softmax));
  const Finished plain = eval(make_checkpoint(folder, "deit_micro_patch4_28"), softmax);
  CHECK(plain.status == 2);
  CHECK(plain.is_one_error());
  CHECK_THAT(plain.err, Contains("deit_micro_patch4_28 has one head; leave out --head-fusion"));
}
