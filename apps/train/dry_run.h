#pragma once
#include "apps/train/trainer.h"

namespace vitrine::apps {

/// What Trainer::estimate() found, for people.
std::string estimate_text(const nlohmann::ordered_json& found);

}  // namespace vitrine::apps
