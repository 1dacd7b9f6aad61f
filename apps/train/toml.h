#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace vitrine::apps {

/// Reads settings as TOML (toml++): texts, finite numbers, booleans and arrays of them, all at the top. (CLI11's reader
/// drops what it does not understand, and takes a # or a comma in a text for its own.)
/// @throws IoError with `where` and the line for anything else
nlohmann::ordered_json parse_toml(const std::string& text, const std::string& where);

/// An object of texts, finite numbers, booleans and arrays of them as such lines.
std::string toml_text(const nlohmann::ordered_json& document);

}  // namespace vitrine::apps
