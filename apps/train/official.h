#pragma once
#include <functional>
#include <string>
#include <vector>

#include "apps/train/config.h"

/// Flags of the reference's training program (DeiT's main.py, and that of iRPE) which mean something else here, or
/// nothing. Those that mean the same are names of our own flags (config.cpp).
namespace vitrine::apps {

/// Adds those that `app` does not have yet; call it after all others. The result, called after parsing, puts what they
/// say into `config`, names on stderr those that change nothing here and why, and returns the keys of
/// TrainConfig::json() that it set. @throws UsageError for one that cannot be followed
std::function<std::vector<std::string>(TrainConfig& config)> add_official_flags(CLI::App& app);

}  // namespace vitrine::apps
