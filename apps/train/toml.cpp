#include "apps/train/toml.h"

#include <toml++/toml.h>

#include <cmath>

#include "core/error.h"

namespace vitrine::apps {
namespace {

using Json = nlohmann::ordered_json;

/// A text, a finite number, a boolean, or where `in_array` is false an array of these.
Json value_of(const toml::node& node, const std::string& key, const std::string& where, bool in_array) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* integer = node.as_integer()) return integer->get();
  if (const auto* real = node.as_floating_point(); real && std::isfinite(real->get())) return real->get();
  if (const auto* truth = node.as_boolean()) return truth->get();
  const toml::array* array = node.as_array();
  check<IoError>(array && !in_array, "{}, line {}: '{}' is no text, finite number, boolean or array of them", where,
                 node.source().begin.line, key);
  Json list = Json::array();
  for (const toml::node& item : *array) list.push_back(value_of(item, key, where, true));
  return list;
}

}  // namespace

Json parse_toml(const std::string& text, const std::string& where) {
  try {
    Json document = Json::object();
    for (const auto& [key, node] : toml::parse(text))
      document[std::string(key.str())] = value_of(node, std::string(key.str()), where, false);
    return document;
  } catch (const toml::parse_error& e) {
    throw IoError(format("{}, line {}: {}", where, e.source().begin.line, std::string(e.description())));
  }
}

std::string toml_text(const Json& document) {
  std::string text;
  for (const auto& [key, value] : document.items()) text += key + " = " + value.dump() + "\n";
  return text;
}

}  // namespace vitrine::apps
