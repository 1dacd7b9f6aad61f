#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/cli.h"
#include "data/datasets/dataset.h"
#include "data/image/image.h"

namespace vitrine::apps {
namespace {

struct Flags : CommonFlags {
  std::string data, out, split = "test";
  int64_t count = 10;
  bool all = false, folders = false;
};

std::string padded(int64_t number, size_t digits) {
  const std::string text = std::to_string(number);
  return text.size() < digits ? std::string(digits - text.size(), '0') + text : text;
}

/// "00042-ankle-boot": letters and digits of the label only, as it may be a path or hold spaces.
std::string named(const std::string& number, const std::string& label) {
  std::string name;
  for (const unsigned char c : label) {
    if (std::isalnum(c)) {
      name += char(std::tolower(c));
    } else if (!name.empty() && name.back() != '-') {
      name += '-';
    }
  }
  return number + "-" + name;
}

/// Image i in a flat folder, or as imagefolder:DIR reads it; numbers keep images and classes in their order.
std::filesystem::path file_of(const Flags& flags, const data::Dataset& dataset, int64_t i) {
  const std::filesystem::path out = flags.out;
  constexpr size_t kDigits = 5;
  const std::string& label = dataset.labels()[size_t(dataset.label(i))];
  if (!flags.folders) return out / (named(padded(i, kDigits), label) + ".png");
  const size_t digits = std::to_string(dataset.num_classes() - 1).size();
  return out / (flags.split == "train" ? "train" : "val") / named(padded(dataset.label(i), digits), label) /
         (padded(i, kDigits) + ".png");
}

int samples(const Flags& flags) {
  flags.apply();
  const auto split = flags.split == "train" ? data::Split::train : data::Split::test;
  const std::unique_ptr<data::Dataset> dataset = data::open_dataset(flags.data, split, flags.seed);
  const int64_t count = flags.all ? dataset->size() : flags.count;
  check<UsageError>(count <= dataset->size(), "samples: --count {} is more than the {} images of {}", count,
                    dataset->size(), flags.data);
  make_folder(flags.out);
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (int64_t i = 0; i < count; ++i) {
    const std::filesystem::path path = file_of(flags, *dataset, i);
    if (flags.folders) make_folder(path.parent_path().string());
    const std::string& file = path.string();
    data::write_png(file, dataset->image(i));
    list.push_back(
        {{"file", file}, {"label", dataset->labels()[size_t(dataset->label(i))]}, {"index", dataset->label(i)}});
    if (!flags.json) std::cout << file << "\n";
  }
  if (flags.json) print_json(list);
  return kDone;
}

std::function<int()> setup(CLI::App& app) {
  const auto flags = std::make_shared<Flags>();
  flags->add_to(app);
  app.add_option("--data", flags->data, "fashion-mnist[:DIR], shapes, cifar10:DIR, ...")->required();
  app.add_option("--out", flags->out, "folder of the PNG files")->required();
  CLI::Option* count = app.add_option("--count", flags->count, "how many, from the first (default: 10)")
                           ->check(CLI::Range(int64_t(1), int64_t(100'000)));
  app.add_flag("--all", flags->all, "every image of the split")->excludes(count);
  app.add_flag("--folders", flags->folders,
               "one folder a class, OUT/train/CLASS/ or OUT/val/CLASS/, as imagefolder:OUT reads it");
  app.add_option("--split", flags->split, "train or test (default: test)")->check(CLI::IsMember({"train", "test"}));
  return [flags] { return samples(*flags); };
}

const RegisterCommand command({"samples", "Writes images of a data set as PNG files", setup});

}  // namespace
}  // namespace vitrine::apps
