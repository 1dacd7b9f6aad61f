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
};

/// "00042-ankle-boot.png": letters and digits of the label only, as it may be a path or hold spaces.
std::string file_name(int64_t i, const std::string& label) {
  std::string number = std::to_string(i), name;
  constexpr size_t kDigits = 5;
  if (number.size() < kDigits) number.insert(0, kDigits - number.size(), '0');
  for (const unsigned char c : label) {
    if (std::isalnum(c)) {
      name += char(std::tolower(c));
    } else if (!name.empty() && name.back() != '-') {
      name += '-';
    }
  }
  return number + "-" + name + ".png";
}

int samples(const Flags& flags) {
  flags.apply();
  const auto split = flags.split == "train" ? data::Split::train : data::Split::test;
  const std::unique_ptr<data::Dataset> dataset = data::open_dataset(flags.data, split, flags.seed);
  check<UsageError>(flags.count <= dataset->size(), "samples: --count {} is more than the {} images of {}", flags.count,
                    dataset->size(), flags.data);
  make_folder(flags.out);
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (int64_t i = 0; i < flags.count; ++i) {
    const std::string& label = dataset->labels()[size_t(dataset->label(i))];
    const std::string file = (std::filesystem::path(flags.out) / file_name(i, label)).string();
    data::write_png(file, dataset->image(i));
    list.push_back({{"file", file}, {"label", label}, {"index", dataset->label(i)}});
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
  app.add_option("--count", flags->count, "how many, from the first (default: 10)")
      ->check(CLI::Range(int64_t(1), int64_t(100'000)));
  app.add_option("--split", flags->split, "train or test (default: test)")->check(CLI::IsMember({"train", "test"}));
  return [flags] { return samples(*flags); };
}

const RegisterCommand command({"samples", "Writes images of a data set as PNG files", setup});

}  // namespace
}  // namespace vitrine::apps
