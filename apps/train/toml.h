#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace vitrine::apps {

/// Reads the part of TOML 1.0 (https://toml.io) that settings need: `key = value` lines and comments; values are texts
/// on one line, numbers in decimal, true, false and arrays of these. (CLI11's reader drops what it does not understand,
/// and takes a # or a comma in a text for its own.)
/// @throws IoError with `where` and the line for anything else, and for a key that comes twice
nlohmann::ordered_json parse_toml(const std::string& text, const std::string& where);

/// An object of texts, finite numbers, booleans and arrays of them as such lines.
std::string toml_text(const nlohmann::ordered_json& document);

}  // namespace vitrine::apps
