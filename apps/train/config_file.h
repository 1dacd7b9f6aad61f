#pragma once
#include <string>

namespace CLI {
class App;
}

namespace vitrine::apps {

/// Adds --config FILE to `app`.
void add_config_flag(CLI::App& app, std::string& file);

/// Gives `app`, which has parsed its command line, the settings of a TOML or JSON file, as if they were flags: a key is
/// a flag without its leading dashes, with - or _ between words. What the command line says of a setting holds.
/// @throws IoError if the file cannot be read; UsageError, naming file and key, for an unknown key or a wrong value
void apply_config_file(CLI::App& app, const std::string& file);

}  // namespace vitrine::apps
