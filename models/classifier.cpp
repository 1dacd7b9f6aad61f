#include "models/classifier.h"

#include <algorithm>

#include "core/text.h"
#include "models/deit/deit.h"

namespace vitrine::models {
namespace {
constexpr const char* kApes[] = {"learned", "sincos", "none", "peg"};
}

std::string to_string(Ape ape) { return kApes[int(ape)]; }

Ape parse_ape(const std::string& text) {
  const auto* at = std::find(std::begin(kApes), std::end(kApes), text);
  check<ValueError>(at != std::end(kApes), "unknown absolute encoding '{}': learned, sincos, none or peg", text);
  return Ape(at - kApes);
}

std::vector<std::string> classifier_names() {
  std::vector<std::string> names;
  for (const DeiTConfig& config : deit_presets()) names.push_back(config.name);
  return names;
}

std::unique_ptr<Classifier> make_classifier(nn::Scope scope, const std::string& name,
                                            const ClassifierOptions& options) {
  const auto& presets = deit_presets();
  const auto found = std::find_if(presets.begin(), presets.end(), [&](const DeiTConfig& c) { return c.name == name; });
  check<ValueError>(found != presets.end(), "unknown model '{}'; did you mean {}? See vitrine models", name,
                    nearest(name, classifier_names()));
  DeiTConfig config = *found;
  config.num_classes = options.num_classes.value_or(config.num_classes);
  config.image_size = options.image_size.value_or(config.image_size);
  if (options.rpe) {
    const nn::RpeChoice choice = nn::parse_rpe_choice(*options.rpe);
    config.rpe = choice.rpe, config.rival = choice.rival;
  }
  config.ape = options.ape.value_or(config.ape);
  config.drop_path = options.drop_path;
  config.dropout = options.dropout;
  return std::make_unique<DeiT>(std::move(scope), config);
}

}  // namespace vitrine::models
