#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/classifier/checkpoint_flags.h"
#include "apps/classifier/image_input.h"
#include "core/autograd.h"
#include "ops/softmax/softmax.h"
#include "ops/unary/unary.h"

namespace vitrine::apps {
namespace {

struct Flags : CheckpointFlags {
  std::vector<std::string> images;
};

struct Guess {
  std::string label;
  int64_t index;
  double probability;
};

std::vector<Guess> guesses(const LoadedClassifier& loaded, const Tensor& input, Device device, Dtype dtype) {
  constexpr size_t kMost = 5;
  const NoGrad no_grad;
  const Tensor logits = loaded.model->logits(input.to(device).to(dtype)).to(Dtype::f32);
  const std::vector<double> p = (loaded.spec.multi_label ? ops::sigmoid(logits) : ops::softmax(logits, -1)).to_vector();
  std::vector<int64_t> order(p.size());
  std::iota(order.begin(), order.end(), int64_t(0));
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return p[size_t(a)] > p[size_t(b)]; });
  std::vector<Guess> top;
  for (const int64_t i : order)
    if (top.size() < kMost) top.push_back({loaded.spec.labels[size_t(i)], i, p[size_t(i)]});
  return top;
}

/// Every image is read before anything is printed, so that a bad file among many is one error and no half answer.
int predict(const Flags& flags) {
  flags.apply();
  const Device device = flags.device();
  const LoadedClassifier loaded = flags.load();
  std::vector<Tensor> inputs;
  for (const std::string& file : flags.images)
    inputs.push_back(image_input(data::decode_image(file), loaded.spec.preprocessing));
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (size_t i = 0; i < inputs.size(); ++i) {
    nlohmann::ordered_json top = nlohmann::ordered_json::array();
    if (!flags.json) std::cout << flags.images[i] << "\n";
    for (const Guess& g : guesses(loaded, inputs[i], device, flags.dtype())) {
      top.push_back({{"label", g.label}, {"index", g.index}, {"probability", g.probability}});
      if (!flags.json) std::cout << format("  {} %  {}\n", significant(100 * g.probability), g.label);
    }
    list.push_back({{"file", flags.images[i]}, {"top", top}});
  }
  if (flags.json) print_json(list);
  return kDone;
}

std::function<int()> setup(CLI::App& app) {
  const auto flags = std::make_shared<Flags>();
  flags->add_to(app);
  app.add_option("IMAGE", flags->images, "JPEG, PNG, BMP, GIF, PSD or PNM files")->required();
  return [flags] { return predict(*flags); };
}

const RegisterCommand command({"predict", "Class probabilities of image files", setup});

}  // namespace
}  // namespace vitrine::apps
