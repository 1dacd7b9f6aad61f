#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/cli.h"
#include "apps/samples/choice.h"
#include "core/random.h"
#include "data/datasets/dataset.h"
#include "data/image/image.h"

namespace vitrine::apps {
namespace {

struct Flags : CommonFlags {
  std::string data, out, split = "test";
  int64_t count = 0;
};

data::Image image_of(const data::Dataset& dataset, int64_t index) {
  const int64_t height = dataset.preprocessing().height, width = dataset.preprocessing().width;
  const size_t pixels = size_t(height * width);
  std::vector<uint8_t> planes(3 * pixels);
  dataset.pixels(index, planes.data());
  data::Image image{.height = height, .width = width, .channels = 3, .pixels = {}};
  for (size_t i = 0; i < pixels; ++i)
    for (size_t c = 0; c < 3; ++c) image.pixels.push_back(planes[c * pixels + i]);
  return image;
}

int samples(const Flags& flags) {
  flags.apply();
  const data::Split split = flags.split == "train" ? data::Split::train : data::Split::test;
  const auto dataset = data::open_dataset(flags.data, split, flags.seed);
  check<UsageError>(flags.count <= dataset->size(), "samples: --count {} is more than the {} images of {}", flags.count,
                    dataset->size(), dataset->description());
  std::vector<int64_t> classes;
  for (int64_t i = 0; i < dataset->size(); ++i) classes.push_back(dataset->label(i));
  std::error_code error;
  std::filesystem::create_directories(flags.out, error);
  check<IoError>(!error, "{}: cannot be made: {}", flags.out, error.message());
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const int64_t i : spread_choice(classes, dataset->num_classes(), flags.count, flags.seed)) {
    const std::string& label = dataset->labels()[size_t(classes[size_t(i)])];
    const std::string file = flags.out + "/" + sample_name(i, label);
    data::write_png(file, image_of(*dataset, i));
    list.push_back({{"file", file}, {"index", i}, {"label", label}});
    if (!flags.json) std::cout << file << "\n";
  }
  if (flags.json) print_json(list);
  return kDone;
}

std::function<int()> setup(CLI::App& app) {
  const auto flags = std::make_shared<Flags>();
  flags->add_to(app);
  app.add_option("--data", flags->data, "fashion-mnist[:DIR], mnist:DIR, cifar10:DIR or shapes")->required();
  app.add_option("--count", flags->count, "number of images")->required()->check(CLI::PositiveNumber);
  app.add_option("--out", flags->out, "folder for the PNG files")->required();
  app.add_option("--split", flags->split, "train or test")
      ->capture_default_str()
      ->check(CLI::IsMember({"train", "test"}));
  return [flags] { return samples(*flags); };
}

const RegisterCommand command({"samples", "Writes images of a dataset as PNG files, spread over its classes", setup});

}  // namespace
}  // namespace vitrine::apps
