#include "apps/train/recipes.h"

#include <CLI/CLI.hpp>
#include <algorithm>

namespace vitrine::apps {
namespace {

using Json = nlohmann::ordered_json;

/// `settings` with `changes` in their place.
Json with(Json settings, const Json& changes) {
  settings.update(changes);
  return settings;
}

/// Deit 4.1, what DeiT's program does if it is told nothing.
Json deit() {
  return {{"epochs", 300},
          {"batch_size", 1024},
          {"opt", "adamw"},
          {"lr", 5e-4},
          {"scale_lr", true},
          {"min_lr", 1e-5},
          {"warmup_lr", 1e-6},
          {"warmup_epochs", 5},
          {"sched_on_epochs", true},
          {"weight_decay", 0.05},
          {"clip_grad", 0},
          {"label_smoothing", 0.1},
          {"drop_path", 0.1},
          {"dropout", 0},
          {"ema", 0.99996},
          {"train_mode", true},
          {"flip", true},
          {"aa", "rand-m9-mstd0.5-inc1"},
          {"train_interpolation", "bicubic"},
          {"reprob", 0.25},
          {"remode", "pixel"},
          {"recount", 1},
          {"mixup", 0.8},
          {"cutmix", 1},
          {"mixup_prob", 1},
          {"mixup_switch_prob", 0.5},
          {"mixup_mode", "batch"},
          {"mix_group", 64},
          {"repeated_aug", true}};
}

/// Deit 4.11. The learning rate is not multiplied by the batch.
Json transfer() {
  return with(deit(), {{"epochs", 1000},
                       {"batch_size", 768},
                       {"opt", "sgd"},
                       {"momentum", 0.9},
                       {"lr", 0.01},
                       {"scale_lr", false},
                       {"weight_decay", 1e-4},
                       {"reprob", 0},
                       {"drop_path", 0}});
}

std::vector<Recipe> make_recipes() {
  return {
      {"deit", "DeiT on ImageNet: 300 epochs in batches of 1024", deit()},
      {"deit-distilled", "the same with a teacher, hard",
       with(deit(), {{"distillation_type", "hard"}, {"distillation_alpha", 0.5}, {"distillation_tau", 1}})},
      {"deit-384", "30 epochs at 384 pixels, with --finetune",
       with(deit(), {{"image_size", 384},
                     {"epochs", 30},
                     {"batch_size", 512},
                     {"lr", 5e-6},
                     {"min_lr", 5e-6},
                     {"weight_decay", 1e-8},
                     {"train_mode", false}})},
      {"transfer", "CIFAR, Cars, Flowers by SGD: 1000 epochs in batches of 768, with --finetune", transfer()},
      {"transfer-adamw", "CIFAR by AdamW, with --finetune",
       with(deit(), {{"epochs", 1000}, {"batch_size", 768}, {"lr", 7.5e-6}})},
      {"transfer-inat", "iNaturalist: 360 epochs in batches of 768, with --finetune",
       with(deit(), {{"epochs", 360}, {"batch_size", 768}, {"lr", 5e-5}, {"reprob", 0.1}})},
  };
}

}  // namespace

const std::vector<Recipe>& recipes() {
  static const std::vector<Recipe> list = make_recipes();
  return list;
}

void add_recipe_flag(CLI::App& app, std::string& name) {
  std::string names;
  for (const Recipe& r : recipes()) names += (names.empty() ? "" : ", ") + r.name;
  app.add_option("--recipe", name, "settings of a published recipe, before which flags and --config go: " + names);
}

std::vector<std::string> apply_recipe(const std::string& name, TrainConfig& config,
                                      const std::vector<std::string>& decided) {
  if (name.empty()) return {};
  std::vector<std::string> names, keys;
  for (const Recipe& r : recipes()) names.push_back(r.name);
  const auto recipe = std::find_if(recipes().begin(), recipes().end(), [&](const Recipe& r) { return r.name == name; });
  check<UsageError>(recipe != recipes().end(), "unknown recipe '{}'; there are {}", name, join(names));
  Json settings;
  for (const auto& [key, value] : recipe->settings.items())
    if (std::find(decided.begin(), decided.end(), key) == decided.end()) settings[key] = value, keys.push_back(key);
  config.set(settings);
  return keys;
}

}  // namespace vitrine::apps
