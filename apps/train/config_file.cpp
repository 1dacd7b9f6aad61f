#include "apps/train/config_file.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "apps/cli.h"
#include "apps/train/toml.h"
#include "core/text.h"

namespace vitrine::apps {
namespace {

using Json = nlohmann::ordered_json;

/// Flags that say one thing together: what the command line says of one of them holds against a file that says another.
const std::vector<std::vector<const char*>>& shared_settings() {
  static const std::vector<std::vector<const char*>> sets = {{"--data", "--data-path", "--data-set"},
                                                             {"--ema", "--model-ema"}};
  return sets;
}

Json read(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  check<IoError>(in.good() && std::filesystem::is_regular_file(file), "{}: cannot be read", file);
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos || text[first] != '{') return parse_toml(text, file);
  const Json document = Json::parse(text, nullptr, false);
  check<IoError>(document.is_object(), "{}: is not a JSON object", file);
  return document;
}

/// The name of a flag that is written `key` in a file, where _ may stand for -.
std::string flag_name(const CLI::App& app, std::string key) {
  if (!app.get_option_no_throw("--" + key)) std::replace(key.begin(), key.end(), '_', '-');
  return key;
}

std::vector<std::string> long_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back(name);
  return names;
}

std::vector<std::string> words_of(const Json& value) {
  std::vector<std::string> words;
  for (const Json& item : value.is_array() ? value : Json::array({value}))
    words.push_back(item.is_string() ? item.get<std::string>() : item.dump());
  return words;
}

/// The options that the command line has decided.
std::set<const CLI::Option*> decided(CLI::App& app) {
  std::set<const CLI::Option*> set;
  for (const CLI::Option* option : app.get_options())
    if (option->count() > 0) set.insert(option);
  for (const auto& names : shared_settings()) {
    std::vector<const CLI::Option*> options;
    for (const char* name : names)
      if (const CLI::Option* option = app.get_option_no_throw(name)) options.push_back(option);
    if (std::any_of(options.begin(), options.end(), [&](const auto* option) { return set.contains(option); }))
      set.insert(options.begin(), options.end());
  }
  return set;
}

}  // namespace

void add_config_flag(CLI::App& app, std::string& file) {
  app.add_option("--config", file, "TOML or JSON file of settings; flags on the command line go before it");
}

void apply_config_file(CLI::App& app, const std::string& file) {
  const std::set<const CLI::Option*> before = decided(app);
  std::set<const CLI::Option*> seen;
  const Json settings = read(file);
  for (const auto& [key, value] : settings.items()) {
    const std::string name = flag_name(app, key);
    CLI::Option* option = app.get_option_no_throw("--" + name);
    check<UsageError>(option, "{}: unknown setting '{}'; did you mean {}?", file, key, nearest(key, long_names(app)));
    for (const char* other : {"--config", "--help", "--json", "--resume", "--eval", "--dry-run"})
      check<UsageError>(option != app.get_option_no_throw(other), "{}: '{}' belongs on the command line", file, key);
    check<UsageError>(seen.insert(option).second, "{}: '{}' and another of its keys set the same", file, key);
    if (before.contains(option)) continue;
    const std::vector<std::string> words = words_of(value);
    if (words.empty()) continue;  // an empty list sets nothing
    try {
      if (option->get_expected_min() == 0) {
        check<UsageError>(value.is_boolean(), "{}: '{}' must be true or false, got {}", file, key, value.dump());
        option->add_result(option->get_flag_value(name, words[0]));
      } else {
        check<UsageError>(!value.is_boolean() && !value.is_null() && !value.is_object(), "{}: '{}' takes no {}", file,
                          key, value.dump());
        option->add_result(words);
      }
      option->run_callback();
    } catch (const CLI::ParseError& e) {
      throw UsageError(format("{}: '{}': {}", file, key, e.what()));
    }
  }
}

}  // namespace vitrine::apps
