#include "data/datasets/dataset.h"

#include "data/datasets/formats.h"

namespace vitrine::data {
namespace {

// Means and standard deviations of the training pixels: those in general use.
constexpr std::array<double, 3> all(double x) { return {x, x, x}; }

const IdxDescription& fashion_mnist() {
  static const IdxDescription description = {.name = "Fashion-MNIST",
                                             .labels = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal",
                                                        "Shirt", "Sneaker", "Bag", "Ankle boot"},
                                             .mean = all(0.2860),
                                             .std = all(0.3530)};
  return description;
}

const IdxDescription& mnist() {
  static const IdxDescription description = {.name = "MNIST",
                                             .labels = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"},
                                             .mean = all(0.1307),
                                             .std = all(0.3081)};
  return description;
}

const IdxDescription& kmnist() {
  static const IdxDescription description = {.name = "Kuzushiji-MNIST",
                                             .labels = {"o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"},
                                             .mean = all(0.1918),
                                             .std = all(0.3483)};
  return description;
}

constexpr const char* kFashionFolder = "/usr/share/datasets/fashion-mnist";

}  // namespace

std::string to_string(Split split) { return split == Split::train ? "train" : "test"; }

std::vector<std::string> Dataset::bad_images(size_t) const { return {}; }

const std::vector<std::string>& dataset_forms() {
  static const std::vector<std::string> forms = {
      "fashion-mnist[:DIR]", "mnist:DIR",       "kmnist:DIR",     "cifar10:DIR", "cifar100:DIR",
      "cifar100-coarse:DIR", "imagefolder:DIR", "multilabel:DIR", "shapes",      "resized:DATA"};
  return forms;
}

std::unique_ptr<Dataset> open_dataset(const std::string& data_string, Split split, uint64_t seed) {
  const size_t colon = data_string.find(':');
  const std::string name = data_string.substr(0, colon);
  const bool has_folder = colon != std::string::npos;
  const std::string folder = has_folder ? data_string.substr(colon + 1) : "";
  const auto need_folder = [&] {
    check<ValueError>(!folder.empty(), "dataset {}: the folder is missing; write {}:DIR", name, name);
  };

  if (name == "fashion-mnist") {
    if (!has_folder)
      return open_idx(fashion_mnist(), kFashionFolder, split,
                      "install the package dataset-fashion-mnist (Debian, Ubuntu) or write fashion-mnist:DIR");
    need_folder();
    return open_idx(fashion_mnist(), folder, split);
  }
  if (name == "mnist" || name == "kmnist") {
    need_folder();
    return open_idx(name == "mnist" ? mnist() : kmnist(), folder, split);
  }
  if (name == "cifar10") {
    need_folder();
    return open_cifar10(folder, split);
  }
  if (name == "cifar100" || name == "cifar100-coarse") {
    need_folder();
    return open_cifar100(folder, split, name == "cifar100" ? CifarLabels::fine : CifarLabels::coarse);
  }
  if (name == "imagefolder") {
    need_folder();
    return open_imagefolder(folder, split);
  }
  if (name == "multilabel") {
    need_folder();
    return open_multilabel(folder, split);
  }
  if (name == "shapes") {
    check<ValueError>(!has_folder, "dataset shapes has no files; write shapes instead of {}", data_string);
    return make_shapes(split, seed);
  }
  if (name == "resized") {
    check<ValueError>(!folder.empty(), "dataset resized: which one is missing; write resized:cifar10:DIR");
    auto base = open_dataset(folder, split, seed);
    check<ValueError>(base->one_size(), "dataset {}: the images of {} are resized anyway", data_string, folder);
    return resized(std::move(base));
  }
  std::string known;
  for (const std::string& form : dataset_forms()) known += (known.empty() ? "" : ", ") + form;
  check<ValueError>(name != "coco", "dataset {} is not available yet; there are {}", name, known);
  throw ValueError(format("unknown dataset '{}'; there are {}", name, known));
}

}  // namespace vitrine::data
