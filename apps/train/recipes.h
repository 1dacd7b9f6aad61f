#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/train/config.h"

/// Published recipes by name: what --recipe sets.
namespace vitrine::apps {

struct Recipe {
  std::string name, about;          ///< the second for people
  nlohmann::ordered_json settings;  ///< as keys of TrainConfig::json()
};
const std::vector<Recipe>& recipes();

/// Adds --recipe.
void add_recipe_flag(CLI::App& app, std::string& name);

/// Puts the settings of the recipe into `config`, but for those that are `decided` already, and returns their keys;
/// nothing if `name` is empty. @throws UsageError naming the recipes
std::vector<std::string> apply_recipe(const std::string& name, TrainConfig& config,
                                      const std::vector<std::string>& decided);

}  // namespace vitrine::apps
